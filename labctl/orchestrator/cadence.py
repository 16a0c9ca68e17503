"""A fixed cadence: acquisitions begin at equal distances in time, so that a bench warms and drifts evenly."""

import logging
import time
from collections.abc import Callable, Mapping
from math import floor
from typing import Any

from labctl.contract.layer import Stop
from labctl.orchestrator.stopping import pause

_log = logging.getLogger(__name__)


class Cadence:
    """Called before each acquisition, it returns at the next tick: a multiple of `every_s` after the first call.

    An acquisition that takes longer misses ticks, and the one after it begins at the next that is left. `note` is told
    at the first, second, fourth, eighth... time, so that a cadence that cannot be kept fills no log.
    """

    def __init__(
        self,
        every_s: float,
        stop: Stop,
        note: Callable[[str, Mapping[str, Any]], None],
        now_s: Callable[[], float] = time.monotonic,
        wait: Callable[[float, Stop], None] = pause,
    ) -> None:
        self._every_s = every_s
        self._stop = stop
        self._note = note
        self._now_s = now_s
        self._wait = wait
        self._first_s: float | None = None
        self._tick = 0
        self._late = 0
        self._missed = 0

    def __call__(self) -> None:
        """Wait. Raises `Stopped` when asked to stop meanwhile."""
        now_s = self._now_s()
        if self._first_s is None:
            self._first_s = now_s
            return
        passed = floor((now_s - self._first_s) / self._every_s)
        if passed > self._tick:
            self._tell(passed - self._tick)
        self._tick = max(passed, self._tick) + 1
        self._wait(self._first_s + self._tick * self._every_s - now_s, self._stop)

    def _tell(self, missed: int) -> None:
        self._late += 1
        self._missed += missed
        if self._late & (self._late - 1) == 0:
            facts = {"every_s": self._every_s, "late": self._late, "missed_ticks": self._missed}
            _log.warning(
                "the cadence of %g s is not kept: %d acquisitions took longer, %d ticks missed so far",
                *facts.values(),
            )
            self._note("cadence", facts)
