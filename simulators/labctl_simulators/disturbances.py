"""Lasting changes that a rig file plans by row, to rehearse a bad night."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from labctl.contract.disturbances import (
    ChannelChanges,
    DeadChannel,
    GainChange,
    Move,
    OffsetChange,
    Planned,
    SwappedChannels,
    TemperatureChange,
)
from labctl.contract.driver import Settings
from labctl.contract.errors import blaming


class _AtRow(Settings):
    row: int = Field(ge=0, description="id of the first row that is measured after it")


class _Gain(GainChange, _AtRow):
    __doc__ = GainChange.__doc__


class _Offset(OffsetChange, _AtRow):
    __doc__ = OffsetChange.__doc__


class _Dead(DeadChannel, _AtRow):
    __doc__ = DeadChannel.__doc__


class _Swapped(SwappedChannels, _AtRow):
    __doc__ = SwappedChannels.__doc__


class _Temperature(TemperatureChange, _AtRow):
    __doc__ = TemperatureChange.__doc__


class _Move(Move, _AtRow):
    __doc__ = Move.__doc__


Disturbance = Annotated[
    _Gain | _Offset | _Dead | _Swapped | _Temperature | _Move,
    Field(discriminator="kind"),
]


def planned(disturbances: Sequence[Disturbance]) -> list[Planned]:
    """Return disturbances as the contract knows them."""
    return [Planned(each.row, each) for each in disturbances]


def channel_changes(disturbances: Sequence[Disturbance], seed: int, names: Sequence[str]) -> ChannelChanges:
    """Return what `disturbances` do to channels `names`. Raises `SettingError` for a channel that is not there."""
    with blaming("faults", "disturbances"):
        return ChannelChanges(planned(disturbances), seed, names)
