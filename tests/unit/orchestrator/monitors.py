"""A monitor for runs that nobody watches."""

from labctl.learning.rule import Metrics
from labctl.orchestrator.acquisition import Counters


class Silent:
    """A monitor that says nothing."""

    def rows_done(self, counters: Counters) -> None:
        """Say nothing."""

    def epoch_done(self, epoch: int, metrics: Metrics) -> None:
        """Say nothing."""

    def test_begins(self) -> None:
        """Say nothing."""
