"""What an event costs in bluesky's run engine: `python bluesky_event.py EVENTS`, by a Python that has bluesky.

The detector answers at once with 20 values; nothing subscribes, so that nothing is written. Prints microseconds per
event.
"""

import sys
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any


class Finished:
    """The status of something that needed no time."""

    done = True
    success = True

    def add_callback(self, callback: Callable[["Finished"], None]) -> None:
        """Call back at once."""
        callback(self)

    def exception(self, timeout: float | None = None) -> None:
        """Return that nothing went wrong."""


class InstantDetector:
    """A detector whose reading is always ready."""

    name = "instant"
    parent = None

    def trigger(self) -> Finished:
        """Measure."""
        return Finished()

    def read(self) -> dict[str, Any]:
        """Return 20 values."""
        return {self.name: {"value": [0.5] * 20, "timestamp": time.time()}}

    def describe(self) -> dict[str, Any]:
        """Return the form of the values."""
        return {self.name: {"source": "none", "dtype": "array", "shape": [20]}}

    def read_configuration(self) -> dict[str, Any]:
        """Return nothing."""
        return {}

    def describe_configuration(self) -> dict[str, Any]:
        """Return nothing."""
        return {}


def event_us(n: int) -> float:
    """Return the microseconds per event of a plan of `n` events."""
    engine: Any = import_module("bluesky").RunEngine()
    count: Any = import_module("bluesky.plans").count
    detector = InstantDetector()
    engine(count([detector], num=10))
    begin = time.perf_counter()
    engine(count([detector], num=n))
    return (time.perf_counter() - begin) / n * 1e6


if __name__ == "__main__":
    print(event_us(int(sys.argv[1])))
