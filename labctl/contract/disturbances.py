"""Lasting changes on purpose: what they are, what those of channels do to responses, who offers those of a medium.

What is drawn belongs to (seed, place in the plan) alone, so that a disturbance can be repeated. The state id does not
change: nobody has told the rig.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from labctl.contract.driver import Settings
from labctl.contract.errors import SettingError
from labctl.contract.layer import ResponseValues, RowIds
from labctl.contract.units import Celsius, Metres

_STREAM = 0x0D
"""Keeps these random numbers apart from those of faults, which are drawn from the same seed."""


class GainChange(Settings):
    """Every channel's gain is multiplied by 1 plus a normal random number."""

    kind: Literal["gain"]
    spread: float = Field(gt=0, lt=1, description="standard deviation of the gains over the channels")


class OffsetChange(Settings):
    """A normal random number is added to every channel."""

    kind: Literal["offset"]
    spread: float = Field(gt=0, description="standard deviation of the offsets, in the unit of the channels")


class DeadChannel(Settings):
    """A channel delivers zero."""

    kind: Literal["dead"]
    channel: str = Field(description="its name")


class SwappedChannels(Settings):
    """Two cables are in each other's place."""

    kind: Literal["swapped"]
    channels: tuple[str, str] = Field(description="names of the two channels")


class TemperatureChange(Settings):
    """The air of the box has another temperature and sound another speed; a metasurface cavity expands, too."""

    kind: Literal["temperature"]
    temperature_c: Annotated[Celsius, Field(gt=-40, lt=60)] = Field(alias="temperature")


class Move(Settings):
    """Something stands elsewhere: the first loudspeaker, moved along the box, or a metasurface cavity's first post."""

    kind: Literal["moved"]
    distance_m: Annotated[Metres, Field(gt=0)] = Field(alias="distance", description="by how much")


class Bend(Settings):
    """A fibre is bent otherwise: another of the matrices that were measured of it takes the place of its own."""

    kind: Literal["bent"]
    deformation: int = Field(ge=0, description="number of the matrix, counted from 0")


ChannelChange = GainChange | OffsetChange | DeadChannel | SwappedChannels
MediumChange = TemperatureChange | Move | Bend


@dataclass(frozen=True, slots=True)
class Planned:
    """A change, and the id of the first row that is measured after it."""

    row: int
    change: ChannelChange | MediumChange


@runtime_checkable
class Disturbable(Protocol):
    """A simulated layer or instrument whose medium becomes another one when it is told to; never hardware."""

    def check_disturbance(self, change: MediumChange) -> None:
        """Raise `SettingError` when it cannot undergo that change, saying why; open or not."""
        ...

    def disturb(self, planned: Planned) -> None:
        """Undergo a change that `check_disturbance` lets pass, at its row and for good, also when opened again.

        It comes after all changes planned before, in time as well.
        """
        ...


class ChannelChanges:
    """What changes of channels do to the responses of channels `names`; those of a medium are left alone."""

    def __init__(self, plan: Sequence[Planned | None], seed: int, names: Sequence[str]) -> None:
        """`plan` has None at places that do not concern these channels.

        Raises `SettingError`, at place and key in the plan, for a channel that is not there.
        """
        self._steps: list[tuple[int, NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]] = []
        for place, planned in enumerate(plan):
            if planned is None:
                continue
            key = np.random.SeedSequence(seed, spawn_key=(_STREAM, place))
            drawn = np.random.default_rng(key).standard_normal(len(names))
            gains, offsets, order = np.ones(len(names)), np.zeros(len(names)), np.arange(len(names))
            match planned.change:
                case GainChange(spread=spread):
                    gains += spread * drawn
                case OffsetChange(spread=spread):
                    offsets += spread * drawn
                case DeadChannel(channel=channel):
                    gains[_number(channel, names, (place, "channel"))] = 0.0
                case SwappedChannels(channels=channels):
                    both = [_number(each, names, (place, "channels", end)) for end, each in enumerate(channels)]
                    order[both] = order[both[::-1]]
                case _:
                    continue
            self._steps.append((planned.row, gains, offsets, order))

    def apply(self, values: ResponseValues, ids: RowIds) -> ResponseValues:
        """Return `values` (n, n_channels) of rows `ids` (n,) as disturbed, in their number type."""
        if not self._steps or ids.max(initial=-1) < min(step[0] for step in self._steps):
            return values
        changed = values.astype(np.result_type(values, np.float64))
        for first_row, gains, offsets, order in self._steps:
            late = ids >= first_row
            changed[late] = changed[late][:, order] * gains + offsets
        if values.dtype.kind in "iu":
            limits = np.iinfo(values.dtype)
            changed = np.clip(np.rint(changed), limits.min, limits.max)
        return changed.astype(values.dtype)


def _number(channel: str, names: Sequence[str], at: tuple[str | int, ...]) -> int:
    if channel not in names:
        known = f"{', '.join(names[:4])}{', ...' if len(names) > 4 else ''}"
        raise SettingError(at, f"no channel '{channel}'; there are {known}")
    return names.index(channel)
