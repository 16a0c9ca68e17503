"""What it gains to train the hardware's own parameters in place: elements of a metasurface, phases of a modulator.

Each experiment of rule phyll-spsa is run as it is, and with its parameters left where they begin, which costs the same
passes and measures at the same two ends. The test loss of both is compared, seed by seed.
"""

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.special import logsumexp

from benchmarks import harness
from benchmarks.harness import ROOT, Row, Target, over_draws, run_experiment
from labctl.record.folder import LOG_NAME
from labctl.record.reader import LogReader

SEEDS = {"optics": range(5), "microwave": range(20, 50)}
"""Of splits and weights. A metasurface gains about as much as one seed differs from another, so that it takes many:
they were named before any of them was run, and none of them was seen or had settings chosen on it before."""

FROZEN = "training.parameter_lr=1e-12"
THETA = 10.0


def measure(quick: bool) -> Iterable[Row]:
    """Yield a row per experiment."""
    for system, seeds in SEEDS.items():
        yield gain_row(system, seeds=seeds[:3] if quick else seeds)


def gain_row(system: str, *, seeds: Sequence[int], changes: Sequence[str] = ()) -> Row:
    """Return by how much training lowers the test loss: the mean of -log of the softmax of theta times the scores."""
    experiment = ROOT / "configs" / "experiments" / f"digits_{system}_tuned.yaml"
    found = np.array([[_tested(experiment, seed, [*changes, *own]) for own in ([], [FROZEN])] for seed in seeds])
    (trained, frozen), (trained_right, frozen_right) = found.transpose(2, 1, 0)
    others = {
        "test loss, trained": float(trained.mean()),
        "test loss, frozen": float(frozen.mean()),
        "accuracy in %, trained": float(trained_right.mean()),
        "accuracy in %, frozen": float(frozen_right.mean()),
    }
    row = over_draws(f"tuned.{system}.test_loss_gain", (frozen - trained).tolist(), "nats", others)
    return replace(row, aim=row.held_against(Target(">", 0.0)))


def _tested(experiment: Path, seed: int, changes: Sequence[str]) -> tuple[float, float]:
    """Return test loss and accuracy (%) of a run with another split, other weights and the same hardware."""
    own = [f"seed={seed}", f"data.split_seed={seed}", f"training.theta={THETA}", "report.baselines=[]"]
    with tempfile.TemporaryDirectory() as runs:
        result, _ = run_experiment(experiment, Path(runs), [*own, *changes])
        with LogReader(Path(result["run"]) / LOG_NAME) as reader:
            (detail,) = [event.detail for event in reader.events() if event.kind == "test"]
    odds = THETA * np.array(detail["scores"])
    of_the_true = odds[np.arange(len(odds)), detail["labels"]]
    return float((logsumexp(odds, axis=1) - of_the_true).mean()), 100 * float(detail["accuracy"])


def main() -> None:
    """Run the command."""
    arguments = harness.parser("Measure what it gains to train the hardware's own parameters.").parse_args()
    harness.run("tuned", "mean and 95 % interval over seeds", arguments, measure)


if __name__ == "__main__":
    main()
