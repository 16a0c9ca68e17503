"""The rig file: instruments, the layers they form, and how time passes."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from labctl.config.names import Name, PartName
from labctl.contract.driver import Settings
from labctl.contract.errors import Fault, SettingError
from labctl.contract.units import Seconds

RIG_SCHEMA = "labctl/rig/1"

Body = dict[str, Any]
"""The settings of one instrument or layer as written; the driver it names knows what they mean."""


def _named_by(key: str) -> AfterValidator:
    """Require the text `key`, which says which driver reads the other keys."""

    def check(bodies: dict[str, Body]) -> dict[str, Body]:
        for name, body in bodies.items():
            if not isinstance(body.get(key), str):
                problem = f'missing key "{key}"' if key not in body else f"{key} is not text"
                raise SettingError((name, key), f"{problem}; expected the name of a driver")
        return bodies

    return AfterValidator(check)


class HostSettings(Settings):
    """The process that drives the rig's instruments, and the guard beside it."""

    when: Literal["needed", "always"] = Field(
        default="needed",
        description="needed: when an instrument is not safe by itself once its driver is gone; always: simulators too",
    )
    safe_within_s: Annotated[Seconds, Field(ge=0.2, le=60)] = Field(
        alias="safe_within",
        default=2.0,
        description="time in which all is safe after labctl is killed, hangs or is told to stop at once",
    )
    patience_s: Annotated[Seconds, Field(gt=0, le=86400)] = Field(
        alias="patience",
        default=60.0,
        description="how much longer than a layer's nominal time an instrument may take before it counts as hung",
    )


def _attempts(default: int) -> Any:
    meaning = "how often the rig is opened again after one failure; 0: the run stops"
    return Field(default=default, ge=0, le=1000, description=meaning)


def _pause(default: float) -> Any:
    meaning = "time before the first attempt; it doubles from one to the next"
    return Field(alias="pause", default=default, ge=0, le=86400, description=meaning)


class Patience(Settings):
    """How often a failure is met, and how slowly."""

    attempts: int = _attempts(3)
    pause_s: Seconds = _pause(5.0)
    longest_pause_s: Annotated[Seconds, Field(ge=0, le=86400)] = Field(
        alias="longest_pause", default=600.0, description="where the doubling ends"
    )

    @property
    def pauses_s(self) -> tuple[float, ...]:
        """The pauses before the attempts, in their order."""
        return tuple(min(self.pause_s * 2.0**attempt, self.longest_pause_s) for attempt in range(self.attempts))


class NotReady(Patience):
    """How an instrument is met that says it needs time."""

    attempts: int = _attempts(20)
    pause_s: Seconds = _pause(30.0)


class Rejected(Patience):
    """How rows are met that are no good however often they are repeated at once."""

    attempts: int = _attempts(2)
    pause_s: Seconds = _pause(30.0)


class RecoverySettings(Patience):
    """What is done when an instrument fails in mid-run, beyond what its link does: all is made safe, closed, left in
    peace for a while, opened and configured again, and the rows that are missing are measured.

    An instrument that comes back from a power cut needs nothing else. Every number is a bound; beyond them the run
    stops, to be resumed. It stops at once when another instrument answers than before, or one refuses what it is told.
    """

    failures: int = Field(default=20, ge=1, description="failures in one session after which the run gives up")
    not_ready: NotReady = Field(
        default_factory=NotReady,
        description="for an instrument that says it needs time: it is too hot, its source is not locked or levelled",
    )
    rejected: Rejected = Field(
        default_factory=Rejected,
        description="for rows that are still no good after `record.retries`: clipped, say, or overloaded",
    )

    def after(self, fault: Fault) -> Patience:
        """Return how a fault is met."""
        match fault:
            case Fault.FAILED:
                return self
            case Fault.NOT_READY:
                return self.not_ready
            case Fault.REJECTED:
                return self.rejected
            case Fault.REFUSED:
                return Patience(attempts=0)


class Interlock(Settings):
    """A command that says whether a run may go on: a thermometer, a door switch, a level meter.

    It ends with code 0 when all is well; any other code, or no answer in time, ends the run as a stop does, hardware
    safe, or lets it wait. What it prints is logged with the run.
    """

    command: tuple[str, ...] = Field(min_length=1, description="program and arguments")
    every_s: Annotated[Seconds, Field(gt=0)] = Field(alias="every", default=60.0, description="time between two looks")
    timeout_s: Annotated[Seconds, Field(gt=0, le=600)] = Field(
        alias="timeout", default=10.0, description="time it may take to answer"
    )
    then: Literal["stop", "pause"] = Field(
        default="stop",
        description="what a run does when it is not well: stop, or make everything safe and wait until it is",
    )
    longest_pause_s: Annotated[Seconds, Field(gt=0)] = Field(
        alias="longest_pause", default=43200.0, description="how long a run that waits does so before it stops"
    )


class RigFile(Settings):
    """One rig. Instruments and layers stay as written until their drivers are known."""

    schema_version: Literal["labctl/rig/1"] = Field(alias="schema", description="version of this file's form")
    name: Name = Field(description="what the rig is called")
    time_scale: Literal["instant"] | Annotated[float, Field(gt=0)] = Field(
        default=1.0, description="laboratory seconds per second of waiting; instant: never wait. Real hardware needs 1"
    )
    power_w: float | None = Field(default=None, ge=0, description="what the rig draws in watts, for energy figures")
    host: HostSettings = Field(default_factory=HostSettings, description="the process that drives the instruments")
    recovery: RecoverySettings = Field(
        default_factory=RecoverySettings, description="what is done when an instrument fails in mid-run"
    )
    interlocks: dict[PartName, Interlock] = Field(
        default_factory=dict, description="commands by name that must be content before a run begins and while it goes"
    )
    instruments: Annotated[dict[PartName, Body], _named_by("driver")] = Field(
        default_factory=dict, description="instruments by name; `driver` says what they are"
    )
    layers: Annotated[dict[PartName, Body], _named_by("kind")] = Field(
        min_length=1, description="physical layers by name; `kind` says what they are"
    )
