"""Monitors for runs that nobody watches."""

import threading

from labctl.learning.rule import Metrics
from labctl.orchestrator.counters import Counters


class Silent:
    """A monitor that says nothing."""

    def rows_done(self, counters: Counters) -> None:
        """Say nothing."""

    def epoch_done(self, epoch: int, metrics: Metrics) -> None:
        """Say nothing."""

    def test_begins(self) -> None:
        """Say nothing."""


class Until(Silent):
    """A monitor that asks to stop after some epochs, after some rows, or never."""

    def __init__(self, epochs: int | None = None, rows: int | None = None) -> None:
        self.stop = threading.Event()
        self._epochs = epochs
        self._rows = rows

    def rows_done(self, counters: Counters) -> None:
        """Stop when it is time."""
        if self._rows is not None and counters.sent >= self._rows:
            self.stop.set()

    def epoch_done(self, epoch: int, metrics: Metrics) -> None:
        """Stop when it is time."""
        if epoch == self._epochs:
            self.stop.set()
