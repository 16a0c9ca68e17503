"""Steps of a safe plan over serial ports and through PyVISA."""

import os
import pty
import socket
import tty
from collections.abc import Iterator
from threading import Thread

import pytest
from labctl_drivers.transport.safe_plan import OVER_SERIAL, OVER_VISA
from labctl_drivers.transport.safe_step import over_serial, over_visa

from labctl.contract.safety import SafeOrder, SafeStep
from labctl.rig.safe_plan import ways

Instrument = tuple[str, list[bytes]]


def step(address: str, expected: bytes = b"") -> SafeStep:
    return SafeStep(SafeOrder.REST, "at rest", address, b"!0x00\n", expected)


@pytest.fixture
def board() -> Iterator[Instrument]:
    """A board on a serial port that answers `#OK` to each line: its address and the lines it received."""
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    received: list[bytes] = []

    def serve() -> None:
        while True:
            try:
                line = os.read(ours, 4096)
            except OSError:
                return
            received.append(line)
            os.write(ours, b"#OK\n")

    Thread(target=serve, daemon=True).start()
    yield f"ASRL{os.ttyname(theirs)}::INSTR", received
    os.close(theirs)


@pytest.fixture
def analyser() -> Iterator[Instrument]:
    """An instrument on a socket that answers `1` to each connection: its address and what it received."""
    received: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    link, _ = server.accept()
                except OSError:
                    return
                with link:
                    received.append(link.recv(4096))
                    link.sendall(b"1\n")
                    link.recv(1)

        Thread(target=serve, daemon=True).start()
        yield f"TCPIP0::127.0.0.1::{server.getsockname()[1]}::SOCKET", received
        server.shutdown(socket.SHUT_RDWR)


def test_over_a_serial_port(board: Instrument) -> None:
    address, received = board
    over_serial(step(address, b"#OK"), 5)
    with pytest.raises(OSError, match=r"it answered b'#OK\\n', expected b'#READY'"):
        over_serial(step(address, b"#READY"), 0.2)
    assert received == [b"!0x00\n"] * 2


def test_a_serial_port_that_is_not_there() -> None:
    with pytest.raises(OSError, match="ttyNOWHERE"):
        over_serial(step("ASRL/dev/ttyNOWHERE::INSTR"), 0.2)
    with pytest.raises(OSError, match="'X' is no address of a serial port"):
        over_serial(step("X"), 0.2)


def test_through_pyvisa(analyser: Instrument) -> None:
    address, received = analyser
    over_visa(step(address, b"1"), 5)
    assert b"!0x00\n" in received
    with pytest.raises(OSError, match=r"PyVISA cannot open it|refused"):
        over_visa(step("TCPIP0::127.0.0.1::1::SOCKET"), 0.2)


def test_a_plan_may_name_them() -> None:
    steps = [SafeStep(SafeOrder.REST, "", "ASRL1::INSTR", b"", through=way) for way in (OVER_SERIAL, OVER_VISA)]
    assert [way for _, way in ways(steps)] == [over_serial, over_visa]
