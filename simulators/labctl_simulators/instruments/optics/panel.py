"""What the pixels of a display do to light: the pattern before for a while, then a turn to the new one."""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from labctl.contract.blocks import Blocks

LOOK_EVERY_S = 0.001
KEPT = 64
"""Patterns that are remembered: more than are shown during one exposure."""

Levels = NDArray[np.uint8]


class Shown(NamedTuple):
    """A pattern and when it was first seen on the display, in monotonic seconds."""

    since_s: float
    levels: Levels


class Panel:
    """Watches macro-pixels on a display between `start` and `stop`, each by its central pixel's blue.

    Light follows `latency_s` after the display and takes `settle_s` to turn, evenly. The display is watched, unless
    light follows at once and is asked for no longer than `exposure_s` afterwards, less than two looks are apart: then
    it is what the display shows. While `frozen` is set, nothing follows any more.
    """

    def __init__(
        self,
        pixels: Callable[[], NDArray[np.uint8]],
        blocks: Blocks,
        *,
        latency_s: float = 0.0,
        settle_s: float = 0.0,
        exposure_s: float = 0.0,
    ) -> None:
        self.frozen = threading.Event()
        self._pixels = pixels
        self._blocks = blocks
        self._latency_s = latency_s
        self._settle_s = settle_s
        self._is_watched = latency_s > 0 or settle_s > 0 or exposure_s > LOOK_EVERY_S
        self._history: deque[Shown] = deque([Shown(float("-inf"), self._look())], maxlen=KEPT)
        self._noting = threading.Lock()
        self._running = threading.Event()
        self._watcher: threading.Thread | None = None

    def start(self) -> None:
        """Begin to watch."""
        if self._is_watched:
            self._running.set()
            self._watcher = threading.Thread(target=self._watch, name="panel", daemon=True)
            self._watcher.start()

    def stop(self) -> None:
        """End watching. Idempotent."""
        self._running.clear()
        if self._watcher is not None:
            self._watcher.join()
            self._watcher = None

    def drives(self, at_s: float) -> NDArray[np.float32]:
        """Return what modulates the light at a time, (n_blocks,) from 0 to 1."""
        self._note()
        if self._watcher is None:
            return self._history[-1].levels.astype(np.float32) / np.float32(255)
        shares = [(shown, self._turned(at_s - shown.since_s - self._latency_s)) for shown in list(self._history)]
        # Of what was shown before a pattern to which all light has turned nothing is left.
        last = max((place for place, (_, turned) in enumerate(shares) if turned == 1.0), default=0)
        state = shares[last][0].levels.astype(np.float64)
        for shown, turned in shares[last + 1 :]:
            if turned > 0:
                state += turned * (shown.levels - state)
        return (state / 255).astype(np.float32)

    def _turned(self, since_s: float) -> float:
        """Return how far the light has turned to a pattern that reached it so long ago."""
        if since_s < 0:
            return 0.0
        return 1.0 if since_s >= self._settle_s else since_s / self._settle_s

    def _look(self) -> Levels:
        return self._blocks.centres(self._pixels())[:, 0].copy()

    def _note(self) -> None:
        """Note what is on the display now, if it has changed."""
        with self._noting:
            levels = self._look()
            if not self.frozen.is_set() and not np.array_equal(levels, self._history[-1].levels):
                self._history.append(Shown(time.monotonic(), levels))

    def _watch(self) -> None:
        while self._running.is_set():
            self._note()
            time.sleep(LOOK_EVERY_S)
