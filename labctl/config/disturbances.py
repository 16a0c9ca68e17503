"""The part of an experiment file that says what is changed on purpose while a run goes on, and when."""

from typing import Annotated, Literal

from pydantic import Field

from labctl.config.names import LayerAddress
from labctl.contract.disturbances import (
    Bend,
    DeadChannel,
    GainChange,
    Move,
    OffsetChange,
    SwappedChannels,
    TemperatureChange,
)
from labctl.contract.driver import Settings

AFTER_TRAINING = "after training"


class _Scheduled(Settings):
    at: Annotated[int, Field(ge=0)] | Literal["after training"] = Field(
        description="how many rows of the run come before it, or after training: the test is the first to meet it"
    )
    layer: LayerAddress | None = Field(
        default=None, description="the layer it befalls, as a block names it; needed where the network has several"
    )


class ScheduledGain(GainChange, _Scheduled):
    """Every channel's gain is multiplied by 1 plus a normal random number: in the responses, by arithmetic."""


class ScheduledOffset(OffsetChange, _Scheduled):
    """A normal random number is added to every channel: in the responses, by arithmetic."""


class ScheduledDead(DeadChannel, _Scheduled):
    """A channel delivers zero: in the responses, by arithmetic."""


class ScheduledSwap(SwappedChannels, _Scheduled):
    """Two cables are in each other's place: in the responses, by arithmetic."""


class ScheduledTemperature(TemperatureChange, _Scheduled):
    """The air has another temperature; simulated sound in a box and metasurface cavities alone."""


class ScheduledMove(Move, _Scheduled):
    """The first loudspeaker of a simulated box has been moved along it, or the first post of a metasurface cavity."""


class ScheduledBend(Bend, _Scheduled):
    """The fibre is bent otherwise; a simulated fibre with several measured matrices alone."""


Disturbance = Annotated[
    ScheduledGain
    | ScheduledOffset
    | ScheduledDead
    | ScheduledSwap
    | ScheduledTemperature
    | ScheduledMove
    | ScheduledBend,
    Field(discriminator="kind"),
]


def in_words(disturbance: Disturbance) -> str:
    """Return a disturbance as people say it."""
    own = disturbance.model_dump(mode="json", by_alias=True, exclude={"kind", "at", "layer"})
    settings = ", ".join(f"{name} {value}" for name, value in own.items())
    when = f"from row {disturbance.at:,} on" if isinstance(disturbance.at, int) else disturbance.at
    return f"{disturbance.kind} ({settings}) {when}"
