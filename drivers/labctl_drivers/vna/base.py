"""The life of a network analyser, whatever its dialect: identify, check, configure, sweep, and never leave power on."""

import contextlib
import hashlib
import time
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labctl.contract.capabilities import Finding
from labctl.contract.errors import Fault, InstrumentError
from labctl.contract.microwave import Segment, SParameters, Sweep, SweepResult
from labctl_drivers.transport.link import LinkTimeoutError
from labctl_drivers.vna.limits import Limits, check_form, rig_limits
from labctl_drivers.vna.settings import AnalyserRules

Real = NDArray[np.float64]

AXIS_TOLERANCE = 1e-6
"""An analyser may round a frequency to its synthesiser's steps by this fraction, not more."""

INSIST_S, INSIST_EVERY_S = 0.5, 0.02
"""How long a link is tried that fails when the power must go off; the guard of the rig's host has 2 s for all."""

SIMULATOR_MARK = "VIRTUAL"
"""Simulated analysers have it in their identification."""


@dataclass(frozen=True)
class Configured:
    """What was set up and read back. `calibration` is empty where nothing corrects."""

    sweep: Sweep
    frequencies_hz: Real
    calibration: str
    deadline_s: float

    def segments(self) -> Iterator[tuple[Segment, Real]]:
        """Yield each segment with its part of the axis."""
        first = 0
        for segment in self.sweep.segments:
            yield segment, self.frequencies_hz[first : first + segment.points]
            first += segment.points


class Analyser(ABC):
    """A `NetworkAnalyser`, `Identifiable` and `HealthCheckable`. A dialect fills in the methods below the line."""

    def __init__(self, rules: AnalyserRules, name: str, *, timeout_s: float) -> None:
        self._rules = rules
        self._name = name
        self._timeout_s = timeout_s
        self._rig_limits = rig_limits(rules)
        self._limits: Limits | None = None
        self._identity = ""
        self._left_over_errors: list[str] | None = None
        self._configured: Configured | None = None
        self._power_is_on = False
        self._is_armed = False
        self._is_over = False

    @property
    def name(self) -> str:
        """Return the instrument's name in the rig file."""
        return self._name

    @property
    def simulated(self) -> bool:
        """Return whether the rig file says that a simulator answers at the address."""
        return self._rules.simulated

    @property
    def identity(self) -> str:
        """Return make, model, serial number and firmware as told; empty before `open`."""
        return self._identity

    @property
    def state_id(self) -> str:
        """Name instrument, configuration and calibration; what the rig file allows does not change what is measured."""
        parts = [self._identity]
        if self._configured is not None:
            parts += [repr(self._configured.sweep), self._configured.calibration]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]

    def check(self, sweep: Sweep) -> None:
        """Raise `InputError` for a sweep beyond the limits of the rig file or, once open, of the instrument."""
        check_form(sweep, self._name)
        self._rig_limits.check(sweep, self._name)
        if self._limits is not None:
            self._limits.check(sweep, self._name)

    def open(self) -> None:
        """Connect, identify, read limits; does nothing when already open.

        Raises `InstrumentError` when another model answers, or when its power is on: it is switched off then.
        """
        if self._limits is not None:
            return
        self._connect()
        try:
            self._identity = self._identify()
            self._check_honesty()
            limits = self._read_limits()
            self._refuse_power_left_on()
        except InstrumentError:
            self._disconnect()
            raise
        self._limits = limits

    def health(self) -> tuple[Finding, ...]:
        """Return limits, errors found at `open` and the correction as it stands now. Raises `InstrumentError`."""
        limits = self._require_open("health")
        calibration = self._read_calibration()
        missing = not calibration and self._rules.correction == "required"
        remedy = self._how_to_correct() if missing else ""
        return (
            Finding("limits", f"{limits}; the rig file allows {self._rules.max_power_dbm:g} dBm"),
            *self._errors_found(),
            Finding("correction", calibration or "none", remedy),
        )

    def configure(self, sweep: Sweep) -> Real:
        """Set up for `sweep` and return its frequencies (n_points,) as the instrument states them.

        Raises `InputError` before anything is sent, `InstrumentError` when the instrument refuses, reads back something
        else, or does not correct what the rig file wants corrected; the power is off then.
        """
        self.check(sweep)
        self._require_open("configure")
        self._configured = None
        self._is_armed = False
        with self._power_off_on_error():
            frequencies_hz = self._set_up(sweep)
            self._check_axis(sweep, frequencies_hz)
            calibration = self._read_calibration()
            if not calibration and self._rules.correction == "required":
                cause = f"no correction is active: {self._how_to_correct()}"
                raise InstrumentError(self._name, cause, fault=Fault.REFUSED)
            deadline_s = self._deadline_s(sweep, calibration)
        self._configured = Configured(sweep, frequencies_hz, calibration, deadline_s)
        return frequencies_hz.copy()

    def arm(self) -> None:
        """Begin what was configured, at once or at the next edge, switching power on where it is off.

        Before an `InstrumentError` is raised, the power is switched off.
        """
        self._require_open("arm")
        if self._configured is None:
            raise InstrumentError(self._name, "no sweep is configured", command="arm")
        with self._power_off_on_error():
            if not self._power_is_on:
                self._switch_power_on()
                self._power_is_on = True
            self._begin(self._configured)
        self._is_armed, self._is_over = True, False

    def swept(self) -> bool:
        """Return whether the sweep that an external trigger was to begin has ended. Raises `InstrumentError`."""
        configured = self._require_armed("swept")
        if configured.sweep.trigger == "internal":
            raise InstrumentError(self._name, "begins its sweeps itself: read tells of their end", command="swept")
        with self._power_off_on_error():
            return self._has_ended()

    def wait(self) -> bool:
        """Wait for the end of what was armed; return at once, False, where only `read` can tell.

        Before an `InstrumentError` is raised, the power is switched off.
        """
        configured = self._require_armed("wait")
        with self._power_off_on_error():
            self._is_over = self._is_over or self._await_end(configured)
        return self._is_over

    def read(self) -> SweepResult:
        """Wait for the end of what was armed and return it.

        After an overload, and before an `InstrumentError` is raised, the power is switched off.
        """
        configured = self._require_armed("read")
        self._is_armed = False
        with self._power_off_on_error():
            self._is_over = self._is_over or self._await_end(configured)
            values, overload = self._finish(configured)
            time_s = time.time()
        if overload:
            self.make_safe()
        return SweepResult(values, overload, time_s)

    def sweep(self) -> SweepResult:
        """Arm and read."""
        self.arm()
        return self.read()

    def make_safe(self) -> None:
        """Switch the power off and stop, also under a sweep of another thread.

        A link that fails is tried twice, and for as long as `INSIST_S`: an instrument that has just lost a connection
        may turn away the next one. Raises `InstrumentError` when it is open and cannot be told.
        """
        self._power_is_on = self._is_armed = False
        if self._limits is None:
            return None
        insist_until_s = time.monotonic() + INSIST_S
        while True:
            with contextlib.suppress(InstrumentError):
                return self._switch_power_off()
            if time.monotonic() >= insist_until_s:
                return self._switch_power_off()
            time.sleep(INSIST_EVERY_S)

    def close(self) -> None:
        """Release the link."""
        self._limits = None
        self._configured = None
        self._is_armed = False
        self._disconnect()

    def _require_open(self, command: str) -> Limits:
        if self._limits is None:
            raise InstrumentError(self._name, "the analyser is not open", command=command)
        return self._limits

    def _require_armed(self, command: str) -> Configured:
        self._require_open(command)
        if self._configured is None or not self._is_armed:
            raise InstrumentError(self._name, "no sweep is armed", command=command)
        return self._configured

    def _errors_found(self) -> tuple[Finding, ...]:
        """Return what was in the error queue at `open`, nothing where there is no queue."""
        if self._left_over_errors is None:
            return ()
        if not self._left_over_errors:
            return (Finding("error queue", "empty"),)
        remedy = "they are cleared now; if they come back, look at its screen"
        return (Finding("error queue", "; ".join(self._left_over_errors), remedy),)

    def _check_honesty(self) -> None:
        answers_as_simulator = SIMULATOR_MARK in self._identity.upper()
        if answers_as_simulator and not self._rules.simulated:
            cause = "a simulator answers at this address: write `simulated: true`"
            raise InstrumentError(self._name, cause, fault=Fault.REFUSED)

    def _refuse_power_left_on(self) -> None:
        if self._power_found_on():
            self._switch_power_off()
            raise InstrumentError(
                self._name,
                "RF was left on by someone else; it is off now: make sure that nobody uses it, and start again",
            )

    def _check_axis(self, sweep: Sweep, frequencies_hz: Real) -> None:
        asked_hz = np.concatenate([np.linspace(s.start_hz, s.stop_hz, s.points) for s in sweep.segments])
        if len(frequencies_hz) != len(asked_hz):
            raise InstrumentError(self._name, f"has {len(frequencies_hz)} points where {len(asked_hz)} were set")
        wrong = np.flatnonzero(np.abs(frequencies_hz - asked_hz) > AXIS_TOLERANCE * asked_hz)
        if wrong.size:
            point = int(wrong[0])
            raise InstrumentError(
                self._name,
                f"has {frequencies_hz[point]:.12g} Hz at point {point + 1} where {asked_hz[point]:.12g} Hz was set",
            )

    def _deadline_s(self, sweep: Sweep, calibration: str) -> float:
        """Return margin x sweep time x sweeps x averages, and the time-outs.

        The longer counts of what the analyser states for one sweep and points over IF bandwidth.
        """
        once_s = max(self._stated_sweep_s(sweep), sweep.points / sweep.if_bandwidth_hz)
        lasts_s = once_s * self._sweeps_per_result(sweep, calibration) * sweep.averages
        trigger_wait_s = 0.0 if sweep.trigger == "internal" else self._rules.trigger_wait_s
        return self._rules.sweep_margin * lasts_s + self._timeout_s + trigger_wait_s

    @contextlib.contextmanager
    def _power_off_on_error(self) -> Generator[None]:
        try:
            yield
        except InstrumentError:
            with contextlib.suppress(InstrumentError):  # the first error says more, and leads to a guard just as well
                self.make_safe()
            raise

    @contextlib.contextmanager
    def _explaining(self, configured: Configured, command: str) -> Generator[None]:
        """Turn a time-out while a sweep is waited for into an error that says what is likely."""
        try:
            yield
        except LinkTimeoutError as error:
            raise self._late(configured, command) from error

    def _late(self, configured: Configured, command: str) -> InstrumentError:
        likely = "was the analyser operated by hand, or is it on hold?"
        if configured.sweep.trigger != "internal":
            slope = configured.sweep.trigger.removeprefix("external-")
            likely = f"does the {slope} edge reach its trigger input? Look at the wire from the trigger output of the "
            likely += "metasurface's controller, or of what else gives the edge"
        return InstrumentError(
            self._name, f"the sweep did not end within {configured.deadline_s:.3g} s: {likely}", command=command
        )

    # ------------------------------------------------------------------------------------------------ dialect

    @abstractmethod
    def _connect(self) -> None:
        """Open the link. Raises `InstrumentError`."""

    @abstractmethod
    def _disconnect(self) -> None:
        """Close the link; never raises."""

    @abstractmethod
    def _identify(self) -> str:
        """Return who answers. Raises `InstrumentError` for a model of another dialect."""

    @abstractmethod
    def _read_limits(self) -> Limits:
        """Return what the instrument can do."""

    @abstractmethod
    def _power_found_on(self) -> bool:
        """Return whether RF power is on."""

    @abstractmethod
    def _switch_power_on(self) -> None:
        """Switch RF power on."""

    @abstractmethod
    def _switch_power_off(self) -> None:
        """Stop sweeping and switch RF power off."""

    @abstractmethod
    def _set_up(self, sweep: Sweep) -> Real:
        """Configure, read back and return the frequencies (n_points,). Raises `InstrumentError`."""

    @abstractmethod
    def _read_calibration(self) -> str:
        """Return a name of the active correction, empty when there is none."""

    @abstractmethod
    def _how_to_correct(self) -> str:
        """Return what a person does about missing correction."""

    @abstractmethod
    def _stated_sweep_s(self, sweep: Sweep) -> float:
        """Return how long one sweep lasts as the instrument states it, 0 where it does not."""

    @abstractmethod
    def _sweeps_per_result(self, sweep: Sweep, calibration: str) -> int:
        """Return the number of sweeps behind one result, before averaging."""

    @abstractmethod
    def _begin(self, configured: Configured) -> None:
        """Begin a sweep, or return when it waits for its edge; may be left to `_finish` where no edge is waited for."""

    @abstractmethod
    def _has_ended(self) -> bool:
        """Return whether the sweep that an edge was to begin has ended. Not called where there is no trigger input."""

    def _await_end(self, configured: Configured) -> bool:  # noqa: ARG002 - for those that can tell
        """Return True at the end of the sweep, or False at once where nothing but its values tells of it."""
        return False

    @abstractmethod
    def _finish(self, configured: Configured) -> tuple[SParameters, bool]:
        """Return the sweep's values (n_parameters, n_points) and whether a receiver was overloaded.

        Where `_await_end` returns False the sweep is waited for here.
        """
