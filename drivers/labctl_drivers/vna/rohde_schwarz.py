"""Rohde & Schwarz ZNA, ZNB, ZNC, ZND, ZNL, ZVA, ZVB.

Commands: the ZNB and ZNA user manuals. Not tried on an instrument yet: that a defined trace may be defined again,
`SEGM:INS:SEL`, `CALC:DATA:STIM?` for the axis, `CORR:STAT?` for the calibration, and bit 3 of the hardware register
on other models than the ZVL.
"""

from collections.abc import Iterator

from labctl.contract.microwave import Sweep
from labctl_drivers.vna.base import Real
from labctl_drivers.vna.models import ROHDE_SCHWARZ
from labctl_drivers.vna.scpi import NamedTraceAnalyser, edge, exact, is_linear, linear_stimulus, trace_name

HARDWARE_QUERY = "STAT:QUES:INT:HARD?"
RECEIVER_OVERLOAD_BIT = 1 << 3


class RohdeSchwarz(NamedTraceAnalyser):
    """An R&S analyser: named traces, segments inserted one by one, averages as a count of sweeps per `INIT`."""

    dialect = "Rohde & Schwarz"
    models = ROHDE_SCHWARZ
    error_query = "SYST:ERR?"
    power_query = "OUTP1?"
    power_on = "OUTP1 ON"
    power_off = ("OUTP1 OFF", "ABOR")
    ports_query = "INST:PORT:COUN?"
    data_query = "CALC1:DATA? SDAT"
    axis_query = "CALC1:DATA:STIM?"
    sweep_time_query = "SENS1:SWE:TIME?"
    points = "SENS1:SWE:POIN"
    bandwidth = "SENS1:BAND"
    power = "SOUR1:POW"
    text_format = "FORM ASC"
    block_format = ("FORM REAL,64", "FORM:BORD SWAP")
    format_query = "FORM?"
    byte_order_query = "FORM:BORD?"

    def _set_up(self, sweep: Sweep) -> Real:
        axis_hz = super()._set_up(sweep)
        self._hardware_events()
        return axis_hz

    def _commands(self, sweep: Sweep) -> Iterator[str]:
        yield "INIT:CONT:ALL OFF"
        for parameter in sweep.parameters:
            yield f"CALC1:PAR:SDEF '{trace_name(parameter)}','{parameter}'"
        yield self._selections(sweep)[0]
        yield f"{self.bandwidth} {exact(sweep.if_bandwidth_hz)}"
        yield f"{self.power} {exact(sweep.power_dbm)}"
        yield from _stimulus(sweep)
        yield f"SENS1:SWE:COUN {sweep.averages}"
        yield f"SENS1:AVER:COUN {sweep.averages}"
        yield f"SENS1:AVER:STAT {'ON' if sweep.averages > 1 else 'OFF'}"
        if sweep.trigger == "internal":
            yield "TRIG1:SOUR IMM"
        else:
            yield "TRIG1:LINK 'SWE'"
            yield f"TRIG1:SLOP {edge(sweep)}"
            yield "TRIG1:SOUR EXT"

    def _read_calibration(self) -> str:
        return "corrected" if self._talk.ask_flag("SENS1:CORR:STAT?") else ""

    def _stated_sweep_s(self, sweep: Sweep) -> float:
        # The plain query is wrong for segments (Terrabits/rohdeschwarz issue 4), and neither counts averages.
        plain_s = super()._stated_sweep_s(sweep)
        return plain_s if is_linear(sweep) else max(plain_s, self._talk.ask_number("SENS1:SEGM:SWE:TIME:SUM?"))

    def _triggering(self, sweep: Sweep) -> Iterator[str]:
        if sweep.averages > 1:
            yield "SENS1:AVER:CLE"
        yield "INIT1:IMM"
        if sweep.trigger != "internal":
            yield "*OPC"

    def _overloaded(self) -> bool:
        return super()._overloaded() | bool(self._hardware_events() & RECEIVER_OVERLOAD_BIT)

    def _hardware_events(self) -> int:
        """Return what happened since the last call."""
        return int(self._talk.ask_number(HARDWARE_QUERY))


def _stimulus(sweep: Sweep) -> Iterator[str]:
    if is_linear(sweep):
        yield from linear_stimulus(sweep.segments[0])
        return
    # One frequency is a segment too: the axis of a CW sweep counts points or seconds.
    yield "SENS1:SEGM:DEL:ALL"
    yield "SENS1:SEGM:INS:SEL DWEL"
    for index, segment in enumerate(sweep.segments, start=1):
        yield (
            f"SENS1:SEGM{index}:INS {exact(segment.start_hz)},{exact(segment.stop_hz)},{segment.points},"
            f"{exact(sweep.power_dbm)},0,0,{exact(sweep.if_bandwidth_hz)}"
        )
    yield "SENS1:SWE:TYPE SEGM"
