"""How a driver package presents an instrument or a layer to labctl.

A package names its drivers as entry points in the groups `labctl.instruments` and `labctl.layers`; the entry
point's name is what a rig file writes as `driver:` or `kind:`. Building constructs objects and touches no hardware.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar, runtime_checkable

from pydantic import BaseModel, ConfigDict

from labctl.contract.clock import Clock
from labctl.contract.errors import SettingError, SettingKeys
from labctl.contract.layer import PhysicalLayer


class Settings(BaseModel):
    """Base of every settings model: unknown keys are errors, values never change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


SettingsT = TypeVar("SettingsT", bound=Settings)
InterfaceT = TypeVar("InterfaceT")


@runtime_checkable
class Instrument(Protocol):
    """What every instrument can do. Constructed without touching hardware."""

    def open(self) -> None:
        """Connect and configure. Raises `InstrumentError`; a failed `open` leaves nothing connected."""
        ...

    def make_safe(self) -> None:
        """Leave the hardware in a state that can be left alone. Idempotent; any state.

        Never raises, unless it is `Safeguarded` (see `labctl.contract.safety`): then others can still do something.
        """
        ...

    def close(self) -> None:
        """Release everything. Idempotent."""
        ...


@runtime_checkable
class NamedInstrument(Instrument, Protocol):
    """An instrument that a layer is made of: it says who it is, and when its physics may have changed."""

    @property
    def name(self) -> str:
        """Return the instrument's name in the rig file."""
        ...

    @property
    def simulated(self) -> bool:
        """Return whether no real hardware is behind it."""
        ...

    @property
    def state_id(self) -> str:
        """Name configuration, calibration and element map; equal ids promise equal physics."""
        ...


@dataclass(frozen=True)
class BuildContext:
    """What a factory is given besides its settings.

    `name` is the object's name in the rig file, `folder` what relative paths in the settings are relative to.
    """

    name: str
    folder: Path
    clock: Clock


@dataclass(frozen=True)
class InstrumentDriver(Generic[SettingsT]):
    """The entry point of an instrument driver. `build` raises `InputError` for settings that cannot work."""

    settings: type[SettingsT]
    build: Callable[[SettingsT, BuildContext], Instrument]


@dataclass(frozen=True)
class LayerDriver(Generic[SettingsT]):
    """The entry point of a layer. `build` receives all instruments of the rig by name and picks its own."""

    settings: type[SettingsT]
    build: Callable[[SettingsT, Mapping[str, Instrument], BuildContext], PhysicalLayer]


def pick_instrument(
    instruments: Mapping[str, Instrument],
    name: str,
    interface: type[InterfaceT],
    layer: str,
    *,
    at: SettingKeys = (),
) -> InterfaceT:
    """Return the instrument `name`, named by the setting `at`, if it offers `interface`.

    Raises `SettingError` saying what the rig has.
    """
    if name not in instruments:
        raise SettingError(
            at,
            f"layer '{layer}' uses instrument '{name}', which the rig does not define; "
            f"it has: {', '.join(sorted(instruments)) or 'none'}",
        )
    instrument = instruments[name]
    if not isinstance(instrument, interface):
        raise SettingError(at, f"layer '{layer}' needs instrument '{name}' to be a {interface.__name__}")
    return instrument
