"""A virtual laser, shutter or amplifier on a serial port: lines of text, as whoever drives it spells them."""

import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel

from labctl.contract.errors import InputError

_ENDS = {"lf": b"\n", "cr": b"\r", "crlf": b"\r\n"}


class Port(Protocol):
    """Where a switch is served, between `start` and `stop`."""

    @property
    def address(self) -> str:
        """Return it as a rig file spells it."""
        ...

    def start(self) -> None:
        """Begin to serve. Raises `OSError`."""
        ...

    def stop(self) -> None:
        """Stop serving. Idempotent."""
        ...


class SwitchLines(BaseModel):
    """What a simulation needs of a switch's settings: the lines it knows, its answers, and its line's speed."""

    on: str
    off: str
    reply: str
    query: str | None = None
    reply_on: str | None = None
    reply_off: str | None = None
    end: str = "lf"
    baud: int = 115200


class VirtualSwitch:
    """Takes bytes as they arrive and answers whole lines; to a line that it does not know, nothing. Off at first.

    `changes` holds the monotonic time of every change and what it was to. Who needs to know is `told` before the
    answer is.
    """

    def __init__(self, lines: SwitchLines, told: Callable[[bool], None] | None = None) -> None:
        self.changes: list[tuple[float, bool]] = []
        self._lines = lines
        self._end = _ENDS[lines.end]
        self._told = told
        self._unread = b""
        self._on = threading.Event()

    @property
    def is_on(self) -> bool:
        """Return whether it is on."""
        return self._on.is_set()

    def __call__(self, arrived: bytes) -> bytes:
        """Return the answers to the lines that are now whole."""
        *lines, self._unread = (self._unread + arrived).split(self._end)
        return b"".join(self._answer(line.decode("ascii", errors="replace")) for line in lines)

    def _answer(self, line: str) -> bytes:
        known = self._lines
        if line in (known.on, known.off):
            self._turn(on=line == known.on)
            return known.reply.encode() + self._end
        if line == known.query and known.reply_on is not None and known.reply_off is not None:
            return (known.reply_on if self.is_on else known.reply_off).encode() + self._end
        return b""

    def _turn(self, *, on: bool) -> None:
        if on == self.is_on:
            return
        self.changes.append((time.monotonic(), on))
        self._on.set() if on else self._on.clear()
        if self._told is not None:
            self._told(on)


def serve_switch(
    settings: Mapping[str, Any], before: Mapping[str, Any], told: Callable[[bool], None] | None = None
) -> tuple[VirtualSwitch, Port]:
    """Return a switch with `settings` and the port it is served at: where it was `before`, if that is free.

    Raises `InputError` where there are no pseudo-terminals.
    """
    if sys.platform == "win32":
        raise InputError("a virtual switch needs a pseudo-terminal, which Linux and macOS have")
    from labctl_simulators.instruments.servers.pty_port import PtyPort

    lines = SwitchLines.model_validate(settings)
    switch = VirtualSwitch(lines, told)
    address = str(before.get("address", ""))
    path = Path(address.removeprefix("ASRL").removesuffix("::INSTR")) if address else None
    port = PtyPort(switch, baud=lines.baud, path=path)
    try:
        port.start()
    except OSError:
        port = PtyPort(switch, baud=lines.baud)
        port.start()
    return switch, port
