"""Bytes over TCP, for instruments with a protocol of their own that is neither SCPI nor serial."""

import socket
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import TypeVar

from labctl_drivers.transport.address_lock import AddressLock
from labctl_drivers.transport.byte_log import ByteLog, EntryKind
from labctl_drivers.transport.link import (
    LinkError,
    LinkGarbledError,
    LinkLostError,
    LinkRefusedError,
    LinkTimeoutError,
)
from labctl_drivers.transport.policy import LinkCounts, attempted
from labctl_drivers.transport.settings import StreamSettings

LinkErrorT = TypeVar("LinkErrorT", bound=LinkError)

_READ_AHEAD = 1 << 16


class StreamLink:
    """A `ByteLink` to `TCPIP::HOST::PORT::SOCKET`. Thread-safe; constructed without touching hardware.

    After a fault the next request is preceded by connecting anew, so that nothing of the old conversation can arrive.
    """

    def __init__(self, settings: StreamSettings, name: str, log: ByteLog | None = None) -> None:
        self.settings = settings
        self.counts = LinkCounts()
        self._name = name
        self._log = log
        self._address = AddressLock(settings.address)
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._is_open = False
        self._in_step = False
        self._request: str | None = None

    @property
    def name(self) -> str:
        """Return the instrument's name in the rig file."""
        return self._name

    def open(self) -> None:
        """Connect. Raises `LinkError`; a failed `open` leaves nothing connected. Idempotent."""
        with self._lock:
            if self._is_open:
                return
            self._request = "open"
            owner = self._address.acquire(self._name)
            if owner is not None:
                raise self._fault(LinkRefusedError, f"{owner} uses {self.settings.address}")
            try:
                self._connect()
            except BaseException:
                self._address.release()
                raise
            self._is_open = self._in_step = True

    def exchange(self, request: bytes, *, n_bytes: int, timeout_s: float | None = None) -> bytes:
        """Return the reply, exactly `n_bytes` long. Raises `LinkError`."""
        with self._exchange(request, timeout_s) as deadline_s:
            reply = bytearray()
            while len(reply) < n_bytes:
                reply += self._receive(n_bytes - len(reply), deadline_s, reply)
            self._note("received", reply)
            return bytes(reply)

    def exchange_until(self, request: bytes, terminator: bytes, *, timeout_s: float | None = None) -> bytes:
        """Return the reply up to `terminator`, which ends it and is left out. Raises `LinkError`."""
        with self._exchange(request, timeout_s) as deadline_s:
            reply = bytearray()
            while terminator not in reply:
                reply += self._receive(_READ_AHEAD, deadline_s, reply)
            if not reply.endswith(terminator) or reply.count(terminator) > 1:
                self._note("discarded", reply)
                raise self._fault(LinkGarbledError, "more than one reply came")
            self._note("received", reply)
            return bytes(reply.removesuffix(terminator))

    def close(self) -> None:
        """Release the connection. Idempotent; never raises."""
        with self._lock:
            self._is_open = False
            self._hang_up()
            self._address.release()

    @contextmanager
    def _exchange(self, request: bytes, timeout_s: float | None) -> Generator[float]:
        """Hold the connection for one exchange, send and yield its deadline; a fault leaves the link out of step."""
        with self._lock:
            self._request = repr(request if len(request) <= 40 else request[:40] + b"...")
            if not self._is_open:
                raise self._fault(LinkRefusedError, "the link is not open")
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
                self.counts.faults[type(error).__name__] += 1
                self._note("failed", f"{type(error).__name__}: {error.cause}".encode())
                raise

    def _connect(self) -> None:
        self._hang_up()
        host, port = self.settings.host_and_port
        try:
            self._socket = socket.create_connection((host, port), self.settings.open_timeout_s)
        except OSError as error:
            cause = f"nothing accepts a connection at {host}:{port} ({error})"
            raise self._fault(LinkRefusedError, cause) from error
        # A frame must not wait for the acknowledgement of the one before it.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._note("opened", f"{host}:{port}".encode())

    def _hang_up(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, request: bytes, deadline_s: float) -> None:
        connection = self._connected()
        connection.settimeout(0.0)
        try:
            if unread := connection.recv(_READ_AHEAD):
                self._note("discarded", unread)
                raise self._fault(LinkGarbledError, f"out of step: {unread[:40]!r} was waiting before the request")
            raise self._fault(LinkLostError, "the peer has closed the connection")
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            raise self._lost(error) from error
        try:
            self._until(deadline_s).sendall(request)
        except TimeoutError as error:
            raise self._fault(LinkTimeoutError, "the peer does not take the request") from error
        except OSError as error:
            raise self._lost(error) from error
        self._note("sent", request)

    def _receive(self, n_bytes: int, deadline_s: float, so_far: bytearray) -> bytes:
        """Wait for at least one byte, for `n_bytes` at most."""
        try:
            part = self._until(deadline_s).recv(n_bytes)
        except TimeoutError as error:
            self._note("discarded", so_far)
            raise self._fault(LinkTimeoutError, f"no more than {len(so_far)} bytes of the reply in time") from error
        except OSError as error:
            raise self._lost(error) from error
        if not part:
            raise self._fault(LinkLostError, f"the peer closed the connection after {len(so_far)} bytes of the reply")
        return part

    def _until(self, deadline_s: float) -> socket.socket:
        """Return the socket, which now waits no longer than the deadline. Raises `TimeoutError`."""
        remaining_s = deadline_s - time.monotonic()
        if remaining_s <= 0:
            raise TimeoutError
        connection = self._connected()
        connection.settimeout(remaining_s)
        return connection

    def _connected(self) -> socket.socket:
        if self._socket is None:
            raise self._fault(LinkLostError, "not connected")
        return self._socket

    def _lost(self, error: OSError) -> LinkLostError:
        return self._fault(LinkLostError, f"the connection broke: {error.strerror or error}")

    def _fault(self, kind: type[LinkErrorT], cause: str) -> LinkErrorT:
        return kind(self._name, cause, command=self._request)

    def _note(self, kind: EntryKind, data: bytes | bytearray) -> None:
        if self._log is not None and len(data) > 0:
            self._log.add(kind, data)
