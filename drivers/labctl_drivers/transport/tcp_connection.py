"""One TCP connection to an instrument: connected, used and ended within deadlines, every failure a `LinkError`."""

import socket
import time
from contextlib import suppress
from dataclasses import dataclass

from labctl_drivers.transport.journal import Journal
from labctl_drivers.transport.link import LinkLostError, LinkRefusedError, LinkTimeoutError

_READ_AHEAD = 1 << 16


@dataclass(frozen=True)
class Words:
    """What a link calls the other end, what it sends and what comes back."""

    peer: str
    request: str
    reply: str


class TcpConnection:
    """A connection that can be made again and again, one at a time; its errors and its log are the link's `journal`."""

    def __init__(self, journal: Journal, words: Words) -> None:
        self._journal = journal
        self._words = words
        self._socket: socket.socket | None = None
        self._scratch = bytearray(_READ_AHEAD)

    def connect(self, host: str, port: int, timeout_s: float) -> None:
        """Connect afresh. Raises `LinkRefusedError`, and nothing is connected then."""
        self.hang_up()
        try:
            connection = socket.create_connection((host, port), timeout_s)
        except OSError as error:
            cause = f"nothing accepts a connection at {host}:{port} ({error})"
            raise self._journal.fault(LinkRefusedError, cause) from error
        # What is sent must not wait, 40 ms, for the acknowledgement of what was sent before it.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = connection

    def hang_up(self) -> None:
        """Close what is connected, if anything. Never raises."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def cut(self) -> None:
        """End the connection under another thread that waits on it. Never raises."""
        connection = self._socket
        if connection is not None:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def unread(self) -> bytes:
        """Return at once what has arrived unasked, or its beginning. Raises `LinkLostError` where the peer has gone."""
        connection = self._connected()
        connection.settimeout(0.0)
        try:
            got = connection.recv_into(self._scratch)
        except (BlockingIOError, InterruptedError):
            return b""
        except OSError as error:
            raise self._lost(error) from error
        if got == 0:
            raise self._journal.fault(LinkLostError, f"{self._words.peer} has closed the connection")
        return bytes(memoryview(self._scratch)[:got])

    def send(self, data: bytes, deadline_s: float) -> None:
        """Send all of `data` before the deadline on the monotonic clock. Raises `LinkError`."""
        try:
            self._until(deadline_s).sendall(data)
        except TimeoutError as error:
            cause = f"{self._words.peer} does not take the {self._words.request}"
            raise self._journal.fault(LinkTimeoutError, cause) from error
        except OSError as error:
            raise self._lost(error) from error

    def receive(self, deadline_s: float, so_far: bytearray) -> memoryview:
        """Return at least one byte; it is gone when the next is waited for. Raises as `receive_into` does."""
        got = self.receive_into(memoryview(self._scratch), deadline_s, so_far)
        return memoryview(self._scratch)[:got]

    def receive_into(self, view: memoryview, deadline_s: float, so_far: bytearray | memoryview) -> int:
        """Wait for at least one byte and return how many came. Raises `LinkError`.

        A fault's message counts, and the log keeps, what came `so_far` of the same reply.
        """
        try:
            got = self._until(deadline_s).recv_into(view)
        except TimeoutError as error:
            self._journal.note("discarded", so_far)
            cause = f"no more than {len(so_far)} bytes of the {self._words.reply} in time"
            raise self._journal.fault(LinkTimeoutError, cause) from error
        except OSError as error:
            self._journal.note("discarded", so_far)
            raise self._lost(error) from error
        if got == 0:
            self._journal.note("discarded", so_far)
            cause = f"{self._words.peer} closed the connection after {len(so_far)} bytes of the {self._words.reply}"
            raise self._journal.fault(LinkLostError, cause)
        return got

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
            raise self._journal.fault(LinkLostError, "not connected")
        return self._socket

    def _lost(self, error: OSError) -> LinkLostError:
        return self._journal.fault(LinkLostError, f"the connection broke: {error.strerror or error}")
