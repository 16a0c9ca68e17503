"""A virtual Keysight ENA: numbered traces, `:TRIG:SING`, averages within one trigger."""

import itertools
import re
from typing import ClassVar

from labctl_simulators.instruments.scpi_tree import Call, Reply, ScpiError
from labctl_simulators.instruments.vna.engine import Engine, Slope
from labctl_simulators.instruments.vna.scpi_analyser import EDGE_PATIENCE_S, ILLEGAL_VALUE, VirtualScpiAnalyser

MEASURING, WAITING_FOR_TRIGGER = 1 << 4, 1 << 5
"""Bits of the operation register."""

TABLE_HEAD = 7


class VirtualKeysightEna(VirtualScpiAnalyser):
    """It wakes with big-endian blocks; `*OPC?` waits for `:TRIG:SING` alone; an overload is queued and trips RF."""

    identity = "Agilent Technologies,E5071C,VIRTUAL,B.13.10"
    overload_trips_rf: ClassVar[bool] = True

    def __init__(self, engine: Engine, *, edge_patience_s: float = EDGE_PATIENCE_S) -> None:
        super().__init__(engine, edge_patience_s=edge_patience_s)
        self._traces = ["S11"] * 9
        self._shown = 1
        self._selected = 0
        self._averaging = self._averages_per_trigger = self._continuous = False
        self._source = "INT"
        self._slope: Slope = "rising"
        self._opc_waits = False
        hardware = engine.hardware
        self.add_flag("OUTPut[:STATe]", "rf_on")
        self.add_number("SENSe#:FREQuency:STARt", "start_hz", hardware.frequency_hz)
        self.add_number("SENSe#:FREQuency:STOP", "stop_hz", hardware.frequency_hz)
        self.add_number("SENSe#:SWEep:POINts", "points", (1, hardware.most_points), whole=True)
        for spelling in ("BANDwidth", "BWIDth"):
            self.add_number(f"SENSe#:{spelling}[:RESolution]", "if_bandwidth_hz", hardware.if_bandwidth_hz)
        self.add_number("SOURce#:POWer[:LEVel]", "power_dbm", hardware.power_dbm)
        self.add_format("FORMat:DATA")
        self._add_service()
        self._add_traces()
        self._add_trigger()

    def _add_service(self) -> None:
        lowest_hz, highest_hz = self.engine.hardware.frequency_hz
        self.tree.add("SERVice:PORT:COUNt?", lambda _: str(self.engine.dut.n_ports))
        self.tree.add("SERVice:SWEep:FREQuency:MINimum?", lambda _: self.show_number(lowest_hz))
        self.tree.add("SERVice:SWEep:FREQuency:MAXimum?", lambda _: self.show_number(highest_hz))
        self.add_flag("SENSe#:CORRection[:STATe]", "corrected")
        self.tree.add("SENSe#:SWEep:TIME[:DATA]?", lambda _: self.show_number(self.engine.sweep_s))
        self.tree.add("STATus:OPERation:CONDition?", lambda _: str(self._operation()))

    def _add_traces(self) -> None:
        self.add_event("CALCulate#:PARameter:COUNt", self._count)
        self.add_event("CALCulate#:PARameter#:DEFine", self._define)
        self.add_event("CALCulate#:PARameter#:SELect", self._select)
        self.tree.add("CALCulate#[:SELected]:DATA:SDATa?", self._data)
        self.tree.add("SENSe#:FREQuency:DATA?", lambda _: self.show_numbers(self.engine.frequencies_hz))
        self.add_word("SENSe#:SWEep:TYPE", ("LINear", "LOGarithmic", "SEGMent", "POWer"), self._choose_type, "LIN")
        self.add_event("SENSe#:SEGMent:DATA", self._fill_table)

    def _add_trigger(self) -> None:
        self.add_event("SENSe#:AVERage[:STATe]", lambda call: setattr(self, "_averaging", call.flag()))
        self.add_number("SENSe#:AVERage:COUNt", "averages", (1, 999), whole=True)
        self.add_event("SENSe#:AVERage:CLEar", lambda _: None)
        self.add_event("TRIGger[:SEQuence]:AVERage", lambda call: setattr(self, "_averages_per_trigger", call.flag()))
        self.add_word(
            "TRIGger[:SEQuence]:SOURce",
            ("INTernal", "EXTernal", "MANual", "BUS"),
            lambda word: setattr(self, "_source", word),
            "INT",
        )
        self.add_word("TRIGger[:SEQuence]:EXTernal:SLOPe", ("POSitive", "NEGative"), self._choose_slope, "POS")
        self.add_event("INITiate#:CONTinuous", lambda call: setattr(self, "_continuous", call.flag()))
        self.add_event("INITiate#[:IMMediate]", self._initiate)
        self.add_event("TRIGger[:SEQuence]:SINGle", self._single)
        self.add_event("ABORt", lambda _: self.engine.abort())

    def _count(self, call: Call) -> None:
        if not 1 <= call.number() <= len(self._traces):
            raise ScpiError(*ILLEGAL_VALUE)
        self._shown = int(call.number())

    def _trace_index(self, call: Call) -> int:
        index = call.suffixes[1] - 1
        if index >= self._shown:
            raise ScpiError(-114, "Header suffix out of range")
        return index

    def _define(self, call: Call) -> None:
        parameter = call.text().upper()
        if not re.fullmatch("S[1-9][1-9]", parameter) or int(max(parameter[1:])) > self.engine.dut.n_ports:
            raise ScpiError(*ILLEGAL_VALUE)
        self._traces[self._trace_index(call)] = parameter

    def _select(self, call: Call) -> None:
        self._selected = self._trace_index(call)

    def _data(self, _: Call) -> Reply:
        return self.show_complex(self.measured(self._traces[self._selected]))

    def _choose_type(self, word: str) -> None:
        self.engine.sweeps_segments = word == "SEGM"

    def _fill_table(self, call: Call) -> None:
        if self._sends_blocks:
            raise ScpiError(-161, "Invalid block data")
        head = [int(call.number(index)) for index in range(TABLE_HEAD)]
        if head[0] != 5 or any(head[1:6]):
            raise ScpiError(*ILLEGAL_VALUE)
        values = [call.number(index) for index in range(TABLE_HEAD, len(call.parameters))]
        if len(values) != 3 * head[6]:
            raise ScpiError(-220, "Parameter error")
        segments = [(values[row], values[row + 1], int(values[row + 2])) for row in range(0, len(values), 3)]
        if any(after[0] < before[1] for before, after in itertools.pairwise(segments)):
            raise ScpiError(21, "Segments overlap")
        self.engine.segments = segments

    def _choose_slope(self, word: str) -> None:
        self._slope = "rising" if word == "POS" else "falling"

    def _sweeps(self) -> int:
        return self.engine.averages if self._averaging and self._averages_per_trigger else 1

    def _initiate(self, _: Call) -> None:
        if self._continuous:
            raise ScpiError(-213, "Init ignored")
        if self._source == "EXT":
            self.engine.begin(self._sweeps(), slope=self._slope)
        self._opc_waits = False

    def _single(self, _: Call) -> None:
        if not self._continuous or self._source != "BUS":
            raise ScpiError(-211, "Trigger ignored")
        self._opc_waits = True
        self.engine.begin(self._sweeps())

    def _operation(self) -> int:
        if self.engine.waits_for_edge:
            return WAITING_FOR_TRIGGER
        if self.engine.busy:
            return MEASURING
        self._report_overload()
        return 0

    def _wait(self) -> bool:
        ended = super()._wait() if self._opc_waits else True
        self._report_overload()
        return ended

    def _report_overload(self) -> None:
        if self.engine.take_overload():
            self.tree.fail(ScpiError(221, "Receiver overload, power trip"))
            if self.overload_trips_rf:
                self.engine.rf_on = False
