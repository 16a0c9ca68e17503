"""The parts of an experiment file that matter when nobody looks: limits, and what is done about drift."""

from typing import Annotated, Literal

from pydantic import Field

from labctl.contract.driver import Settings
from labctl.contract.units import Bytes, Seconds


class Notify(Settings):
    """Who is told when a run ends, however it ends, and when it waits for its hardware: a command, a web address, or
    both. Neither delays anything.

    A wait is told once it has lasted for `waiting_after`, and once more when the run goes on; one that begins within an
    hour of the last one told is told when that hour is over, if it still lasts then.
    """

    command: tuple[str, ...] = Field(
        default=(), description="program and arguments; reads on its standard input what happened, as JSON"
    )
    webhook: str | None = Field(
        default=None, pattern="^https?://", description="address to which the same JSON is sent by POST"
    )
    waiting_after_s: Annotated[Seconds, Field(ge=0, le=86400)] = Field(
        alias="waiting_after",
        default=300.0,
        description="time for which a run waits for an instrument or an interlock before that is told, too",
    )


class Unattended(Settings):
    """What a run that nobody looks at keeps to. Each limit is one of a session: `labctl resume` begins a new one."""

    time_limit_s: Annotated[Seconds, Field(gt=0)] | None = Field(
        alias="time_limit", default=None, description="time after which the run stops, to be resumed"
    )
    pass_limit: int | None = Field(
        default=None, ge=1, description="passes after which the run stops, to be resumed; a layer may end its chunk"
    )
    free_disk_bytes: Annotated[Bytes, Field(ge=0)] = Field(
        alias="free_disk", default=50e6, description="room on the run's disk below which it stops, to be resumed"
    )
    cadence_s: Annotated[Seconds, Field(gt=0)] | None = Field(
        alias="cadence",
        default=None,
        description="acquisitions begin at multiples of this time; as soon as they can unless given",
    )
    notify: Notify | None = Field(
        default=None, description="who is told when the run ends or waits; nobody unless given"
    )


class Drift(Settings):
    """Reference drives, measured again and again, tell what becomes of a layer.

    The first rows ever sent to a layer lend their drives. They are measured several times at once, which shows the
    layer's own noise, and later once at every look; a session that goes on with a run or uses it begins with one.
    """

    every: int = Field(default=1000, ge=1, description="passes of a layer between two looks at it")
    references: int = Field(default=8, ge=4, le=1024, description="reference drives, each one pass at a look")
    repeats: int = Field(default=4, ge=2, le=64, description="how often each is measured at the beginning")
    tolerance: float = Field(
        default=0.01, ge=0, lt=1, description="change of a response, as a share of its rms, that counts as none"
    )
    on_drift: Literal["correct", "note", "pause"] = Field(
        default="correct", description="gain or offset of channels: undo it in the responses, only log it, or stop"
    )
    on_dead: Literal["mask", "note", "pause"] = Field(
        default="mask", description="dead channels: let them say nothing, only log them, or stop"
    )
    on_remixed: Literal["pause", "note", "re-measure", "map"] = Field(
        default="pause",
        description="another medium: stop, only log it, measure what was cached again and go on training from the "
        "weights there are, or measure stored rows again and map responses from now on to those of the old medium",
    )
    map_rows: int = Field(
        default=2000, ge=16, le=100_000, description="stored rows that are measured again to fit a map, each one pass"
    )

    @property
    def first_passes(self) -> int:
        """Reference passes that each layer begins with."""
        return self.references * self.repeats
