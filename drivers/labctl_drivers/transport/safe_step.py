"""Carries out steps of a safe plan at addresses that are no raw socket: what such a step names as `through`.

Each opens a link of its own, since whoever had the instrument's is gone, and raises `OSError` when a step is not done.
"""

import re
import time

import pyvisa
import serial
from pyvisa.errors import VisaIOError
from pyvisa.resources import MessageBasedResource

from labctl.contract.safety import SafeStep

_SERIAL = re.compile(r"ASRL(?P<port>[^:\s]+)(::INSTR)?", re.IGNORECASE)


def over_serial(step: SafeStep, timeout_s: float) -> None:
    """Carry out a step at `ASRL/dev/ttyUSB0::INSTR`, or `ASRL3::INSTR` for COM3, at the step's baud rate."""
    match = _SERIAL.fullmatch(step.address)
    if match is None:
        raise OSError(f"'{step.address}' is no address of a serial port")
    name = f"COM{match['port']}" if match["port"].isdecimal() else match["port"]
    deadline_s = time.monotonic() + timeout_s
    with serial.Serial(name, step.baud, timeout=timeout_s, write_timeout=timeout_s) as port:
        port.write(step.data)
        port.flush()
        reply = bytearray()
        while step.expected not in reply:
            port.timeout = max(deadline_s - time.monotonic(), 0.0)
            received = port.read(max(port.in_waiting, 1))
            if not received:
                raise OSError(f"it answered {bytes(reply)!r}, expected {step.expected!r}")
            reply += received


def over_visa(step: SafeStep, timeout_s: float) -> None:
    """Carry out a step at any address that PyVISA opens as a message-based resource, with pyvisa-py."""
    milliseconds = round(timeout_s * 1e3)
    try:
        link = pyvisa.ResourceManager("@py").open_resource(step.address, open_timeout=milliseconds)
    except (VisaIOError, ValueError) as error:
        raise OSError(f"PyVISA cannot open it: {error}") from error
    try:
        if not isinstance(link, MessageBasedResource):
            raise OSError("it takes no messages")
        link.timeout = milliseconds
        link.read_termination = "\n"  # a raw socket's reply has no other end
        link.write_raw(step.data)
        reply = link.read_raw() if step.expected else b""
    except VisaIOError as error:
        raise OSError(str(error)) from error
    finally:
        link.close()
    if step.expected not in reply:
        raise OSError(f"it answered {reply!r}, expected {step.expected!r}")
