"""Progress of a run in words: the same facts for a terminal that can redraw and for one that cannot."""

from collections.abc import Callable
from dataclasses import dataclass, field

from labctl.learning.rule import Metrics
from labctl.orchestrator.counters import Counters
from labctl.orchestrator.plan import Plan


@dataclass
class Progress:
    """Where a run stands. `recorded` passes were measured before this session began."""

    plan: Plan
    epochs: int
    recorded: int
    epoch: int = 0
    sent: int = 0
    metrics: dict[str, float] = field(default_factory=dict[str, float])
    testing: bool = False

    def rows(self, counters: Counters) -> None:
        """Take over the count of passes."""
        self.sent = counters.sent

    @property
    def passes(self) -> int:
        """Passes recorded so far, never more than planned: repeats do not count."""
        return min(self.recorded + self.sent, self.plan.passes)

    @property
    def hardware_left_s(self) -> float:
        """Hardware time that the passes still to come will take."""
        return self.plan.hardware_s * (1 - self.passes / max(self.plan.passes, 1))

    def __str__(self) -> str:
        stage = "test" if self.testing else f"epoch {self.epoch}/{self.epochs}"
        figures = "".join(f"  {name} {100 * value:.1f} %" for name, value in _shown(self.metrics).items())
        left = f"hardware time left {duration(self.hardware_left_s)}"
        return f"{stage}{figures}  passes {self.passes:,}/{self.plan.passes:,}  {left}"


def duration(seconds: float) -> str:
    """Return seconds as a person says them: `45 s`, `12 min`, `3.4 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _shown(metrics: Metrics) -> Metrics:
    shares = {
        name.split(".")[-1].replace("_", " "): value for name, value in metrics.items() if name.endswith("pairs_right")
    }
    if "train_accuracy" in metrics:
        return {"training accuracy": metrics["train_accuracy"]}
    return shares


class PlainMonitor:
    """Writes a line per epoch, and one at least every `every_s` seconds while passes are measured."""

    def __init__(
        self, progress: Progress, write: Callable[[str], None], now: Callable[[], float], every_s: float
    ) -> None:
        self._progress = progress
        self._write = write
        self._now = now
        self._every_s = every_s
        self._last_s = now()

    def rows_done(self, counters: Counters) -> None:
        """Count passes; write a line if the last one is old."""
        self._progress.rows(counters)
        if self._now() - self._last_s >= self._every_s:
            self._line()

    def epoch_done(self, epoch: int, metrics: Metrics) -> None:
        """Write the epoch's line."""
        self._progress.epoch = epoch
        self._progress.metrics = dict(metrics)
        self._line()

    def test_begins(self) -> None:
        """Say so."""
        self._progress.testing = True
        self._line()

    def _line(self) -> None:
        self._last_s = self._now()
        self._write(str(self._progress))
