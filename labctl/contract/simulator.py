"""How a package lets virtual instruments answer on the wire in place of real ones.

A package names its benches as entry points in the group `labctl.simulators`; an entry point's name is the driver of the
simulated instrument, or the kind of the simulated layer, whose physics the bench's instruments measure.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from labctl.contract.driver import Instrument
from labctl.contract.layer import PhysicalLayer

SettingsByName = Mapping[str, Mapping[str, Any]]
"""Settings of instruments, by name, as a rig file has them."""


class VirtualBench(Protocol):
    """Virtual instruments on one piece of simulated physics, each where its own settings lead."""

    def start(self, instruments: SettingsByName, at: SettingsByName) -> SettingsByName:
        """Serve `instruments`, and return for each what its settings must be instead to lead there: its address.

        `at` has settings that led to them before; their places are taken again where they are free. Raises
        `SettingError`, its way beginning with the instrument's name, for settings that do not fit the physics.
        """
        ...

    def stop(self) -> None:
        """End every connection and stop serving. Idempotent."""
        ...


@dataclass(frozen=True)
class BenchSimulator:
    """The entry point of a bench: the `drivers` to which it can answer, and how it is built on its physics.

    `build` raises `InputError` for physics that such instruments cannot measure.
    """

    drivers: frozenset[str]
    build: Callable[[Instrument | PhysicalLayer], VirtualBench]
