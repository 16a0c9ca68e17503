"""What makes an instrument safe when its driver cannot: plain data that a process of its own carries out.

A driver can hang, and the process it lives in can be killed. What the instrument radiates must end all the same, so it
says beforehand, in bytes, how it is made safe without its driver.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol, runtime_checkable


class SafeOrder(IntEnum):
    """In which order a rig is made safe, over all of its instruments: what radiates first."""

    POWER_OFF = 1
    """RF off, sound muted, light blanked."""

    REST = 2
    """Metasurfaces and modulators to their rest pattern."""

    TOLD = 3
    """Interlocks and people told."""


@dataclass(frozen=True, slots=True)
class SafeStep:
    """One thing to send to one instrument. It sets an absolute state, so that sending it twice does no harm.

    `what` says it in words, `address` is the instrument's as the rig file spells it, by which it is locked, too. To
    `TCPIP::HOST::PORT::SOCKET` labctl sends `data` itself; any other address needs `through`, the `module:function` of
    the driver's package that is called with the step and a time-out in seconds and raises `OSError` when it cannot.
    Where `expected` is given, the step is done when the reply contains it; else when everything is sent. `baud` is a
    serial port's, and `dtr` the level of DTR from its opening on, None as the system has it. One try may take `try_s`:
    longer than for others where a board starts anew when its port is opened.
    """

    order: SafeOrder
    what: str
    address: str
    data: bytes
    expected: bytes = b""
    through: str = ""
    baud: int = 115200
    dtr: bool | None = None
    try_s: float = 0.4


@runtime_checkable
class Safeguarded(Protocol):
    """An instrument or layer that is not safe when the process that drives it is gone.

    A rig that has one is driven by a host process with a guard beside it. Its `make_safe` may be called from another
    thread while it is being measured, and raises `InstrumentError` when it is open and cannot be told: the guard then
    does what the plan says.
    """

    def safe_plan(self) -> tuple[SafeStep, ...]:
        """Return what makes it safe from outside; valid before `open`, and the same ever after."""
        ...
