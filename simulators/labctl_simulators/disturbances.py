"""Lasting changes on purpose: from a row on, gains and offsets move, channels die, the medium becomes another one.

What is drawn belongs to (seed, place in the list) alone, so that a rehearsal can be repeated. The state id does not
change: nobody has told the rig.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from labctl.contract.driver import Settings
from labctl.contract.errors import SettingError
from labctl.contract.layer import ResponseValues, RowIds
from labctl.contract.units import Celsius, Metres

_STREAM = 0x0D
"""Keeps these random numbers apart from those of faults, which are drawn from the same seed."""


class _Disturbance(Settings):
    row: int = Field(ge=0, description="id of the first row that is measured after it")


class GainChange(_Disturbance):
    """Every channel's gain is multiplied by 1 plus a normal random number."""

    kind: Literal["gain"]
    spread: float = Field(gt=0, lt=1, description="standard deviation of the gains over the channels")


class OffsetChange(_Disturbance):
    """A normal random number is added to every channel."""

    kind: Literal["offset"]
    spread: float = Field(gt=0, description="standard deviation of the offsets, in the unit of the channels")


class DeadChannel(_Disturbance):
    """A channel delivers zero."""

    kind: Literal["dead"]
    channel: str = Field(description="its name")


class TemperatureChange(_Disturbance):
    """The air of the box has another temperature, and sound another speed."""

    kind: Literal["temperature"]
    temperature_c: Annotated[Celsius, Field(gt=-40, lt=60)] = Field(alias="temperature")


class Move(_Disturbance):
    """The first loudspeaker stands elsewhere: it has been moved along the box."""

    kind: Literal["moved"]
    distance_m: Annotated[Metres, Field(gt=0)] = Field(alias="distance", description="by how much")


Disturbance = Annotated[GainChange | OffsetChange | DeadChannel | TemperatureChange | Move, Field(discriminator="kind")]


class ChannelChanges:
    """What disturbances of channels do to the responses of channels `names`."""

    def __init__(self, disturbances: Sequence[Disturbance], seed: int, names: Sequence[str]) -> None:
        """Raise `SettingError` for a channel that is not there."""
        self._steps: list[tuple[int, NDArray[np.float64], NDArray[np.float64]]] = []
        for place, disturbance in enumerate(disturbances):
            key = np.random.SeedSequence(seed, spawn_key=(_STREAM, place))
            drawn = np.random.default_rng(key).standard_normal(len(names))
            gains, offsets = np.ones(len(names)), np.zeros(len(names))
            if isinstance(disturbance, GainChange):
                gains += disturbance.spread * drawn
            elif isinstance(disturbance, OffsetChange):
                offsets += disturbance.spread * drawn
            elif isinstance(disturbance, DeadChannel):
                gains[_number(disturbance.channel, names, place)] = 0.0
            else:
                continue
            self._steps.append((disturbance.row, gains, offsets))

    def apply(self, values: ResponseValues, ids: RowIds) -> ResponseValues:
        """Return `values` (n, n_channels) of rows `ids` (n,) as disturbed, in their number type."""
        if not self._steps or ids.max(initial=-1) < min(row for row, _, _ in self._steps):
            return values
        changed = values.astype(np.result_type(values, np.float64))
        for first_row, gains, offsets in self._steps:
            late = ids >= first_row
            changed[late] = changed[late] * gains + offsets
        if values.dtype.kind in "iu":
            limits = np.iinfo(values.dtype)
            changed = np.clip(np.rint(changed), limits.min, limits.max)
        return changed.astype(values.dtype)


def _number(channel: str, names: Sequence[str], place: int) -> int:
    if channel not in names:
        known = f"{', '.join(names[:4])}{', ...' if len(names) > 4 else ''}"
        raise SettingError(("faults", "disturbances", place, "channel"), f"no channel '{channel}'; there are {known}")
    return names.index(channel)
