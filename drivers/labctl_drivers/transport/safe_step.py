"""Carries out steps of a safe plan at addresses that are no raw socket: what such a step names as `through`.

Each opens a link of its own, since whoever had the instrument's is gone, and raises `OSError` when a step is not done.
"""

import re
import time
from collections.abc import Generator
from contextlib import contextmanager

import pyvisa
import serial
from pyvisa.errors import VisaIOError
from pyvisa.resources import MessageBasedResource

from labctl.contract.safety import SafeStep

SEND_AGAIN_S = 0.6
"""A device that has this long been told nothing waits for no rest of a request (labctl-v1: 0.5 s)."""

_SERIAL = re.compile(r"ASRL(?P<port>[^:\s]+)(::INSTR)?", re.IGNORECASE)


def over_serial(step: SafeStep, timeout_s: float) -> None:
    """Carry out a step at `ASRL/dev/ttyUSB0::INSTR`, or `ASRL3::INSTR` for COM3, at the step's baud rate.

    What gets no answer is sent again on the open port: the device may have taken it for the rest of what a process that
    was killed had begun, or may be starting anew.
    """
    deadline_s = time.monotonic() + timeout_s
    with _opened_port(step, timeout_s) as port:
        while True:
            port.write(step.data)
            port.flush()
            reply = _reply(port, step.expected, min(time.monotonic() + SEND_AGAIN_S, deadline_s))
            if step.expected in reply:
                return
            if time.monotonic() >= deadline_s:
                raise OSError(f"it answered {reply!r}, expected {step.expected!r}")


@contextmanager
def _opened_port(step: SafeStep, timeout_s: float) -> Generator[serial.Serial]:
    match = _SERIAL.fullmatch(step.address)
    if match is None:
        raise OSError(f"'{step.address}' is no address of a serial port")
    with serial.Serial(baudrate=step.baud, write_timeout=timeout_s, exclusive=True) as port:
        port.port = f"COM{match['port']}" if match["port"].isdecimal() else match["port"]
        if step.dtr is not None:
            port.dtr = step.dtr
        port.open()
        yield port


def _reply(port: serial.Serial, expected: bytes, deadline_s: float) -> bytes:
    """Return what arrives until it contains `expected`, or until the deadline."""
    reply = bytearray()
    while expected not in reply and time.monotonic() < deadline_s:
        port.timeout = max(deadline_s - time.monotonic(), 0.0)
        reply += port.read(max(port.in_waiting, 1))
    return bytes(reply)


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
