"""Steps of a safe plan for instruments at the addresses that links take."""

from labctl.contract.safety import SafeOrder, SafeStep

OVER_SERIAL = "labctl_drivers.transport.safe_step:over_serial"
OVER_VISA = "labctl_drivers.transport.safe_step:over_visa"


def safe_step(order: SafeOrder, what: str, address: str, data: bytes, *, expected: bytes = b"") -> SafeStep:
    """Return the step that sends `data` to `address` and is done when the reply contains `expected`."""
    if address.upper().endswith("::SOCKET"):
        through = ""
    else:
        through = OVER_SERIAL if address.upper().startswith("ASRL") else OVER_VISA
    return SafeStep(order, what, address, data, expected, through)
