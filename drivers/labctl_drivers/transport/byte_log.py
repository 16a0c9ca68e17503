"""What went over the wire, kept within bounds for a post-mortem, and a link that answers from such a log."""

import json
import logging
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from typing_extensions import override

from labctl_drivers.transport.block import Terminator, block_payload
from labctl_drivers.transport.link import (
    Link,
    LinkError,
    LinkGarbledError,
    LinkLostError,
    LinkRefusedError,
    LinkTimeoutError,
)

EntryKind = Literal["opened", "sent", "received", "discarded", "failed"]

_FAULTS = {kind.__name__: kind for kind in (LinkRefusedError, LinkTimeoutError, LinkLostError, LinkGarbledError)}


@dataclass(frozen=True, slots=True)
class Entry:
    """One event on a link.

    `sent` and `received` hold one message each, complete with header and terminator; `discarded` what was thrown away
    when the link resynchronised; `opened` the identity that answered; `failed` the error's class and cause.
    """

    time_s: float
    kind: EntryKind
    data: bytes


class ByteLog:
    """Keeps the newest entries of at most `max_bytes` of data. Thread-safe.

    With a `file`, entries are also appended to it as JSON lines, bytes as the characters U+0000 to U+00FF. A file
    beyond `max_bytes` is renamed to `NAME.1`, replacing what had that name.
    """

    def __init__(self, max_bytes: int, file: Path | None = None) -> None:
        self._max_bytes = max_bytes
        self._file = file
        self._entries: deque[Entry] = deque()
        self._n_bytes = 0
        self._lock = threading.Lock()

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Return what is kept, oldest first."""
        with self._lock:
            return tuple(self._entries)

    def add(self, kind: EntryKind, data: bytes | bytearray | memoryview) -> None:
        """Append an entry. A file that cannot be written is given up with a warning; the instrument is well."""
        entry = Entry(time.time(), kind, bytes(data))
        with self._lock:
            self._entries.append(entry)
            self._n_bytes += len(entry.data)
            while self._n_bytes > self._max_bytes and len(self._entries) > 1:
                self._n_bytes -= len(self._entries.popleft().data)
            if self._file is not None:
                try:
                    self._append(self._file, entry)
                except OSError as error:
                    logging.getLogger(__name__).warning("the byte log %s ends here: %s", self._file, error)
                    self._file = None

    def _append(self, file: Path, entry: Entry) -> None:
        if file.exists() and file.stat().st_size > self._max_bytes:
            file.replace(file.with_name(file.name + ".1"))
        line = {"time_s": entry.time_s, "kind": entry.kind, "data": entry.data.decode("latin-1")}
        with file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line, ensure_ascii=False) + "\n")


def read_byte_log(file: Path) -> Iterator[Entry]:
    """Yield the entries of a log's file. Raises `OSError`, and `ValueError` for a line that is no entry."""
    with file.open(encoding="utf-8", newline="\n") as stream:
        for line in stream:
            entry = cast("dict[str, str]", json.loads(line))
            kind = cast("EntryKind", entry["kind"])
            yield Entry(float(entry["time_s"]), kind, entry["data"].encode("latin-1"))


class ReplayLink(Link):
    """A `Link` whose instrument is a log: the same commands in the same order get the same answers and faults.

    Anything else is a `LinkGarbledError` that says what the log has at that place.
    """

    def __init__(self, name: str, entries: Iterable[Entry]) -> None:
        self._name = name
        self._entries = deque(entry for entry in entries if entry.kind in ("sent", "received", "failed"))

    @property
    def name(self) -> str:
        """Return the instrument's name."""
        return self._name

    @property
    def address(self) -> str:
        """Return that it leads nowhere."""
        return ""

    @property
    def unread(self) -> int:
        """Return how many entries have not been replayed."""
        return len(self._entries)

    def open(self) -> None:
        """Do nothing: a log is always there."""

    def write(self, command: str) -> None:
        """Pass over the command. Raises `LinkError` where the log has another one or a fault."""
        entry = self._next("sent", command)
        if entry.data.rstrip(b"\r\n") != command.encode():
            raise LinkGarbledError(self._name, f"the log has {entry.data[:60]!r} here", command=command)

    @override
    def query(self, command: str, *, timeout_s: float | None = None) -> str:
        """Return the recorded reply. Raises `LinkError`."""
        self.write(command)
        return self._next("received", command).data.rstrip(b"\r\n").decode("ascii")

    @override
    def query_block(
        self,
        command: str,
        *,
        n_bytes: int,
        terminator: Terminator = "required",
        timeout_s: float | None = None,
    ) -> memoryview:
        """Return the payload of the recorded block. Raises `LinkError`."""
        self.write(command)
        message = self._next("received", command).data
        try:
            return block_payload(message, n_bytes, terminator)
        except ValueError as error:
            raise LinkGarbledError(self._name, str(error), command=command) from error

    def close(self) -> None:
        """Do nothing."""

    def _next(self, kind: EntryKind, command: str) -> Entry:
        if not self._entries:
            raise LinkGarbledError(self._name, "the log ends here", command=command)
        entry = self._entries.popleft()
        if entry.kind == "failed":
            fault, _, cause = entry.data.decode().partition(": ")
            raise _FAULTS.get(fault, LinkError)(self._name, cause, command=command)
        if entry.kind != kind:
            raise LinkGarbledError(self._name, f"the log has '{entry.kind}' here", command=command)
        return entry
