"""A device on a serial port that is a pseudo-terminal, where bytes take the time they take at a baud rate."""

import sys

if sys.platform == "win32":
    raise ImportError("pseudo-terminals need Linux or macOS")

import os
import pty
import queue
import select
import tempfile
import threading
import time
import tty
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from labctl.contract.clock import WAKES_LATE_S, sleep_until
from labctl_simulators.instruments.servers.wire_faults import (
    Delivery,
    Strike,
    WireFaultSchedule,
    delivery,
    without_a_byte,
)

ByteHandler = Callable[[bytes], bytes]
"""A device: takes the bytes that have arrived, as they come, and returns the bytes it sends now, perhaps none."""

_BITS_PER_BYTE = 10
"""Start bit, eight data bits, stop bit."""

_SLICE_S = 0.005
_POLL_S = 0.02


@dataclass(frozen=True)
class _Due:
    """What a device sends, and when its first byte leaves."""

    what: Delivery
    begins_s: float


class PtyPort:
    """Serves a device between `start` and `stop` at `path`, a link that survives unplugging. A context manager.

    `path` is made in a folder of its own, a new one unless given. A byte reaches the other end ten bit times after the
    one before it, in each direction on its own. `baud` None takes no time at all. A request, as faults count, is all
    that arrives until the device answers.
    """

    def __init__(
        self,
        handler: ByteHandler,
        *,
        baud: int | None,
        path: Path | None = None,
        faults: WireFaultSchedule | None = None,
    ) -> None:
        self.faults = faults or WireFaultSchedule()
        self._handler = handler
        self._byte_s = 0.0 if baud is None else _BITS_PER_BYTE / baud
        self.path = path or Path(tempfile.mkdtemp(prefix="labctl-pty-")) / "tty"
        self._running = threading.Event()
        self._unplug_for_s: float | None = None
        self._server: threading.Thread | None = None

    @property
    def address(self) -> str:
        """Return the VISA address a client opens."""
        return f"ASRL{self.path}::INSTR"

    def start(self) -> None:
        """Plug the device in; it can be opened when this returns. Raises `OSError` where something is at `path`."""
        self.path.parent.mkdir(mode=0o700, exist_ok=True)
        if self.path.is_symlink() and not self.path.exists():
            self.path.unlink()  # left behind by a bench that was killed
        if self.path.is_symlink() or self.path.exists():
            raise FileExistsError(f"{self.path} is taken")
        self._running.set()
        plugged = threading.Event()
        self._server = threading.Thread(target=self._serve, args=(plugged,), daemon=True)
        self._server.start()
        plugged.wait()

    def stop(self) -> None:
        """Unplug the device for good. Idempotent."""
        self._running.clear()
        if self._server is not None:
            self._server.join()
            self._server = None
        with suppress(OSError):
            self.path.parent.rmdir()

    def unplug(self, seconds: float) -> None:
        """Take the device away for `seconds`."""
        self._unplug_for_s = seconds

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(self, *failure: object) -> None:
        """Stop."""
        self.stop()

    def _serve(self, plugged: threading.Event) -> None:
        while self._running.is_set():
            master, slave = pty.openpty()
            tty.setraw(master)
            tty.setraw(slave)
            self.path.symlink_to(os.ttyname(slave))
            plugged.set()
            try:
                self._serve_plugged(master)
            finally:
                self.path.unlink()
                # A client sees the end only when both ends on this side are closed.
                os.close(slave)
                os.close(master)
            self._wait_unplugged()

    def _wait_unplugged(self) -> None:
        until_s = time.monotonic() + (self._unplug_for_s or 0.0)
        self._unplug_for_s = None
        while self._running.is_set() and time.monotonic() < until_s:
            time.sleep(_POLL_S)

    def _serve_plugged(self, master: int) -> None:
        deliveries: queue.SimpleQueue[_Due | None] = queue.SimpleQueue()
        gone = threading.Event()
        sender = threading.Thread(target=self._send, args=(master, deliveries, gone), daemon=True)
        sender.start()
        request = bytearray()
        strike: Strike | None = None
        line_free_s = 0.0
        while self._running.is_set() and self._unplug_for_s is None:
            if not select.select([master], [], [], _POLL_S)[0]:
                continue
            arrived = os.read(master, 1 << 16)
            line_free_s = max(line_free_s, time.monotonic()) + len(arrived) * self._byte_s
            sleep_until(line_free_s)
            if strike is None:
                strike = self.faults.next()
                if strike.kind == "lost-byte":
                    arrived = without_a_byte(arrived, strike.rng)
            request += arrived
            handed_over_s = time.monotonic()
            answer = self._handler(arrived)
            if answer:
                # A real device has its request when the last byte is there, not when this computer finds time for it.
                begins_s = line_free_s + time.monotonic() - handed_over_s
                self._answer(bytes(request), answer, strike, begins_s, deliveries)
                request.clear()
                strike = None
        gone.set()
        deliveries.put(None)
        sender.join()

    def _answer(
        self,
        request: bytes,
        answer: bytes,
        strike: Strike,
        begins_s: float,
        deliveries: "queue.SimpleQueue[_Due | None]",
    ) -> None:
        if strike.kind == "unplug":
            self._unplug_for_s = strike.duration_s
            return
        if strike.kind == "echo":
            deliveries.put(_Due(Delivery(request), begins_s))
        deliveries.put(_Due(delivery(answer, strike), begins_s))

    def _send(self, master: int, deliveries: "queue.SimpleQueue[_Due | None]", gone: threading.Event) -> None:
        """Send until None comes, and nothing more once the device is gone."""
        line_free_s = 0.0
        while (due := deliveries.get()) is not None:
            what = due.what
            line_free_s = self._send_paced(master, what.first, max(line_free_s, due.begins_s), gone)
            if what.rest:
                gone.wait(what.pause_s)
                line_free_s = self._send_paced(master, what.rest, time.monotonic(), gone)

    def _send_paced(self, master: int, data: bytes, begins_s: float, gone: threading.Event) -> float:
        """Write in slices of a few milliseconds, none before its last byte has arrived; return when all have."""
        step = max(1, int(_SLICE_S / self._byte_s)) if self._byte_s else max(1, len(data))
        arrived_s = begins_s
        for begin in range(0, len(data), step):
            part = data[begin : begin + step]
            arrived_s += len(part) * self._byte_s
            if gone.wait(max(0.0, arrived_s - WAKES_LATE_S - time.monotonic())):
                break
            sleep_until(arrived_s)
            with suppress(OSError):
                os.write(master, part)
        return arrived_s
