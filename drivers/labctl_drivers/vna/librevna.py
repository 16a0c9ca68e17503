"""LibreVNA, through the SCPI server of LibreVNA-GUI (TCP port 19542, one client at a time).

Commands: LibreVNA's SCPI programming guide. It has no command for the output: RF is on while a sweep runs, so stopping
the acquisition ends it. Not tried on an instrument yet: with a power meter, that it does.
"""

import time
from typing import Annotated

import numpy as np
from pydantic import Field
from typing_extensions import override

from labctl.contract.errors import Fault, InstrumentError
from labctl.contract.microwave import Segment, SParameters, Sweep
from labctl.contract.safety import SafeOrder, SafeStep
from labctl.contract.units import Celsius
from labctl_drivers.transport.link import Link
from labctl_drivers.transport.safe_plan import safe_step
from labctl_drivers.vna.base import Analyser, Configured, Real
from labctl_drivers.vna.conversation import Conversation
from labctl_drivers.vna.limits import Limits
from labctl_drivers.vna.scpi import exact
from labctl_drivers.vna.settings import AnalyserRules

STALE_S = 0.5
"""After a trigger, the end of the sweep before may still be reported for 400 ms (LibreVNA issue 190)."""

POLL_S = 0.002

ERROR_BITS = 0b111100
"""Of the event status register: query, device, execution and command error."""

TEXT_TOLERANCE = 1e-5
"""Frequencies come with six digits."""

COLUMNS = 3


class LibreVnaRules(AnalyserRules):
    """Which LibreVNA, by its serial number if more than one is connected, and how hot it may become."""

    serial_number: str | None = None
    max_temperature_c: Annotated[Celsius, Field(gt=0)] = Field(alias="max_temperature", default=75.0)


class LibreVna(Analyser):
    """A LibreVNA. Its segments are sweeps one after the other; its data are text."""

    def __init__(self, rules: LibreVnaRules, name: str, link: Link, *, timeout_s: float) -> None:
        super().__init__(rules, name, timeout_s=timeout_s)
        self._talk = Conversation(link)
        self._serial_number = rules.serial_number
        self._max_temperature_c = rules.max_temperature_c

    # ------------------------------------------------------------------------------------------------ life

    def _connect(self) -> None:
        self._talk.link.open()

    def _disconnect(self) -> None:
        self._talk.link.close()

    def _identify(self) -> str:
        identity = self._talk.ask("*IDN?")
        if not identity.startswith("LibreVNA"):
            cause = f"answers as '{identity}', which is no LibreVNA-GUI"
            raise InstrumentError(self._name, cause, command="*IDN?", fault=Fault.REFUSED)
        self._talk.tell("*CLS")
        connected = self._talk.ask(":DEV:CONN?")
        if connected == "Not connected" or self._serial_number not in (None, connected):
            wanted = self._serial_number or ""
            self._talk.tell(f":DEV:CONN {wanted}".strip())
            connected = self._talk.ask(":DEV:CONN?")
        if connected == "Not connected" or self._serial_number not in (None, connected):
            raise InstrumentError(self._name, f"the GUI finds no device {self._serial_number or ''}".strip())
        return f"{identity},{connected},{self._talk.ask(':DEV:INF:FWREV?')}"

    def _read_limits(self) -> Limits:
        def limit(what: str) -> float:
            return self._talk.ask_number(f":DEV:INF:LIM:{what}?")

        traces = [trace.strip() for trace in self._talk.ask(":VNA:TRACE:LIST?").split(",")]
        return Limits(
            owner="a limit of the LibreVNA",
            frequency_hz=(limit("MINF"), limit("MAXF")),
            power_dbm=(limit("MINPOW"), limit("MAXPOW")),
            if_bandwidth_hz=(limit("MINIFBW"), limit("MAXIFBW")),
            most_points=int(limit("MAXP")),
            points_of_each_segment=True,
            ports=2,
            parameters=tuple(trace for trace in traces if trace in ("S11", "S12", "S21", "S22")),
            external_trigger=False,
        )

    def _power_found_on(self) -> bool:
        mode = self._talk.ask(":DEV:MODE?").upper()
        if mode == "GEN":
            return self._talk.ask_number(":GEN:PORT?") != 0
        return mode == "VNA" and self._talk.ask_flag(":VNA:ACQ:RUN?")

    def _switch_power_on(self) -> None:
        """Do nothing: a sweep does it."""

    def safe_plan(self) -> tuple[SafeStep, ...]:
        """Return how the sweep, and with it the power, is stopped without this driver."""
        address = self._talk.link.address
        return (safe_step(SafeOrder.POWER_OFF, f"{self._name}: sweep stopped", address, b":VNA:ACQ:STOP\n"),)

    def _switch_power_off(self) -> None:
        for command in (":VNA:ACQ:STOP", ":GEN:PORT 0"):
            self._talk.link.write_now(command)
        if self._power_found_on():
            raise InstrumentError(self._name, "does not stop", command=":VNA:ACQ:STOP")

    # ------------------------------------------------------------------------------------------------ configuration

    def _send(self, command: str) -> None:
        """Send a command. Raises `InstrumentError` with it when the event register then shows an error."""
        self._talk.tell(command)
        events = int(self._talk.ask_number("*ESR?"))
        if events & ERROR_BITS:
            raise InstrumentError(self._name, f"refuses with event status {events:#04x}", command=command)

    def _set_up(self, sweep: Sweep) -> Real:
        self._talk.tell("*CLS")
        # Stopped first: a setting that changes starts a sweep otherwise.
        for command in (":VNA:ACQ:STOP", ":DEV:MODE VNA", ":VNA:SWEEP FREQUENCY", ":VNA:SWEEPTYPE LIN"):
            self._send(command)
        self._send_and_read_back(":VNA:ACQ:IFBW", sweep.if_bandwidth_hz)
        self._send_and_read_back(":VNA:ACQ:AVG", sweep.averages)
        self._send_and_read_back(":VNA:STIM:LVL", sweep.power_dbm)
        return np.concatenate([self._set_segment(segment) for segment in sweep.segments])

    def _set_segment(self, segment: Segment) -> Real:
        """Set the span and return its frequencies as they read back."""
        start_hz = self._send_and_read_back(":VNA:FREQ:START", segment.start_hz)
        stop_hz = self._send_and_read_back(":VNA:FREQ:STOP", segment.stop_hz)
        self._send_and_read_back(":VNA:ACQ:POINTS", segment.points)
        return np.linspace(start_hz, stop_hz, segment.points)

    def _send_and_read_back(self, command: str, value: float) -> float:
        self._send(f"{command} {exact(value)}")
        has = self._talk.ask_number(f"{command}?")
        if abs(has - value) > TEXT_TOLERANCE * max(abs(value), 1.0):
            raise InstrumentError(self._name, f"has {has:.12g} where {value:.12g} was set", command=f"{command}?")
        return has

    def _read_calibration(self) -> str:
        active = self._talk.ask(":VNA:CAL:ACTIVE?")
        return "" if active.upper() == "NONE" else active

    def _how_to_correct(self) -> str:
        return "load a calibration in LibreVNA-GUI, or write `correction: allowed`"

    @override
    def _stated_sweep_s(self, sweep: Sweep) -> float:
        return 0.0

    @override
    def _sweeps_per_result(self, sweep: Sweep, calibration: str) -> int:
        """Return one for each port: all four S-parameters are measured."""
        return 2

    # ------------------------------------------------------------------------------------------------ sweep

    def _begin(self, configured: Configured) -> None:
        """Do nothing: the sweep of each segment is begun when it is to be read."""

    def _has_ended(self) -> bool:
        """Return False: sweeps are made when they are read."""
        return False

    def _finish(self, configured: Configured) -> tuple[SParameters, bool]:
        sweep, overload = configured.sweep, False
        parts: list[SParameters] = []
        for segment, frequencies_hz in configured.segments():
            if len(sweep.segments) > 1:
                self._set_segment(segment)
            self._sweep_once(configured)
            overload |= self._talk.ask_flag(":DEV:STA:ADCOVER?")
            parts.append(np.stack([self._trace(parameter, frequencies_hz) for parameter in sweep.parameters]))
        self._check_health()
        return np.concatenate(parts, axis=1), overload

    def _sweep_once(self, configured: Configured) -> None:
        """Trigger and return when the sweep, and not the one before, has ended."""
        self._talk.tell(":VNA:ACQ:SINGLE TRUE")
        begun_s = time.monotonic()
        seen_unfinished = False
        while True:
            finished = self._talk.ask_flag(":VNA:ACQ:FIN?")
            elapsed_s = time.monotonic() - begun_s
            seen_unfinished |= not finished
            if finished and (seen_unfinished or elapsed_s > STALE_S):
                return
            if elapsed_s > configured.deadline_s:
                raise self._late(configured, ":VNA:ACQ:FIN?")
            time.sleep(POLL_S)

    def _trace(self, parameter: str, frequencies_hz: Real) -> SParameters:
        """Return a trace (n_points,). Raises `InstrumentError` when it is of another sweep."""
        query = f":VNA:TRACE:DATA? {parameter}"
        numbers = self._talk.ask_numbers(query, COLUMNS * len(frequencies_hz), timeout_s=self._timeout_s)
        axis, real, imaginary = numbers.reshape(-1, COLUMNS).T
        # Without a span the axis is time.
        has_span = frequencies_hz[0] < frequencies_hz[-1]
        if has_span and not np.allclose(axis, frequencies_hz, rtol=TEXT_TOLERANCE, atol=0.0):
            raise InstrumentError(self._name, "sends a trace of other frequencies than were set", command=query)
        return real + 1j * imaginary

    def _check_health(self) -> None:
        """Raise `InstrumentError` for a synthesiser out of lock, a wrong level, or a device that overheats."""
        if self._talk.ask_flag(":DEV:STA:UNLO?"):
            cause, command = "a PLL is out of lock", ":DEV:STA:UNLO?"
            raise InstrumentError(self._name, cause, command=command, fault=Fault.NOT_READY)
        if self._talk.ask_flag(":DEV:STA:UNLEV?"):
            cause, command = "the output level is not reached", ":DEV:STA:UNLEV?"
            raise InstrumentError(self._name, cause, command=command, fault=Fault.NOT_READY)
        answer = self._talk.ask(":DEV:INF:TEMP?")
        hottest_c = max((float(chip) for chip in answer.split("/") if chip.strip().isdigit()), default=0.0)
        if hottest_c > self._max_temperature_c:
            cause = f"is {hottest_c:g} °C hot, above {self._max_temperature_c:g} °C: let it cool, or sweep less often"
            raise InstrumentError(self._name, cause, command=":DEV:INF:TEMP?", fault=Fault.NOT_READY)
