"""What is switched so that a bench can be left alone: a laser, a shutter, the power of amplifiers."""

from typing import Protocol, runtime_checkable

from labctl.contract.driver import NamedInstrument


@runtime_checkable
class Switch(NamedInstrument, Protocol):
    """An output that is on or off. Constructed without touching hardware, and off until told."""

    def open(self) -> None:
        """Connect and switch off. Raises `InstrumentError`."""
        ...

    def switch(self, *, on: bool) -> None:
        """Return when it is acknowledged to be on, or off, and steady. Raises `InstrumentError`."""
        ...

    def make_safe(self) -> None:
        """Switch off. Idempotent; any state. Raises `InstrumentError` when it is open and cannot be told."""
        ...
