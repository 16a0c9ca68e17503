"""A progress bar that redraws in place."""

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar

from labctl.learning.rule import Metrics
from labctl.monitor.progress import Progress
from labctl.orchestrator.counters import Counters


class LiveMonitor:
    """Shows one bar of passes with the run's figures beside it; a context manager."""

    def __init__(self, progress: Progress, console: Console) -> None:
        self._progress = progress
        self._bar = Bar(BarColumn(bar_width=24), TextColumn("{task.description}"), console=console)
        self._task = self._bar.add_task(str(progress), total=progress.plan.passes, completed=progress.passes)

    def __enter__(self) -> "LiveMonitor":
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def rows_done(self, counters: Counters) -> None:
        """Move the bar."""
        self._progress.rows(counters)
        self._show()

    def epoch_done(self, epoch: int, metrics: Metrics) -> None:
        """Show the epoch's figures."""
        self._progress.epoch = epoch
        self._progress.metrics = dict(metrics)
        self._show()

    def test_begins(self) -> None:
        """Say so."""
        self._progress.testing = True
        self._show()

    def _show(self) -> None:
        self._bar.update(self._task, completed=self._progress.passes, description=str(self._progress))
