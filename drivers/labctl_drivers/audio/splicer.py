"""What happens in the audio callback: bursts spliced into one endless stream, and what is heard cut out of it.

The callback runs in a thread of the audio system that must never be late. It copies between arrays that were made
beforehand, and makes none.
"""

import time
from collections import deque
from collections.abc import Callable

import numpy as np

from labctl.contract.audio import Samples

FADE_S = 0.01
"""Length of the fade with which sound ends when it must end at once."""


class Take:
    """A burst on its way: `played` (n, n_outputs) and `heard` (n, n_inputs), which is filled from `delay` frames after
    the burst has begun. `flagged` says that the audio system reported a loss meanwhile, or less than `flag_wait` frames
    later.
    """

    __slots__ = ("begun", "delay", "flag_wait", "flagged", "heard", "number", "played", "time_s")

    def __init__(self, number: int, played: Samples, n_inputs: int, flag_wait: int = 0) -> None:
        self.number = number
        self.played = played
        self.heard: Samples = np.zeros((len(played), n_inputs), dtype=np.float32)
        self.begun = -1
        self.delay = 0
        self.flag_wait = flag_wait
        self.flagged = False
        self.time_s = 0.0

    @property
    def finished(self) -> int:
        """The frame at which all is heard, and every loss reported."""
        return self.begun + self.delay + len(self.heard) + self.flag_wait


class Splicer:
    """Counts frames, plays takes one directly after another, and hands each to `finished` once it has been heard.

    While it is `held`, no further take is begun. `finished` and `silent` are called from the callback and must return
    at once.
    """

    def __init__(
        self, samplerate_hz: float, finished: Callable[[Take], None], silent: Callable[[], None], *, delay: int = 0
    ) -> None:
        n_fade = max(1, round(FADE_S * samplerate_hz))
        self._ramp = (0.5 + 0.5 * np.cos(np.pi * np.arange(1, n_fade + 1, dtype=np.float32) / n_fade))[:, None]
        self._ramp = self._ramp.astype(np.float32)
        self._finished = finished
        self._silent = silent
        self._waiting: deque[Take] = deque()
        self._sounding: deque[Take] = deque()
        self._played = 0
        self._faded = -1
        self._frames = 0
        self.delay = delay
        self.held = False
        self.called_s = time.monotonic()

    def add(self, take: Take) -> None:
        """Play `take` after those added before."""
        self._waiting.append(take)

    def mute(self) -> None:
        """Fade out what sounds, forget all takes, then call `silent`."""
        if self._faded < 0:
            self._faded = 0

    def process(self, heard: Samples, played: Samples, *, flagged: bool) -> None:
        """Take in a block `heard` (n, n_inputs) and fill the block `played` (n, n_outputs) that follows it."""
        n_frames = len(played)
        self._record(heard, flagged)
        self._play(played)
        if self._faded >= 0:
            self._fade(played)
        self._frames += n_frames
        self.called_s = time.monotonic()

    def _record(self, heard: Samples, flagged: bool) -> None:
        """Copy a block to the takes it belongs to; of one take, what is heard follows what is played."""
        first, end = self._frames, self._frames + len(heard)
        for take in self._sounding:
            begin = take.begun + take.delay
            low, high = max(first, begin), min(end, begin + len(take.heard))
            take.flagged |= flagged
            if low < high:
                take.heard[low - begin : high - begin] = heard[low - first : high - first]
                take.time_s = time.time()
        while self._sounding and self._sounding[0].finished <= end:
            self._finished(self._sounding.popleft())

    def _play(self, played: Samples) -> None:
        done = 0
        while done < len(played) and self._waiting and not (self.held and self._played == 0):
            take = self._waiting[0]
            if self._played == 0:
                take.begun, take.delay = self._frames + done, self.delay
                self._sounding.append(take)
            n = min(len(played) - done, len(take.played) - self._played)
            played[done : done + n] = take.played[self._played : self._played + n]
            done += n
            self._played += n
            if self._played == len(take.played):
                self._waiting.popleft()
                self._played = 0
        played[done:] = 0.0

    def _fade(self, played: Samples) -> None:
        n = min(len(played), len(self._ramp) - self._faded)
        played[:n] *= self._ramp[self._faded : self._faded + n]
        played[n:] = 0.0
        self._faded += n
        if self._faded == len(self._ramp):
            self._waiting.clear()
            self._sounding.clear()
            self._played = 0
            self._faded = -1
            self._silent()
