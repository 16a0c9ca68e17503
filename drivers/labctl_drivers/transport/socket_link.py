"""Raw SCPI over TCP, on a plain socket: a stream without message boundaries, so that every byte is accounted for."""

from typing_extensions import override

from labctl_drivers.transport.block import ALLOWED_TAILS, MAX_HEADER, NEWLINES, Terminator, payload_start
from labctl_drivers.transport.byte_log import ByteLog
from labctl_drivers.transport.link import LinkGarbledError
from labctl_drivers.transport.message_link import MessageLink
from labctl_drivers.transport.settings import LinkSettings
from labctl_drivers.transport.tcp_connection import TcpConnection, Words


class SocketLink(MessageLink):
    """A link to `TCPIP::HOST::PORT::SOCKET`.

    A closed peer is seen at once. Bytes that nobody asked for are a `LinkGarbledError`, before a command is sent as
    well as behind an answer.
    """

    def __init__(self, settings: LinkSettings, name: str, log: ByteLog | None = None) -> None:
        super().__init__(settings, name, log)
        self._connection = TcpConnection(self._journal, Words("the instrument", "command", "answer"))
        self._newline_may_follow = False

    def _connect(self) -> None:
        self._connection.connect(*self.settings.host_and_port, self.settings.open_timeout_s)
        self._newline_may_follow = False

    @override  # closing is all a socket can say, whether it is to settle or not
    def _hang_up(self, *, settle: bool) -> None:
        self._connection.hang_up()

    def _cut(self) -> None:
        self._connection.cut()

    def _send(self, message: bytes, deadline_s: float) -> None:
        unread = self._connection.unread()
        if unread and not (self._newline_may_follow and unread in NEWLINES):
            self._journal.note("discarded", unread)
            raise self._journal.fault(LinkGarbledError, f"out of step: {unread[:40]!r} was waiting before the command")
        self._newline_may_follow = self._newline_may_follow and not unread
        self._connection.send(message, deadline_s)

    def _receive_line(self, deadline_s: float) -> bytes:
        line = bytearray()
        end = -1
        while end < 0:
            searched = len(line)
            line += self._connection.receive(deadline_s, line)
            del line[: self._late_newline(line)]
            self._expect_text(line[searched:])
            end = line.find(b"\n", searched)
        if end + 1 < len(line):
            self._journal.note("discarded", line)
            raise self._journal.fault(LinkGarbledError, f"{bytes(line[end + 1 :][:40])!r} follows the answer")
        return bytes(line[:end]).removesuffix(b"\r")

    def _receive_block(self, n_bytes: int, terminator: Terminator, deadline_s: float) -> memoryview:
        buffer = bytearray(MAX_HEADER + n_bytes + 2 * len(NEWLINES[-1]))
        view = memoryview(buffer)
        begin = got = 0
        end: int | None = None
        while end is None or got < end or _newline_to_come(bytes(view[end:got]), terminator):
            got += self._connection.receive_into(view[got:], deadline_s, view[:got])
            if end is None:
                begin += self._late_newline(buffer)
                end = self._block_end(view[begin:got], n_bytes, begin)
        tail = bytes(view[end:got])
        if tail not in ALLOWED_TAILS[terminator]:
            self._journal.note("discarded", view[:got])
            raise self._journal.fault(LinkGarbledError, f"the block is followed by {tail[:20]!r}")
        self._newline_may_follow = terminator == "maybe" and not tail
        self._journal.note("received", view[begin:got])
        return view[end - n_bytes : end].toreadonly()

    def _block_end(self, head: memoryview, n_bytes: int, begin: int) -> int | None:
        """Return where the payload ends in what has arrived, `head` from `begin` on; None until the header is there."""
        try:
            start = payload_start(head, n_bytes)
        except ValueError as error:
            self._journal.note("discarded", head)
            raise self._journal.fault(LinkGarbledError, str(error)) from error
        return None if start is None else begin + start + n_bytes

    def _late_newline(self, arrived: bytearray) -> int:
        """Return how many bytes of `arrived` are the newline that was still to come after the last block."""
        if not self._newline_may_follow:
            return 0
        self._newline_may_follow = False
        return next((len(newline) for newline in NEWLINES if arrived.startswith(newline)), 0)


def _newline_to_come(tail: bytes, terminator: Terminator) -> bool:
    """Return whether what follows the payload so far is the beginning of what has to follow it."""
    return (tail == b"" and terminator == "required") or (tail == b"\r" and terminator != "none")
