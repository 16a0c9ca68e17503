"""Keysight ENA: E5071, E5061, E5063. Their dialect is also the root of Copper Mountain's.

Commands: the E5071C's programming help. Not tried on an instrument yet: the bits of the operation register, and the
text with which an overload is queued (it also trips RF).
"""

import math
import time
from collections.abc import Iterator

from labctl.contract.microwave import Sweep
from labctl_drivers.vna.base import Configured
from labctl_drivers.vna.limits import Limits
from labctl_drivers.vna.models import KEYSIGHT_ENA
from labctl_drivers.vna.scpi import ScpiAnalyser, edge, exact, linear_stimulus

BUSY_BITS = 0b110000
"""Operation register: measuring, waiting for a trigger."""

POLL_S = 0.005


class KeysightEna(ScpiAnalyser):
    """An ENA: numbered traces, segments as one table, averages within one trigger.

    Only `:TRIG:SING` holds back the answer to `*OPC?`; the end of an externally triggered sweep is polled for.
    """

    dialect = "Keysight ENA"
    models = KEYSIGHT_ENA
    error_query = ":SYST:ERR?"
    power_query = ":OUTP?"
    power_on = ":OUTP ON"
    power_off = (":OUTP OFF", ":ABOR")
    data_query = ":CALC1:SEL:DATA:SDAT?"
    axis_query = ":SENS1:FREQ:DATA?"
    sweep_time_query = ":SENS1:SWE:TIME?"
    points = ":SENS1:SWE:POIN"
    bandwidth = ":SENS1:BAND:RES"
    power = ":SOUR1:POW"
    text_format = ":FORM:DATA ASC"
    block_format = (":FORM:DATA REAL", ":FORM:BORD SWAP")
    format_query = ":FORM:DATA?"
    byte_order_query = ":FORM:BORD?"

    def _read_limits(self) -> Limits:
        ask = self._talk.ask_number
        self._ports = int(ask(":SERV:PORT:COUN?"))
        return Limits(
            owner=f"a limit of the {self._model_name}",
            frequency_hz=(ask(":SERV:SWE:FREQ:MIN?"), ask(":SERV:SWE:FREQ:MAX?")),
            power_dbm=self._model.power_dbm or (-math.inf, math.inf),
            most_points=self._model.most_points,
            most_segments=self._model.most_segments,
            ports=self._ports,
            segments_may_overlap=self._model.segments_may_overlap,
            averages_per_edge=self._model.averages_per_edge,
        )

    def _commands(self, sweep: Sweep) -> Iterator[str]:
        yield ":INIT1:CONT OFF"
        yield ":ABOR"
        yield f":CALC1:PAR:COUN {len(sweep.parameters)}"
        for index, parameter in enumerate(sweep.parameters):
            yield f":CALC1:PAR{index + 1}:DEF {parameter}"
        yield from _stimulus(sweep)
        yield f"{self.bandwidth} {exact(sweep.if_bandwidth_hz)}"
        yield f"{self.power} {exact(sweep.power_dbm)}"
        yield f":SENS1:AVER:COUN {sweep.averages}"
        yield f":SENS1:AVER:STAT {'ON' if sweep.averages > 1 else 'OFF'}"
        yield f":TRIG:SEQ:AVER {'ON' if sweep.averages > 1 else 'OFF'}"
        if sweep.trigger == "internal":
            yield ":TRIG:SOUR BUS"
            yield ":INIT1:CONT ON"
        else:
            yield ":TRIG:SOUR EXT"
            yield f":TRIG:EXT:SLOP {edge(sweep)}"

    def _read_calibration(self) -> str:
        return "corrected" if self._talk.ask_flag(":SENS1:CORR:STAT?") else ""

    def _triggering(self, sweep: Sweep) -> Iterator[str]:
        if sweep.averages > 1:
            yield ":SENS1:AVER:CLE"
        yield ":TRIG:SING" if sweep.trigger == "internal" else ":INIT1"

    def _forget_completion(self) -> None:
        """Do nothing: the operation register tells how it is now, not what has been."""

    def _has_ended(self) -> bool:
        return not int(self._talk.ask_number(":STAT:OPER:COND?")) & BUSY_BITS

    def _until_complete(self, configured: Configured) -> None:
        if configured.sweep.trigger == "internal":
            super()._until_complete(configured)
            return
        ends_s = time.monotonic() + configured.deadline_s
        while not self._has_ended():
            if time.monotonic() > ends_s:
                raise self._late(configured, ":STAT:OPER:COND?")
            time.sleep(POLL_S)

    def _selections(self, sweep: Sweep) -> list[str]:
        return [f":CALC1:PAR{number}:SEL" for number in range(1, len(sweep.parameters) + 1)]


def _stimulus(sweep: Sweep) -> Iterator[str]:
    if len(sweep.segments) == 1:
        yield from linear_stimulus(sweep.segments[0], ":SENS1")
        return
    table = (f"{exact(segment.start_hz)},{exact(segment.stop_hz)},{segment.points}" for segment in sweep.segments)
    yield f":SENS1:SEGM:DATA 5,0,0,0,0,0,{len(sweep.segments)},{','.join(table)}"
    yield ":SENS1:SWE:TYPE SEGM"
