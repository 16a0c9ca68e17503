"""What a newcomer gets from `labctl run configs/experiments/quickstart.yaml`: accuracy, and how long it takes."""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import harness
from benchmarks.harness import Row, over_repeats

EXPERIMENT = harness.ROOT / "configs" / "experiments" / "quickstart.yaml"
SPLIT_SEEDS = range(10)


def run_experiment(runs: Path, *overrides: str) -> tuple[dict[str, Any], float]:
    """Run the quickstart as a user types it; return what it prints and the seconds it takes."""
    labctl = shutil.which("labctl", path=str(Path(sys.executable).parent)) or "labctl"
    changes = [argument for override in overrides for argument in ("--set", override)]
    command = [labctl, "run", str(EXPERIMENT), "--runs", str(runs), "--json", *changes]
    begin = time.perf_counter()
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout), time.perf_counter() - begin


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
        _mean_row("quickstart.accuracy_10_splits", accuracies, "share", baselines),
        _mean_row("quickstart.physics_gain_points", gains, "percentage points", {"skip-only": 0.0}),
    ]


def measure(quick: bool) -> list[Row]:
    """Return all rows; the ten splits only when there is time."""
    with tempfile.TemporaryDirectory() as folder:
        result, seconds = run_experiment(Path(folder))
        if quick:
            return [accuracy_row(result), over_repeats("quickstart.seconds", [seconds], "s")]
        splits = [run_experiment(Path(folder), f"data.split_seed={seed}") for seed in SPLIT_SEEDS]
        times = [seconds, *(split_seconds for _, split_seconds in splits)]
        return [
            accuracy_row(result),
            over_repeats("quickstart.seconds", times, "s"),
            *split_rows([split_result for split_result, _ in splits]),
        ]


def _mean_row(id: str, values: Sequence[float], unit: str, baselines: dict[str, float]) -> Row:  # noqa: A002 - the key's name in the JSON
    """Return the row of a mean with its 95 % interval by Student's t."""
    from scipy.stats import t

    mean, n = float(np.mean(values)), len(values)
    half = float(t.ppf(0.975, n - 1)) * float(np.std(values, ddof=1)) / sqrt(n)
    return Row(id, mean, mean - half, mean + half, n, unit, baselines)


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
