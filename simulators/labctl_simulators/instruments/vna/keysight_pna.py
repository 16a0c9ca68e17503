"""A virtual Keysight PNA: named traces, `SWE:MODE`, segments as a list that is read in the format of the data."""

import re

from labctl_simulators.instruments.scpi_tree import Call, Reply, ScpiError
from labctl_simulators.instruments.vna.engine import Engine, Slope
from labctl_simulators.instruments.vna.scpi_analyser import EDGE_PATIENCE_S, ILLEGAL_VALUE, VirtualScpiAnalyser

VALUES_PER_SEGMENT = 7


class VirtualKeysightPna(VirtualScpiAnalyser):
    """It wakes with big-endian blocks; `*OPC?` waits for any sweep; an overload is queued as an error."""

    identity = "Keysight Technologies,N5242B,VIRTUAL,A.15.20.01"

    def __init__(self, engine: Engine, *, edge_patience_s: float = EDGE_PATIENCE_S) -> None:
        super().__init__(engine, edge_patience_s=edge_patience_s)
        self._traces: dict[str, str] = {"CH1_S11_1": "S11"}
        self._selected = ""
        self._groups = 1
        self._averaging = False
        self._source = "IMM"
        self._slope: Slope = "rising"
        hardware = engine.hardware
        self.add_flag("OUTPut[:STATe]", "rf_on")
        self.add_number("SENSe#:FREQuency:STARt", "start_hz", hardware.frequency_hz)
        self.add_number("SENSe#:FREQuency:STOP", "stop_hz", hardware.frequency_hz)
        self.add_number("SENSe#:SWEep:POINts", "points", (1, hardware.most_points), whole=True)
        self.add_number("SENSe#:BANDwidth[:RESolution]", "if_bandwidth_hz", hardware.if_bandwidth_hz)
        self.add_number("SOURce#:POWer#[:LEVel]", "power_dbm", hardware.power_dbm)
        self.add_event("SOURce#:POWer#:COUPle", lambda call: call.flag())
        self.add_format("FORMat[:DATA]")
        self.tree.add("SYSTem:CAPability:HARDware:PORTs:INTernal:COUNt?", lambda _: str(engine.dut.n_ports))
        self._add_traces()
        self._add_segments()
        self._add_trigger()
        self.add_flag("SENSe#:CORRection[:STATe]", "corrected")
        self.tree.add("SENSe#:CORRection:CSET:ACTivate?", lambda _: '"virtual_2port"')

    def show_format(self) -> str:
        """Return the format with its width."""
        return "REAL,+64" if self._sends_blocks else "ASC,+0"

    def _add_traces(self) -> None:
        self.tree.add("CALCulate#:PARameter:CATalog:EXTended?", lambda _: f'"{self._catalogue()}"')
        self.add_event("CALCulate#:PARameter[:DEFine]:EXTended", self._define)
        self.add_event("CALCulate#:PARameter:SELect", self._select)
        self.tree.add("CALCulate#:DATA?", self._data)
        self.tree.add("CALCulate#:X[:VALues]?", lambda _: self.show_numbers(self.engine.frequencies_hz))

    def _add_segments(self) -> None:
        self.add_word("SENSe#:SWEep:TYPE", ("LINear", "SEGMent"), self._choose_type, "LIN")
        self.add_event("SENSe#:SEGMent:DELete:ALL", lambda _: self.engine.segments.clear())
        for header in ("ARBitrary", "BWIDth:CONTrol", "POWer:CONTrol"):
            self.add_event(f"SENSe#:SEGMent:{header}", lambda call: call.flag())
        self.add_event("SENSe#:SEGMent:LIST", self._list_segments)
        self.tree.add("SENSe#:SWEep:TIME?", lambda _: self.show_number(self.engine.sweep_s))

    def _add_trigger(self) -> None:
        self.add_event("SENSe#:AVERage[:STATe]", self._switch_averaging)
        self.add_number("SENSe#:AVERage:COUNt", "averages", (1, 65536), whole=True)
        self.add_event("SENSe#:AVERage:CLEar", lambda _: None)
        self.add_word("SENSe#:AVERage:MODE", ("POINt", "SWEep"), lambda _: None, "SWE")
        self.add_event("SENSe#:SWEep:GROups:COUNt", lambda call: setattr(self, "_groups", int(call.number())))
        self.add_word("SENSe#:SWEep:MODE", ("HOLD", "CONTinuous", "GROups", "SINGle"), self._choose_mode, "CONT")
        self.add_word(
            "TRIGger[:SEQuence]:SOURce",
            ("IMMediate", "EXTernal", "MANual"),
            lambda word: setattr(self, "_source", word),
            "IMM",
        )
        self.add_word("TRIGger[:SEQuence]:SLOPe", ("POSitive", "NEGative"), self._choose_slope, "POS")
        self.add_word("TRIGger[:SEQuence]:TYPE", ("EDGE", "LEVel"), lambda _: None, "LEV")
        self.add_word("TRIGger[:SEQuence]:SCOPe", ("ALL", "CURRent", "ACTive"), lambda _: None, "ALL")
        self.add_word("TRIGger[:SEQuence]:ROUTe:INPut", ("MAIN", "MATH"), lambda _: None, "MAIN")
        self.add_event("ABORt", lambda _: self.engine.abort())

    def _catalogue(self) -> str:
        return ",".join(f"{name},{parameter}" for name, parameter in self._traces.items())

    def _define(self, call: Call) -> None:
        name, parameter = call.text(0), call.text(1).upper()
        if name in self._traces:
            raise ScpiError(105, "A measurement of that name exists already")
        if not re.fullmatch("S[1-9][1-9]", parameter) or int(max(parameter[1:])) > self.engine.dut.n_ports:
            raise ScpiError(*ILLEGAL_VALUE)
        self._traces[name] = parameter

    def _select(self, call: Call) -> None:
        if call.text() not in self._traces:
            raise ScpiError(104, "Requested measurement was not found")
        self._selected = call.text()

    def _data(self, call: Call) -> Reply:
        if not self._selected:
            raise ScpiError(101, "Requested operation needs a selected measurement")
        if call.text().upper() != "SDATA":
            raise ScpiError(*ILLEGAL_VALUE)
        return self.show_complex(self.measured(self._traces[self._selected]))

    def _choose_type(self, word: str) -> None:
        self.engine.sweeps_segments = word == "SEGM"

    def _list_segments(self, call: Call) -> None:
        if self._sends_blocks:
            raise ScpiError(-161, "Invalid block data")
        if call.text().upper() != "SSTOP":
            raise ScpiError(*ILLEGAL_VALUE)
        count = int(call.number(1))
        values = [call.number(index) for index in range(2, len(call.parameters))]
        if len(values) != VALUES_PER_SEGMENT * count:
            raise ScpiError(-220, "Parameter error")
        rows = [values[row : row + VALUES_PER_SEGMENT] for row in range(0, len(values), VALUES_PER_SEGMENT)]
        self.engine.segments = [(start_hz, stop_hz, int(points)) for on, points, start_hz, stop_hz, *_ in rows if on]

    def _switch_averaging(self, call: Call) -> None:
        self._averaging = call.flag()

    def _choose_slope(self, word: str) -> None:
        self._slope = "rising" if word == "POS" else "falling"

    def _choose_mode(self, word: str) -> None:
        self.engine.abort()
        if word in ("SING", "GRO"):
            sweeps = self._groups if word == "GRO" else 1
            self.engine.begin(sweeps, slope=self._slope if self._source == "EXT" else None)

    def _wait(self) -> bool:
        ended = super()._wait()
        if self.engine.take_overload():
            self.tree.fail(ScpiError(545, "Receiver overload: reduce the power"))
        return ended
