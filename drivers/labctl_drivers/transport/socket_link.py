"""Raw SCPI over TCP, on a plain socket: a stream without message boundaries, so that every byte is accounted for."""

import socket
import time
from contextlib import suppress

from typing_extensions import override

from labctl_drivers.transport.block import ALLOWED_TAILS, MAX_HEADER, NEWLINES, Terminator, payload_start
from labctl_drivers.transport.byte_log import ByteLog
from labctl_drivers.transport.link import LinkGarbledError, LinkLostError, LinkRefusedError, LinkTimeoutError
from labctl_drivers.transport.message_link import MessageLink
from labctl_drivers.transport.settings import LinkSettings


class SocketLink(MessageLink):
    """A link to `TCPIP::HOST::PORT::SOCKET`.

    A closed peer is seen at once. Bytes that nobody asked for are a `LinkGarbledError`, before a command is sent as
    well as behind an answer.
    """

    def __init__(self, settings: LinkSettings, name: str, log: ByteLog | None = None) -> None:
        super().__init__(settings, name, log)
        self._socket: socket.socket | None = None
        self._newline_may_follow = False
        self._scratch = bytearray(1 << 16)

    def _connect(self) -> None:
        address = self.settings.host_and_port
        try:
            connection = socket.create_connection(address, self.settings.open_timeout_s)
        except OSError as error:
            where = f"{address[0]}:{address[1]}"
            raise self._fault(LinkRefusedError, f"nothing accepts a connection at {where} ({error})") from error
        # Two commands in a row would otherwise wait 40 ms for the first one's acknowledgement.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = connection
        self._newline_may_follow = False

    @override  # closing is all a socket can say, whether it is to settle or not
    def _hang_up(self, *, settle: bool) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _cut(self) -> None:
        connection = self._socket
        if connection is not None:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _send(self, message: bytes, deadline_s: float) -> None:
        unread = self._waiting()
        if unread and not (self._newline_may_follow and unread in NEWLINES):
            self._note("discarded", unread)
            raise self._fault(LinkGarbledError, f"out of step: {unread[:40]!r} was waiting before the command")
        self._newline_may_follow = self._newline_may_follow and not unread
        try:
            self._until(deadline_s).sendall(message)
        except TimeoutError as error:
            raise self._fault(LinkTimeoutError, "the instrument does not take the command") from error
        except OSError as error:
            raise self._lost(error) from error

    def _receive_line(self, deadline_s: float) -> bytes:
        line = bytearray()
        end = -1
        while end < 0:
            searched = len(line)
            got = self._receive_into(memoryview(self._scratch), deadline_s, line)
            line += memoryview(self._scratch)[:got]
            del line[: self._late_newline(line)]
            self._expect_text(line[searched:])
            end = line.find(b"\n", searched)
        if end + 1 < len(line):
            self._note("discarded", line)
            raise self._fault(LinkGarbledError, f"{bytes(line[end + 1 :][:40])!r} follows the answer")
        return bytes(line[:end]).removesuffix(b"\r")

    def _receive_block(self, n_bytes: int, terminator: Terminator, deadline_s: float) -> memoryview:
        buffer = bytearray(MAX_HEADER + n_bytes + 2 * len(NEWLINES[-1]))
        view = memoryview(buffer)
        begin = got = 0
        end: int | None = None
        while end is None or got < end or _newline_to_come(bytes(view[end:got]), terminator):
            got += self._receive_into(view[got:], deadline_s, view[:got])
            if end is None:
                begin += self._late_newline(buffer)
                end = self._block_end(view[begin:got], n_bytes, begin)
        tail = bytes(view[end:got])
        if tail not in ALLOWED_TAILS[terminator]:
            self._note("discarded", view[:got])
            raise self._fault(LinkGarbledError, f"the block is followed by {tail[:20]!r}")
        self._newline_may_follow = terminator == "maybe" and not tail
        self._note("received", view[begin:got])
        return view[end - n_bytes : end].toreadonly()

    def _block_end(self, head: memoryview, n_bytes: int, begin: int) -> int | None:
        """Return where the payload ends in what has arrived, `head` from `begin` on; None until the header is there."""
        try:
            start = payload_start(head, n_bytes)
        except ValueError as error:
            self._note("discarded", head)
            raise self._fault(LinkGarbledError, str(error)) from error
        return None if start is None else begin + start + n_bytes

    def _late_newline(self, arrived: bytearray) -> int:
        """Return how many bytes of `arrived` are the newline that was still to come after the last block."""
        if not self._newline_may_follow:
            return 0
        self._newline_may_follow = False
        return next((len(newline) for newline in NEWLINES if arrived.startswith(newline)), 0)

    def _waiting(self) -> bytes:
        """Return what has arrived unasked (or its beginning). Raises `LinkLostError` where the peer has gone."""
        connection = self._connected()
        connection.settimeout(0.0)
        try:
            got = connection.recv_into(self._scratch)
        except (BlockingIOError, InterruptedError):
            return b""
        except OSError as error:
            raise self._lost(error) from error
        if got == 0:
            raise self._fault(LinkLostError, "the instrument has closed the connection")
        return bytes(memoryview(self._scratch)[:got])

    def _receive_into(self, view: memoryview, deadline_s: float, so_far: bytearray | memoryview) -> int:
        """Wait for at least one byte; a fault's message counts, and the log keeps, what came `so_far`."""
        try:
            got = self._until(deadline_s).recv_into(view)
        except TimeoutError as error:
            self._note("discarded", so_far)
            raise self._fault(LinkTimeoutError, f"no more than {len(so_far)} bytes of the answer in time") from error
        except OSError as error:
            self._note("discarded", so_far)
            raise self._lost(error) from error
        if got == 0:
            self._note("discarded", so_far)
            raise self._fault(LinkLostError, f"the instrument closed the connection after {len(so_far)} bytes")
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
            raise self._fault(LinkLostError, "not connected")
        return self._socket

    def _lost(self, error: OSError) -> LinkLostError:
        return self._fault(LinkLostError, f"the connection broke: {error.strerror or error}")


def _newline_to_come(tail: bytes, terminator: Terminator) -> bool:
    """Return whether what follows the payload so far is the beginning of what has to follow it."""
    return (tail == b"" and terminator == "required") or (tail == b"\r" and terminator != "none")
