"""A serial link on a pseudo-terminal: shells, lines and frames, every fault, and honest baud timing."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from labctl_drivers.transport.link import (
    LinkError,
    LinkGarbledError,
    LinkLostError,
    LinkRefusedError,
    LinkTimeoutError,
)
from labctl_drivers.transport.serial_link import Ready, SerialLink
from labctl_drivers.transport.settings import SerialSettings
from labctl_simulators.instruments.servers.wire_faults import SERIAL, WireFaultKind

if sys.platform == "win32":
    pytest.skip("pseudo-terminals need Linux or macOS", allow_module_level=True)

from labctl_simulators.instruments.servers.pty_port import ByteHandler, PtyPort


class LineDevice:
    """Answers a line by itself in brackets; one that begins with `!` by 0x06 alone; `?` by `ready`."""

    def __init__(self) -> None:
        self.unfinished = b""
        self.lines: list[bytes] = []

    def __call__(self, arrived: bytes) -> bytes:
        *lines, self.unfinished = (self.unfinished + arrived).split(b"\n")
        self.lines += lines
        return b"".join(self._answer(line) for line in lines)

    def _answer(self, line: bytes) -> bytes:
        if line.endswith(b"?"):
            return b"ready\n"
        return b"\x06" if line.startswith(b"!") else b"[" + line + b"]\n"


READY = Ready(answer=b"ready\n", probe=b"\n?\n")
StartPort = Callable[..., tuple[PtyPort, SerialLink]]


@pytest.fixture
def start_port() -> Iterator[StartPort]:
    with ExitStack() as stack:

        def start(
            handler: ByteHandler | None = None, *, baud: int | None = None, ready: Ready | None = READY, **given: Any
        ) -> tuple[PtyPort, SerialLink]:
            port = stack.enter_context(PtyPort(handler or LineDevice(), baud=baud))
            settings = {"address": port.address, "timeout": "10 s", "open_timeout": "10 s"} | given
            settings.setdefault("recovery", {"attempts": 6, "backoff": "20 ms"})
            link = SerialLink(SerialSettings.model_validate(settings), "surface", ready=ready)
            stack.callback(link.close)
            link.open()
            return port, link

        yield start


EXPECTED: dict[WireFaultKind, type[LinkError]] = {
    "stall": LinkTimeoutError,
    "silence": LinkTimeoutError,
    "short": LinkTimeoutError,
    "lost-byte": LinkTimeoutError,
    "long": LinkGarbledError,
    "garbage": LinkGarbledError,
    "nak": LinkGarbledError,
    "echo": LinkGarbledError,
    "unplug": LinkLostError,
}


@pytest.mark.parametrize("kind", SERIAL)
def test_fault_of_an_acknowledged_request_is_detected_as_itself(start_port: StartPort, kind: WireFaultKind) -> None:
    class LastByteMatters(LineDevice):
        """Takes requests of exactly three bytes, as a controller without frames does."""

        def __call__(self, arrived: bytes) -> bytes:
            if arrived.startswith(b"\n?\n"):
                self.unfinished = b""
                return b"ready\n"
            self.unfinished += arrived
            if len(self.unfinished) < 3:
                return b""
            self.lines.append(self.unfinished)
            self.unfinished = b""
            return b"\x06\x06\x06\x06"

    port, link = start_port(LastByteMatters())
    link.command(b"abc", acknowledgement=b"\x06\x06\x06\x06")
    port.faults.arm(kind, 0.4)

    def show_twice() -> None:
        timeout_s = 0.2 if EXPECTED[kind] is LinkTimeoutError else None
        link.command(b"def", acknowledgement=b"\x06\x06\x06\x06", timeout_s=timeout_s)
        # Surplus behind an acknowledgement shows before the next request.
        time.sleep(0.05)
        link.command(b"ghi", acknowledgement=b"\x06\x06\x06\x06")

    with pytest.raises(EXPECTED[kind]) as caught:
        show_twice()

    assert caught.value.instrument == "surface"
    link.command(b"jkl", acknowledgement=b"\x06\x06\x06\x06")
    assert link.counts.faults.total() == 1
    assert link.counts.recoveries == 1
    assert port.faults.struck == [kind]


@pytest.mark.parametrize("kind", [kind for kind in SERIAL if kind not in ("nak", "lost-byte")])
def test_fault_of_a_line_is_detected_or_the_line_is_whole(start_port: StartPort, kind: WireFaultKind) -> None:
    port, link = start_port()
    port.faults.arm(kind, 0.4)
    try:
        answer = link.exchange_until(b"0.125\n", b"\n", timeout_s=0.2)
    except (EXPECTED[kind], LinkTimeoutError):
        pass
    else:
        # What a line without a check cannot show its reader: an echo, bytes that were put in front of the newline.
        assert answer != b"[0.12]"
        assert kind in ("echo", "long", "garbage")
        time.sleep(0.05)
    try:
        assert link.exchange_until(b"a\n", b"\n") == b"[a]"
    except LinkGarbledError:
        assert kind == "echo"
    assert link.exchange_until(b"b\n", b"\n") == b"[b]"


def test_exact_count_and_its_late_surplus(start_port: StartPort) -> None:
    _, link = start_port()
    assert link.exchange(b"12345\n", n_bytes=8) == b"[12345]\n"
    assert link.exchange(b"12345\n", n_bytes=6) == b"[12345"
    time.sleep(0.02)
    with pytest.raises(LinkGarbledError, match="out of step"):
        link.exchange(b"6\n", n_bytes=4)
    assert link.exchange(b"7\n", n_bytes=4) == b"[7]\n"


def test_shell_with_echo_and_prompt(start_port: StartPort) -> None:
    def shell(arrived: bytes) -> bytes:
        if not arrived.endswith(b"\r"):
            return b""
        data = b"".join(b"%d 0.5\r\n" % number for number in range(101)) if arrived == b"data 0\r" else b""
        return arrived + b"\n" + data + b"ch> "

    _, link = start_port(shell, ready=Ready(answer=b"ch> ", probe=b"\r"))
    for _ in range(3):
        echo, *lines = link.exchange_until(b"data 0\r", b"ch> ").split(b"\r\n")[:-1]
        assert echo == b"data 0"
        assert len(lines) == 101
        assert lines[-1] == b"100 0.5"


def test_binary_replies_with_every_byte_value(start_port: StartPort) -> None:
    _, link = start_port(lambda arrived: arrived, ready=None)
    frame = bytes(range(256)) * 16
    assert link.exchange(frame, n_bytes=len(frame)) == frame


def test_device_that_needs_time_before_it_listens(start_port: StartPort) -> None:
    born_s = time.monotonic()
    device = LineDevice()
    _, link = start_port(lambda arrived: device(arrived) if time.monotonic() - born_s > 0.3 else b"")
    assert link.exchange_until(b"a\n", b"\n") == b"[a]"


def test_device_that_never_listens_is_given_up(start_port: StartPort) -> None:
    with pytest.raises(LinkTimeoutError, match="does not say b'ready"):
        start_port(lambda _: b"", open_timeout="300 ms")


def test_device_that_babbles_is_given_up(start_port: StartPort) -> None:
    with pytest.raises(LinkGarbledError, match="does not fall silent"):
        start_port(lambda _: b"ready\n" + b"x" * 20_000, baud=115200, open_timeout="400 ms")


def test_port_is_opened_by_one_alone(start_port: StartPort) -> None:
    port, link = start_port()
    second = SerialLink(link.settings, "other")
    with pytest.raises(LinkRefusedError, match="cannot open"):
        second.open()
    link.close()
    second.open()
    second.close()
    assert port.address == link.settings.address


def test_no_port_at_the_address() -> None:
    settings = SerialSettings.model_validate({"address": "ASRL/dev/labctl-has-none::INSTR", "timeout": "1 s"})
    with pytest.raises(LinkRefusedError, match="cannot open /dev/labctl-has-none"):
        SerialLink(settings, "surface").open()


def test_unplugged_while_idle_and_plugged_in_again(start_port: StartPort) -> None:
    port, link = start_port()
    port.unplug(0.1)
    time.sleep(0.05)
    with pytest.raises(LinkLostError):
        link.exchange_until(b"a\n", b"\n")
    assert link.exchange_until(b"b\n", b"\n") == b"[b]"


@pytest.mark.parametrize("baud", [9600, 115200])
def test_bytes_take_at_least_the_time_of_the_baud_rate(start_port: StartPort, baud: int) -> None:
    _, link = start_port(
        lambda arrived: arrived if arrived.endswith(b"\n") else b"", baud=baud, ready=None, timeout="9 s"
    )
    request = b"x" * 199 + b"\n"
    begin_s = time.monotonic()
    assert link.exchange(request, n_bytes=200) == request
    assert time.monotonic() - begin_s >= 2 * 200 * 10 / baud


def test_a_port_is_there_again_after_its_bench_was_killed(tmp_path: Path) -> None:
    """What a dead bench leaves is a link to nothing; a port in use is a link to a terminal."""
    path = tmp_path / "bench" / "tty"
    path.parent.mkdir()
    path.symlink_to(tmp_path / "gone")
    with PtyPort(LineDevice(), baud=None, path=path) as port:
        assert port.address == f"ASRL{path}::INSTR"
        with pytest.raises(FileExistsError, match="is taken"):
            PtyPort(LineDevice(), baud=None, path=path).start()
