"""What a link tells of itself: errors that name instrument and command, counts of faults, and the log of its bytes."""

from typing import TypeVar

from labctl_drivers.transport.byte_log import ByteLog, EntryKind
from labctl_drivers.transport.link import LinkError
from labctl_drivers.transport.policy import LinkCounts

LinkErrorT = TypeVar("LinkErrorT", bound=LinkError)

_SHOWN = 40


class Journal:
    """The journal of instrument `name`'s link. `command` is what the link is doing, as errors name it.

    `counts` says what has gone wrong so far.
    """

    def __init__(self, name: str, log: ByteLog | None) -> None:
        self.name = name
        self.counts = LinkCounts()
        self.command: str | None = None
        self._log = log

    def fault(self, kind: type[LinkErrorT], cause: str) -> LinkErrorT:
        """Return an error about the present command."""
        return kind(self.name, cause, command=self.command)

    def note(self, kind: EntryKind, data: bytes | bytearray | memoryview) -> None:
        """Write to the log, where there is one."""
        if self._log is not None and len(data) > 0:
            self._log.add(kind, data)

    def note_failure(self, error: BaseException) -> None:
        """Write an error's class and cause to the log."""
        cause = error.cause if isinstance(error, LinkError) else str(error)
        self.note("failed", f"{type(error).__name__}: {cause}".encode())

    def count(self, error: LinkError) -> None:
        """Count a fault and write it to the log."""
        self.counts.faults[type(error).__name__] += 1
        self.note_failure(error)


def shown(request: bytes) -> str:
    """Return a request as an error message names it."""
    return repr(request if len(request) <= _SHOWN else request[:_SHOWN] + b"...")
