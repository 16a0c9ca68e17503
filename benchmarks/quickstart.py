"""What a newcomer gets from `labctl run configs/experiments/quickstart.yaml`: accuracy, and how long it takes."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import harness
from benchmarks.harness import Row, over_draws, over_repeats, run_experiment

EXPERIMENT = harness.ROOT / "configs" / "experiments" / "quickstart.yaml"
SPLIT_SEEDS = range(10)


def accuracy_row(result: dict[str, Any]) -> Row:
    """Return the row on one run; low and high are the 95 % interval over its test samples."""
    low, high = result["interval"]
    return Row("quickstart.accuracy", result["accuracy"], low, high, 1, "share", result["baselines"])


def split_rows(results: Sequence[dict[str, Any]]) -> list[Row]:
    """Return the rows over runs on different splits: mean accuracy, and what it is above `skip-only` split by split."""
    names = results[0]["baselines"]
    baselines = {name: float(np.mean([result["baselines"][name] for result in results])) for name in names}
    accuracies = [result["accuracy"] for result in results]
    gains = [100 * (result["accuracy"] - result["baselines"]["skip-only"]) for result in results]
    return [
        over_draws("quickstart.accuracy_10_splits", accuracies, "share", baselines),
        over_draws("quickstart.physics_gain_points", gains, "percentage points", {"skip-only": 0.0}),
    ]


def measure(quick: bool) -> list[Row]:
    """Return all rows; the ten splits only when there is time."""
    with tempfile.TemporaryDirectory() as folder:
        result, seconds = run_experiment(EXPERIMENT, Path(folder))
        if quick:
            return [accuracy_row(result), over_repeats("quickstart.seconds", [seconds], "s")]
        splits = [run_experiment(EXPERIMENT, Path(folder), [f"data.split_seed={seed}"]) for seed in SPLIT_SEEDS]
        times = [seconds, *(split_seconds for _, split_seconds in splits)]
        return [
            accuracy_row(result),
            over_repeats("quickstart.seconds", times, "s"),
            *split_rows([split_result for split_result, _ in splits]),
        ]


def main() -> None:
    """Run the command."""
    arguments = harness.parser("Measure the quickstart as a user runs it.").parse_args()
    harness.run(
        "quickstart",
        "low and high are 95 % intervals, over test samples or by Student's t over splits; of seconds the extremes",
        arguments,
        measure,
    )


if __name__ == "__main__":
    main()
