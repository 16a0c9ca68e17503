"""Bytes over TCP, for instruments with a protocol of their own that is neither SCPI nor serial."""

import threading
import time
from collections.abc import Generator
from contextlib import contextmanager

from labctl_drivers.transport.address_lock import AddressLock
from labctl_drivers.transport.byte_log import ByteLog
from labctl_drivers.transport.journal import Journal, shown
from labctl_drivers.transport.link import LinkError, LinkGarbledError, LinkRefusedError
from labctl_drivers.transport.policy import LinkCounts, attempted
from labctl_drivers.transport.settings import StreamSettings
from labctl_drivers.transport.tcp_connection import TcpConnection, Words


class StreamLink:
    """A `ByteLink` to `TCPIP::HOST::PORT::SOCKET`. Thread-safe; constructed without touching hardware.

    After a fault the next request is preceded by connecting anew, so that nothing of the old conversation can arrive.
    """

    def __init__(self, settings: StreamSettings, name: str, log: ByteLog | None = None) -> None:
        self.settings = settings
        self._journal = Journal(name, log)
        self._connection = TcpConnection(self._journal, Words("the peer", "request", "reply"))
        self._address = AddressLock(settings.address)
        self._lock = threading.Lock()
        self._is_open = False
        self._in_step = False

    @property
    def name(self) -> str:
        """Return the instrument's name in the rig file."""
        return self._journal.name

    @property
    def counts(self) -> LinkCounts:
        """Return what has gone wrong so far."""
        return self._journal.counts

    def open(self) -> None:
        """Connect. Raises `LinkError`; a failed `open` leaves nothing connected. Idempotent."""
        with self._lock:
            if self._is_open:
                return
            self._journal.command = "open"
            self._address.acquire(self._journal)
            try:
                self._connect()
            except BaseException:
                self._address.release()
                raise
            self._is_open = self._in_step = True

    def exchange(self, request: bytes, *, n_bytes: int, timeout_s: float | None = None) -> bytes:
        """Return the reply, exactly `n_bytes` long. Raises `LinkError`."""
        with self._exchange(request, timeout_s) as deadline_s:
            reply = bytearray(n_bytes)
            view = memoryview(reply)
            got = 0
            while got < n_bytes:
                got += self._connection.receive_into(view[got:], deadline_s, view[:got])
            self._journal.note("received", reply)
            return bytes(reply)

    def exchange_until(self, request: bytes, terminator: bytes, *, timeout_s: float | None = None) -> bytes:
        """Return the reply up to `terminator`, which ends it and is left out. Raises `LinkError`."""
        with self._exchange(request, timeout_s) as deadline_s:
            reply = bytearray()
            while terminator not in reply:
                reply += self._connection.receive(deadline_s, reply)
            if not reply.endswith(terminator) or reply.count(terminator) > 1:
                self._journal.note("discarded", reply)
                raise self._journal.fault(LinkGarbledError, "more than one reply came")
            self._journal.note("received", reply)
            return bytes(reply.removesuffix(terminator))

    def close(self) -> None:
        """Release the connection. Idempotent; never raises."""
        with self._lock:
            self._is_open = False
            self._connection.hang_up()
            self._address.release()

    @contextmanager
    def _exchange(self, request: bytes, timeout_s: float | None) -> Generator[float]:
        """Hold the connection for one exchange, send and yield its deadline; a fault leaves the link out of step."""
        with self._lock:
            self._journal.command = shown(request)
            if not self._is_open:
                raise self._journal.fault(LinkRefusedError, "the link is not open")
            try:
                if not self._in_step:
                    attempted(self._connect, self.settings.recovery, time.sleep)
                    self.counts.recoveries += 1
                # Whatever ends the exchange early, an interrupt included, leaves this behind.
                self._in_step = False
                deadline_s = time.monotonic() + (self.settings.timeout_s if timeout_s is None else timeout_s)
                self._send(request, deadline_s)
                yield deadline_s
                self._in_step = True
            except LinkError as error:
                self._journal.count(error)
                raise

    def _connect(self) -> None:
        host, port = self.settings.host_and_port
        self._connection.connect(host, port, self.settings.open_timeout_s)
        self._journal.note("opened", f"{host}:{port}".encode())

    def _send(self, request: bytes, deadline_s: float) -> None:
        if unread := self._connection.unread():
            self._journal.note("discarded", unread)
            raise self._journal.fault(LinkGarbledError, f"out of step: {unread[:40]!r} was waiting before the request")
        self._connection.send(request, deadline_s)
        self._journal.note("sent", request)
