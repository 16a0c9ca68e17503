"""A virtual laser or shutter: lines of text, as whoever drives it spells them."""

import threading
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class ShutterLines:
    """The lines a shutter knows, each ended by `end`, and its answers."""

    on: str
    off: str
    reply: str
    end: bytes
    query: str | None = None
    reply_on: str | None = None
    reply_off: str | None = None


class VirtualShutter:
    """Takes bytes as they arrive and answers whole lines; to a line that it does not know, nothing. Dark at first.

    `changes` holds the monotonic time of every change and what it was to.
    """

    def __init__(self, lines: ShutterLines) -> None:
        self.changes: list[tuple[float, bool]] = []
        self._lines = lines
        self._unread = b""
        self._on = threading.Event()

    @property
    def is_on(self) -> bool:
        """Return whether light passes."""
        return self._on.is_set()

    def __call__(self, arrived: bytes) -> bytes:
        """Return the answers to the lines that are now whole."""
        *lines, self._unread = (self._unread + arrived).split(self._lines.end)
        return b"".join(self._answer(line.decode("ascii", errors="replace")) for line in lines)

    def _answer(self, line: str) -> bytes:
        known = self._lines
        if line in (known.on, known.off):
            self._turn(on=line == known.on)
            return known.reply.encode() + known.end
        if line == known.query and known.reply_on is not None and known.reply_off is not None:
            return (known.reply_on if self.is_on else known.reply_off).encode() + known.end
        return b""

    def _turn(self, *, on: bool) -> None:
        if on != self.is_on:
            self.changes.append((time.monotonic(), on))
        self._on.set() if on else self._on.clear()
