"""Steps of a safe plan for instruments at the addresses that links take."""

from dataclasses import replace

from labctl.contract.safety import SafeOrder, SafeStep
from labctl_drivers.transport.settings import SerialSettings, StreamSettings

OVER_SERIAL = "labctl_drivers.transport.safe_step:over_serial"
OVER_VISA = "labctl_drivers.transport.safe_step:over_visa"

BOARD_STARTS_S = 4.0
"""What a board takes at most that starts anew when its port is opened."""


def safe_step(order: SafeOrder, what: str, address: str, data: bytes, *, expected: bytes = b"") -> SafeStep:
    """Return the step that sends `data` to `address` and is done when the reply contains `expected`."""
    if address.upper().endswith("::SOCKET"):
        through = ""
    else:
        through = OVER_SERIAL if address.upper().startswith("ASRL") else OVER_VISA
    return SafeStep(order, what, address, data, expected, through)


def rest_step(at: SerialSettings | StreamSettings, what: str, data: bytes, *, expected: bytes) -> SafeStep:
    """Return the step that sends a rest pattern on a link of its own, set up as the driver's."""
    step = safe_step(SafeOrder.REST, what, at.address, data, expected=expected)
    return replace(step, baud=at.baud, dtr=at.dtr, try_s=BOARD_STARTS_S) if isinstance(at, SerialSettings) else step
