"""A virtual Rohde & Schwarz ZNB: named traces, segments one by one, hardware events in a register."""

import math
import re

from labctl_simulators.instruments.scpi_tree import Call, Reply, ScpiError
from labctl_simulators.instruments.vna.engine import Engine, Slope
from labctl_simulators.instruments.vna.scpi_analyser import EDGE_PATIENCE_S, ILLEGAL_VALUE, VirtualScpiAnalyser

RECEIVER_OVERLOAD = 1 << 3
BANDWIDTH_STEPS = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0, 10.0)


class VirtualRohdeSchwarz(VirtualScpiAnalyser):
    """It wakes with little-endian blocks; an IF bandwidth becomes the next wider one of its grid, without a word.

    `SWE:TIME?` ignores segments and averages.
    """

    identity = "Rohde-Schwarz,ZNB20-2Port,VIRTUAL,3.45"
    wakes_big_endian = False
    no_error = '0,"No error"'

    def __init__(self, engine: Engine, *, edge_patience_s: float = EDGE_PATIENCE_S) -> None:
        super().__init__(engine, edge_patience_s=edge_patience_s)
        self._traces: dict[str, str] = {"Trc1": "S21"}
        self._selected = "Trc1"
        self._source = "IMM"
        self._slope: Slope = "rising"
        self._sweeps = 1
        hardware = engine.hardware
        self.add_flag("OUTPut#[:STATe]", "rf_on")
        self.add_number("SENSe#:FREQuency:STARt", "start_hz", hardware.frequency_hz)
        self.add_number("SENSe#:FREQuency:STOP", "stop_hz", hardware.frequency_hz)
        self.add_number("SENSe#:SWEep:POINts", "points", (1, hardware.most_points), whole=True)
        self.add_event("SENSe#:BANDwidth[:RESolution]", self._set_bandwidth)
        self.add_number("SENSe#:BANDwidth[:RESolution]", "if_bandwidth_hz", hardware.if_bandwidth_hz)
        self.add_number("SOURce#:POWer#[:LEVel][:IMMediate]", "power_dbm", hardware.power_dbm)
        self.add_format("FORMat[:DATA]")
        self.tree.add("INSTrument:PORT:COUNt?", lambda _: str(engine.dut.n_ports))
        self.add_flag("SENSe#:CORRection[:STATe]", "corrected")
        self.tree.add("STATus:QUEStionable:INTegrity:HARDware[:EVENt]?", lambda _: self._hardware_events())
        self._add_traces()
        self._add_segments()
        self._add_trigger()

    def show_number(self, value: float) -> str:
        """Return a number in the shortest form."""
        return f"{value:.12g}"

    def show_format(self) -> str:
        """Return the format with its width."""
        return "REAL,64" if self._sends_blocks else "ASC,0"

    def _add_traces(self) -> None:
        self.add_event("CALCulate#:PARameter:SDEFine", self._define)
        self.add_event("CALCulate#:PARameter:SELect", self._select)
        self.tree.add("CALCulate#:DATA?", self._data)
        self.tree.add("CALCulate#:DATA:STIMulus?", lambda _: self.show_numbers(self.engine.frequencies_hz))

    def _add_segments(self) -> None:
        self.add_word("SENSe#:SWEep:TYPE", ("LINear", "SEGMent"), self._choose_type, "LIN")
        self.add_event("SENSe#:SEGMent#:DELete:ALL", lambda _: self.engine.segments.clear())
        self.add_word("SENSe#:SEGMent#:INSert:SELect", ("SWTime", "DWELl"), lambda _: None, "SWT")
        self.add_event("SENSe#:SEGMent#:INSert", self._insert_segment)
        self.tree.add("SENSe#:SWEep:TIME?", lambda _: self._linear_sweep_s())
        self.tree.add("SENSe#:SEGMent#:SWEep:TIME:SUM?", lambda _: self.show_number(self.engine.sweep_s))

    def _add_trigger(self) -> None:
        self.add_event("SENSe#:AVERage[:STATe]", lambda call: call.flag())
        self.add_number("SENSe#:AVERage:COUNt", "averages", (1, 1000), whole=True)
        self.add_event("SENSe#:AVERage:CLEar", lambda _: None)
        self.add_event("SENSe#:SWEep:COUNt", lambda call: setattr(self, "_sweeps", int(call.number())))
        self.add_event("INITiate:CONTinuous:ALL", lambda call: call.flag())
        self.add_event("INITiate#:CONTinuous", lambda call: call.flag())
        self.add_event("INITiate#[:IMMediate]", self._initiate)
        self.add_word(
            "TRIGger#[:SEQuence]:SOURce",
            ("IMMediate", "EXTernal", "MANual"),
            lambda word: setattr(self, "_source", word),
            "IMM",
        )
        self.add_word("TRIGger#[:SEQuence]:SLOPe", ("POSitive", "NEGative"), self._choose_slope, "POS")
        self.add_word("TRIGger#[:SEQuence]:LINK", ("SWEep", "POINt", "SEGMent"), lambda _: None, "SWE")
        self.add_event("ABORt", lambda _: self.engine.abort())

    def _set_bandwidth(self, call: Call) -> None:
        asked_hz = call.number()
        decade_hz = 10.0 ** math.floor(math.log10(max(asked_hz, 1.0)) + 1e-12)
        self.engine.if_bandwidth_hz = next(
            step * decade_hz for step in BANDWIDTH_STEPS if step * decade_hz >= asked_hz * (1.0 - 1e-9)
        )

    def _define(self, call: Call) -> None:
        parameter = call.text(1).upper()
        if not re.fullmatch("S[1-9][1-9]", parameter) or int(max(parameter[1:])) > self.engine.dut.n_ports:
            raise ScpiError(*ILLEGAL_VALUE)
        self._traces[call.text(0)] = parameter

    def _select(self, call: Call) -> None:
        if call.text() not in self._traces:
            raise ScpiError(-200, "Execution error; trace does not exist")
        self._selected = call.text()

    def _data(self, call: Call) -> Reply:
        if call.text().upper() not in ("SDAT", "SDATA"):
            raise ScpiError(*ILLEGAL_VALUE)
        return self.show_complex(self.measured(self._traces[self._selected]))

    def _choose_type(self, word: str) -> None:
        if word == "SEGM" and not self.engine.segments:
            raise ScpiError(-221, "Settings conflict; no segments")
        self.engine.sweeps_segments = word == "SEGM"

    def _insert_segment(self, call: Call) -> None:
        start_hz, stop_hz, points, *_ = (call.number(index) for index in range(7))
        self.engine.segments.insert(call.suffixes[1] - 1, (start_hz, stop_hz, int(points)))

    def _linear_sweep_s(self) -> str:
        return self.show_number(self.engine.points / self.engine.if_bandwidth_hz)

    def _choose_slope(self, word: str) -> None:
        self._slope = "rising" if word == "POS" else "falling"

    def _initiate(self, _: Call) -> None:
        self.engine.begin(self._sweeps, slope=self._slope if self._source == "EXT" else None)

    def _hardware_events(self) -> str:
        return str(RECEIVER_OVERLOAD if self.engine.take_overload() else 0)
