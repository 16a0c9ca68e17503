"""Time as the laboratory counts it.

Everything that waits for hardware waits on a `Clock`, so that a simulated rig can let hours pass quickly and still
count them. Safety never uses it: deadlines that protect people or instruments run on `time.monotonic`.
"""

import time
from typing import Protocol


class Clock(Protocol):
    """Laboratory time in seconds."""

    def now_s(self) -> float:
        """Return laboratory seconds since an arbitrary start; never runs backwards."""
        ...

    def sleep_s(self, seconds: float) -> None:
        """Let `seconds` of laboratory time pass."""
        ...


WAKES_LATE_S = 0.0004
"""By about so much a system wakes a sleeper late. So long ahead a punctual one wakes and watches the clock."""


def sleep_until(moment_s: float) -> None:
    """Return at a monotonic time, if it lies ahead, more punctually than the system wakes a sleeper."""
    ahead_s = moment_s - time.monotonic()
    if ahead_s > WAKES_LATE_S:
        time.sleep(ahead_s - WAKES_LATE_S)
    while time.monotonic() < moment_s:
        time.sleep(0)  # other threads may go on


class WallClock:
    """Laboratory time is wall time."""

    def now_s(self) -> float:
        """Return monotonic seconds."""
        return time.monotonic()

    def sleep_s(self, seconds: float) -> None:
        """Sleep, and wake in time: an instrument that waits for settled light or a still field waits in every pass."""
        if seconds < 0:
            raise ValueError(f"cannot sleep {seconds} s")
        sleep_until(time.monotonic() + seconds)


class SimulatedClock:
    """Laboratory time passes only where something waits, `scale` times faster than wall time.

    An infinite scale never sleeps. Used from one thread.
    """

    def __init__(self, scale: float) -> None:
        if not scale > 0:
            raise ValueError(f"a clock's scale is positive, got {scale}")
        self._scale = scale
        self._now_s = 0.0

    def now_s(self) -> float:
        """Return the simulated seconds that have been waited for."""
        return self._now_s

    def sleep_s(self, seconds: float) -> None:
        """Advance by `seconds`, sleeping `seconds / scale`."""
        if seconds < 0:
            raise ValueError(f"cannot sleep {seconds} s")
        self._now_s += seconds
        if self._scale != float("inf"):
            time.sleep(seconds / self._scale)
