"""What every message link shares: one lock around an exchange, deadlines, and what happens after a fault.

A fault leaves a link *out of step*: what arrives next may belong to a command that was given up. Before anything else
is sent, such a link connects afresh, so that nothing of the old conversation can arrive, and makes sure that the
instrument that answers is the one it was opened on.
"""

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Generator
from contextlib import contextmanager

from labctl.contract.errors import InputError
from labctl_drivers.transport.address_lock import AddressLock
from labctl_drivers.transport.block import Terminator
from labctl_drivers.transport.byte_log import ByteLog
from labctl_drivers.transport.journal import Journal
from labctl_drivers.transport.link import LinkError, LinkGarbledError, LinkRefusedError, LinkTimeoutError
from labctl_drivers.transport.policy import LinkCounts, attempted
from labctl_drivers.transport.settings import LinkSettings

_TEXT = bytes(range(0x20, 0x7F)) + b"\t\r\n"
_PATIENCE_S = 0.1
_NUMBER_PREFIXES = (b"#H", b"#Q", b"#B")


class MessageLink(ABC):
    """A `Link` over a transport that a subclass knows how to connect, send on and receive from."""

    def __init__(self, settings: LinkSettings, name: str, log: ByteLog | None = None) -> None:
        self.settings = settings
        self._journal = Journal(name, log)
        self._address = AddressLock(settings.address)
        self._lock = threading.Lock()
        self._is_open = False
        self._in_step = False
        self._unidentified = False
        self._identity: str | None = None

    @property
    def name(self) -> str:
        """Return the instrument's name in the rig file."""
        return self._journal.name

    @property
    def counts(self) -> LinkCounts:
        """Return what has gone wrong so far."""
        return self._journal.counts

    @property
    def address(self) -> str:
        """Return the instrument's address as the rig file spells it."""
        return self.settings.address

    @property
    def identity(self) -> str:
        """Return what the instrument answered to `identify` when the link was opened; empty where it has none."""
        return self._identity or ""

    def open(self) -> None:
        """Connect and identify. Raises `LinkError`; a failed `open` leaves nothing connected. Idempotent."""
        with self._lock:
            if self._is_open:
                return
            self._journal.command = "open"
            self._address.acquire(self._journal)
            try:
                self._identity = None
                self._connect()
                self._identify()
            except BaseException as error:
                self._hang_up(settle=False)
                self._address.release()
                self._journal.note_failure(error)
                raise
            self._is_open = self._in_step = True

    def write(self, command: str) -> None:
        """Send a command that has no reply. Raises `LinkError`."""
        with self._exchange(command, None) as deadline_s:
            self._send_command(command, deadline_s)

    def query(self, command: str, *, timeout_s: float | None = None) -> str:
        """Return the reply to a command, without its terminator; `timeout_s` replaces the link's own. `LinkError`."""
        with self._exchange(command, timeout_s) as deadline_s:
            return self._ask(command, deadline_s)

    def query_block(
        self,
        command: str,
        *,
        n_bytes: int,
        terminator: Terminator = "required",
        timeout_s: float | None = None,
    ) -> memoryview:
        """Return the payload of the block that answers a command, exactly `n_bytes` long. Raises `LinkError`."""
        with self._exchange(command, timeout_s) as deadline_s:
            self._send_command(command, deadline_s)
            return self._receive_block(n_bytes, terminator, deadline_s)

    def write_now(self, command: str) -> None:
        """Send a command that makes safe, without waiting for anybody. Raises `LinkError`.

        An exchange under way on another thread is cut off where the transport allows (TCP): it raises `LinkLostError`.
        A link that is out of step connects afresh, once; who is there is asked before the next exchange.
        """
        _check(command, self.name)
        if not self._lock.acquire(timeout=_PATIENCE_S):
            self._cut()
            if not self._lock.acquire(timeout=self.settings.open_timeout_s):
                raise LinkTimeoutError(self.name, "the link is busy", command=command)
        try:
            self._journal.command = command
            if not self._is_open:
                raise self._journal.fault(LinkRefusedError, "the link is not open")
            if not self._in_step:
                self._hang_up(settle=False)
                self._connect()
                self._unidentified = True
            self._in_step = False
            self._send_command(command, time.monotonic() + self.settings.open_timeout_s)
            self._in_step = True
        finally:
            self._lock.release()

    def close(self) -> None:
        """Release the connection and the address. Idempotent; never raises."""
        with self._lock:
            if self._is_open:
                self._is_open = False
                self._hang_up(settle=False)
                self._address.release()

    @abstractmethod
    def _connect(self) -> None:
        """Connect within `open_timeout`. Raises `LinkError`."""

    @abstractmethod
    def _hang_up(self, *, settle: bool) -> None:
        """Close what is connected, if anything; `settle` first tells the instrument to give up what it is doing.

        Never raises.
        """

    @abstractmethod
    def _cut(self) -> None:
        """End the connection under an exchange on another thread, where that can be done. Never raises."""

    @abstractmethod
    def _send(self, message: bytes, deadline_s: float) -> None:
        """Send `message` where nothing unread is waiting. Raises `LinkError`."""

    @abstractmethod
    def _receive_line(self, deadline_s: float) -> bytes:
        """Return the one line that arrives, without its end. Raises `LinkError`."""

    @abstractmethod
    def _receive_block(self, n_bytes: int, terminator: Terminator, deadline_s: float) -> memoryview:
        """Return the payload of the one block that arrives. Raises `LinkError`."""

    @contextmanager
    def _exchange(self, command: str, timeout_s: float | None) -> Generator[float]:
        """Hold the link for one exchange and yield its deadline; what goes wrong leaves the link out of step."""
        _check(command, self.name)
        with self._lock:
            self._journal.command = command
            if not self._is_open:
                raise self._journal.fault(LinkRefusedError, "the link is not open")
            try:
                if not self._in_step:
                    self._recover()
                # Whatever ends the exchange early, an interrupt included, leaves this behind.
                self._in_step = False
                if self._unidentified:
                    self._identify()
                yield time.monotonic() + (self.settings.timeout_s if timeout_s is None else timeout_s)
                self._in_step = True
            except LinkError as error:
                self._journal.count(error)
                raise

    def _send_command(self, command: str, deadline_s: float) -> None:
        message = command.encode("ascii") + b"\n"
        self._send(message, deadline_s)
        self._journal.note("sent", message)

    def _ask(self, command: str, deadline_s: float) -> str:
        self._send_command(command, deadline_s)
        return self._as_text(self._receive_line(deadline_s))

    def _as_text(self, line: bytes) -> str:
        self._expect_text(line)
        if line.startswith(b"#") and line[:2].upper() not in _NUMBER_PREFIXES:
            self._journal.note("discarded", line)
            raise self._journal.fault(LinkGarbledError, f"a block where text was expected: {line[:40]!r}")
        self._journal.note("received", line + b"\n")
        return line.decode("ascii")

    def _expect_text(self, data: bytes | bytearray) -> None:
        """Raise `LinkGarbledError` for anything but printable ASCII."""
        if data.translate(None, _TEXT):
            self._journal.note("discarded", data)
            raise self._journal.fault(LinkGarbledError, f"expected text, got {bytes(data[:40])!r}")

    def _identify(self) -> None:
        """Ask who is there. Raises `LinkGarbledError` when it is not who was there when the link was opened."""
        identity = ""
        if self.settings.identify is not None:
            deadline_s = time.monotonic() + self.settings.timeout_s
            self._send(self.settings.identify.encode("ascii") + b"\n", deadline_s)
            line = self._receive_line(deadline_s)
            self._expect_text(line)
            identity = line.decode("ascii")
            self._journal.note("opened", line)
        if self._identity is None:
            self._identity = identity
        elif identity != self._identity:
            raise self._journal.fault(
                LinkGarbledError, f"another instrument answers: '{identity}' where '{self._identity}' was"
            )
        self._unidentified = False

    def _recover(self) -> None:
        """Connect afresh and identify, as often as the rig file allows. Raises the last attempt's `LinkError`."""
        attempted(self._reopen, self.settings.recovery, time.sleep)
        self.counts.recoveries += 1

    def _reopen(self) -> None:
        self._hang_up(settle=True)
        self._connect()
        self._identify()


def _check(command: str, name: str) -> None:
    if not command.isascii() or not command.isprintable():
        raise InputError(f"{name}: {command!r} cannot be sent: a command is one line of ASCII characters")
