"""Keysight PNA, PNA-L, PNA-X and what speaks their dialect: E5080, P50xx, M937x, M980x.

Commands: Keysight's VNA help for programmers. Not tried on an instrument yet: that traces of channel 1 which no window
shows are measured, that one external edge makes a whole sweep (`TRIG:SCOP ALL`) and not a point, the order of the
arguments of `SEGM:LIST`, and the text with which an overload is queued.
"""

from collections.abc import Iterator

from pydantic import Field

from labctl.contract.microwave import Sweep
from labctl_drivers.transport.link import Link
from labctl_drivers.vna.models import KEYSIGHT_PNA
from labctl_drivers.vna.scpi import NamedTraceAnalyser, edge, exact, is_linear, linear_stimulus, trace_name
from labctl_drivers.vna.settings import AnalyserRules


class KeysightPnaRules(AnalyserRules):
    """`trigger_input` is the connector of an external trigger: MAIN is Meas Trig In."""

    trigger_input: str = Field(default="MAIN", pattern="^[A-Z][A-Z0-9_]*$")


class KeysightPna(NamedTraceAnalyser):
    """A PNA: named traces, segments as one list, one `SWE:MODE` per result."""

    dialect = "Keysight PNA"
    models = KEYSIGHT_PNA
    error_query = "SYST:ERR?"
    power_query = "OUTP?"
    power_on = "OUTP ON"
    power_off = ("OUTP OFF", "SENS1:SWE:MODE HOLD", "ABOR")
    ports_query = "SYST:CAP:HARD:PORT:INT:COUN?"
    data_query = "CALC1:DATA? SDATA"
    axis_query = "CALC1:X?"
    sweep_time_query = "SENS1:SWE:TIME?"
    points = "SENS1:SWE:POIN"
    bandwidth = "SENS1:BAND"
    power = "SOUR1:POW1"
    text_format = "FORM ASC,0"
    block_format = ("FORM REAL,64", "FORM:BORD SWAP")
    format_query = "FORM?"
    byte_order_query = "FORM:BORD?"

    def __init__(self, rules: KeysightPnaRules, name: str, link: Link, *, timeout_s: float) -> None:
        super().__init__(rules, name, link, timeout_s=timeout_s)
        self._trigger_input = rules.trigger_input

    def _commands(self, sweep: Sweep) -> Iterator[str]:
        yield "SENS1:SWE:MODE HOLD"
        existing = self._talk.ask("CALC1:PAR:CAT:EXT?").strip('"').split(",")
        for parameter in sweep.parameters:
            if trace_name(parameter) not in existing:
                yield f"CALC1:PAR:EXT '{trace_name(parameter)}',{parameter}"
        yield self._selections(sweep)[0]
        yield from _stimulus(sweep)
        yield f"{self.bandwidth} {exact(sweep.if_bandwidth_hz)}"
        yield "SOUR1:POW:COUP ON"
        yield f"{self.power} {exact(sweep.power_dbm)}"
        yield from _averaging(sweep)
        yield from self._trigger(sweep)

    def _trigger(self, sweep: Sweep) -> Iterator[str]:
        if sweep.trigger == "internal":
            yield "TRIG:SOUR IMM"
            return
        yield f"TRIG:ROUTE:INP {self._trigger_input}"
        yield "TRIG:TYPE EDGE"
        yield f"TRIG:SLOP {edge(sweep)}"
        yield "TRIG:SCOP ALL"
        yield "TRIG:SOUR EXT"

    def _read_calibration(self) -> str:
        if not self._talk.ask_flag("SENS1:CORR:STAT?"):
            return ""
        return self._talk.ask("SENS1:CORR:CSET:ACT? NAME").strip('"')

    def _triggering(self, sweep: Sweep) -> Iterator[str]:
        if sweep.averages > 1:
            yield "SENS1:AVER:CLE"
            yield "SENS1:SWE:MODE GRO"
        else:
            yield "SENS1:SWE:MODE SING"
        if sweep.trigger != "internal":
            yield "*OPC"


def _stimulus(sweep: Sweep) -> Iterator[str]:
    if is_linear(sweep):
        yield from linear_stimulus(sweep.segments[0])
        return
    # One frequency is a segment too: the axis of a CW sweep is time.
    yield "SENS1:SEGM:DEL:ALL"
    yield "SENS1:SEGM:ARB ON"
    yield "SENS1:SEGM:BWID:CONT OFF"
    yield "SENS1:SEGM:POW:CONT OFF"
    table = (
        f"1,{segment.points},{exact(segment.start_hz)},{exact(segment.stop_hz)},"
        f"{exact(sweep.if_bandwidth_hz)},0,{exact(sweep.power_dbm)}"
        for segment in sweep.segments
    )
    yield f"SENS1:SEGM:LIST SSTOP,{len(sweep.segments)},{','.join(table)}"
    yield "SENS1:SWE:TYPE SEGM"


def _averaging(sweep: Sweep) -> Iterator[str]:
    if sweep.averages == 1:
        yield "SENS1:AVER OFF"
        return
    yield "SENS1:AVER:MODE SWE"
    yield f"SENS1:AVER:COUN {sweep.averages}"
    yield "SENS1:AVER ON"
    yield f"SENS1:SWE:GRO:COUN {sweep.averages}"
