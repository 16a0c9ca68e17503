"""Links without a transport, and layers that hand over their rows at once, for the tests of drivers."""

import math
from collections.abc import Callable, Iterator
from typing import Literal

import pytest
from labctl_drivers.transport.link import Link, LinkGarbledError, LinkLostError, LinkTimeoutError

from labctl.contract import chunks

Execute = Callable[[bytes], bytes | None]


class MemoryLink:
    """A `Link` to something that executes messages in this process. `sent` is everything that was sent to it."""

    def __init__(self, execute: Execute, name: str = "vna") -> None:
        self.name = name
        self.address = "TCPIP::127.0.0.1::5025::SOCKET"
        self.sent: list[str] = []
        self.is_open = False
        self._execute = execute

    def open(self) -> None:
        self.is_open = True

    def close(self) -> None:
        self.is_open = False

    def write(self, command: str) -> None:
        self._exchange(command)

    def write_now(self, command: str) -> None:
        self._exchange(command)

    def query(self, command: str, *, timeout_s: float | None = None) -> str:
        reply = self._reply(command)
        if reply.startswith(b"#"):
            raise LinkGarbledError(self.name, "a block where text was expected", command=command)
        return reply.decode("ascii").rstrip("\r\n")

    def query_block(
        self,
        command: str,
        *,
        n_bytes: int,
        terminator: Literal["required", "none", "maybe"] = "required",
        timeout_s: float | None = None,
    ) -> memoryview:
        reply = self._reply(command)
        digits = int(reply[1:2]) if reply[:1] == b"#" and reply[1:2].isdigit() else 0
        length = int(reply[2 : 2 + digits] or b"0")
        payload, end = reply[2 + digits : 2 + digits + length], reply[2 + digits + length :]
        ends = {"required": (b"\n",), "none": (b"",), "maybe": (b"", b"\n")}
        if not digits or len(payload) != n_bytes or end not in ends[terminator]:
            raise LinkGarbledError(self.name, f"expected a block of {n_bytes} bytes", command=command)
        return memoryview(payload)

    def _reply(self, command: str) -> bytes:
        reply = self._exchange(command)
        if reply is None:
            raise LinkTimeoutError(self.name, "no answer", command=command)
        return reply

    def _exchange(self, command: str) -> bytes | None:
        if not self.is_open:
            raise LinkLostError(self.name, "the link is closed", command=command)
        self.sent.append(command)
        return self._execute(command.encode("ascii") + b"\n")


class ScriptedLink(MemoryLink):
    """A `Link` that expects exactly the commands of its script, in order, and answers as it says."""

    def __init__(self) -> None:
        super().__init__(self._next)
        self.script: list[tuple[str, str | bytes | None]] = []

    def expect(self, *lines: tuple[str, str | bytes | None] | str) -> None:
        """Add what is sent next: a command, or a query with its reply (bytes are a block's payload)."""
        self.script += [(line, None) if isinstance(line, str) else line for line in lines]

    def _next(self, message: bytes) -> bytes | None:
        assert self.script, f"nothing more was expected, got {message!r}"
        command, reply = self.script.pop(0)
        assert message.decode("ascii").rstrip("\n") == command
        if isinstance(reply, bytes):
            length = str(len(reply)).encode("ascii")
            return b"#" + str(len(length)).encode("ascii") + length + reply + b"\n"
        return None if reply is None else reply.encode("ascii") + b"\n"


class MemoryByteLink:
    """A `ByteLink` to something that answers bytes in this process. `sent` is everything that was sent to it."""

    def __init__(self, execute: Execute, name: str = "vna") -> None:
        self.name = name
        self.sent: list[bytes] = []
        self.is_open = False
        self._execute = execute

    def open(self) -> None:
        self.is_open = True

    def close(self) -> None:
        self.is_open = False

    def exchange(self, request: bytes, *, n_bytes: int, timeout_s: float | None = None) -> bytes:
        reply = self._exchange(request)
        if len(reply) != n_bytes:
            raise LinkTimeoutError(self.name, f"{len(reply)} of {n_bytes} bytes came", command=repr(request))
        return reply

    def exchange_until(self, request: bytes, terminator: bytes, *, timeout_s: float | None = None) -> bytes:
        reply = self._exchange(request)
        if not reply.endswith(terminator):
            raise LinkTimeoutError(self.name, f"no {terminator!r} came", command=repr(request))
        return reply.removesuffix(terminator)

    def _exchange(self, request: bytes) -> bytes:
        if not self.is_open:
            raise LinkLostError(self.name, "the link is closed", command=repr(request))
        self.sent.append(request)
        return self._execute(request) or b""


@pytest.fixture
def memory_link() -> Callable[[Execute], Link]:
    """Return what makes a link to a virtual instrument in this process."""
    return MemoryLink


@pytest.fixture
def memory_byte_link() -> Callable[[Execute], MemoryByteLink]:
    """Return what makes a byte link to a virtual instrument in this process."""
    return MemoryByteLink


@pytest.fixture
def scripted_link() -> Iterator[ScriptedLink]:
    """Return a link with an empty script; whatever is left of it in the end was never sent."""
    link = ScriptedLink()
    yield link
    assert not link.script, f"never sent: {link.script}"


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers hand over rows when there are enough of them, however long they take."""
    monkeypatch.setattr(chunks, "CHUNK_S", math.inf)
