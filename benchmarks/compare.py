"""Learning rules on the same rigs with the same counters: accuracy, price, stale twins, passes to a fixed accuracy.

Every figure comes from `labctl compare EXPERIMENT --json`; with `--keep DIR` its runs stay there, and what is finished
is not measured again. The image rows, which take hours, come from `labctl run` as those of `benchmarks.accuracy` do.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks import harness
from benchmarks.accuracy import EXPERIMENTS, POINTS, Case, Kept, measure_case, rows_of
from benchmarks.compare_tables import markdown
from benchmarks.harness import Row, Target, over_draws

SEEDS = range(1, 4)
Budget = tuple[int | None, int | None]
"""Training samples and epochs; None where the experiment file says how many."""
BUDGETS: Mapping[str, tuple[str, Sequence[Budget]]] = {
    "digits": ("optics", [(360, 2), (720, 2), (None, 1), (None, 2), (None, 4), (None, 8), (None, None)]),
    "mnist": ("mnist", [(5_000, 1), (10_000, 1), (20_000, 1), (None, 1), (None, 2)]),
}
"""Data, and of which experiment passes to a fixed accuracy are looked for at which budgets, from the smallest on."""

REACH = 0.95
FIGURES = {"training_passes": "passes", "hardware_h": "h", "training_macs": "MACs", "macs": "MACs", "arithmetic_j": "J"}

LOCAL = ("phyll", "phyll-reference")
LOST = Target(">=", -1.0)


@dataclass(frozen=True)
class System:
    """A system that rules are compared on: its experiment, and what it is called."""

    name: str
    title: str

    @property
    def experiment(self) -> Path:
        """The experiment file."""
        return EXPERIMENTS / f"rules_{self.name}.yaml"


SYSTEMS = (
    System("optics", "Measured fibre, two blocks, physics alone"),
    System("acoustic", "Acoustic cavity, one block with skip"),
    System("microwave", "Metasurface cavity, one block with skip"),
)
TITLES = {f"compare.{system.name}": system.title for system in SYSTEMS}
MISMATCH = EXPERIMENTS / "rules_optics_mismatch.yaml"

_SEED_AND_MEDIUM = ("seed", "rig.layers.bench.medium.seed")
IMAGES = (
    Case(
        "oneclass.mnist",
        "MNIST, class-wise references, scattering medium",
        EXPERIMENTS / "mnist_optics_reference.yaml",
        _SEED_AND_MEDIUM,
        SEEDS,
        "seeds and media",
        {"accuracy": Target(">=", 0.985)},
        every=(),
    ),
    Case(
        "oneclass.fashion",
        "Fashion-MNIST, class-wise references, scattering medium",
        EXPERIMENTS / "fashion_optics_reference.yaml",
        _SEED_AND_MEDIUM,
        SEEDS,
        "seeds and media",
        {"accuracy": Target(">=", 0.90)},
        every=(),
    ),
    Case(
        "unsupervised.mnist",
        "MNIST, unsupervised, linear readout, scattering medium",
        EXPERIMENTS / "mnist_optics_contrastive.yaml",
        _SEED_AND_MEDIUM,
        SEEDS,
        "seeds and media",
        {"accuracy": Target(">=", 0.965)},
        every=(),
    ),
)

PARTS = (*TITLES, "compare.passes_to_95", "compare.mismatch", *(case.id for case in IMAGES))
QUICK = tuple(TITLES)


def compared(experiment: Path, seeds: Sequence[int], runs: Path, *more: str) -> dict[str, Any]:
    """Compare rules as a user types it; return what `labctl compare --json` prints."""
    labctl = shutil.which("labctl", path=str(Path(sys.executable).parent)) or "labctl"
    named = ",".join(str(seed) for seed in seeds)
    command = [labctl, "compare", str(experiment), "--seeds", named, "--runs", str(runs), "--json", *more]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def of_system(system: System, result: Mapping[str, Any]) -> Iterator[Row]:
    """Yield accuracy, difference from the first rule and price of every rule on one system."""
    for each in result["rules"]:
        name, linear = f"compare.{system.name}.{each['rule']}", _mean_baselines(each)
        yield _row(name, each["accuracy"], len(each["runs"]), "share", linear)
        if each["minus_first"] is not None:
            yield _points(f"{name}.minus_{result['against']}", each["minus_first"], len(each["runs"]))
        for figure, unit in FIGURES.items():
            yield Row(f"{name}.{figure}", each[figure], None, None, len(each["runs"]), unit)


def gap_to_backpropagation(result: Mapping[str, Any]) -> Iterator[Row]:
    """Yield how far PhyLL is from backpropagation through the exact simulator, in points."""
    minus = {each["rule"]: each for each in result["rules"]}
    exact = minus.get("backpropagation")
    if exact is not None and exact["minus_first"] is not None:
        mean, low, high = (-100 * exact["minus_first"][name] for name in ("mean", "high", "low"))
        row = Row("compare.gap_to_bp", mean, low, high, len(exact["runs"]), POINTS)
        yield replace(row, aim=row.held_against(LOST))


def passes_to_reach(data: str, seeds: Sequence[int], keep: Path) -> Iterator[Row]:
    """Yield the training passes of the smallest budget at which each rule's mean accuracy reaches `REACH`.

    For a rule that never does, its accuracy at the largest is yielded.
    """
    name, budgets = BUDGETS[data]
    experiment = EXPERIMENTS / f"rules_{name}.yaml"
    left: Sequence[str] = ()
    found: Sequence[Mapping[str, Any]] = ()
    for samples, epochs in budgets:
        wanted = {"--rules": ",".join(left), "--epochs": epochs, "--set": samples and f"data.train_samples={samples}"}
        more = [str(part) for option in wanted.items() if option[1] for part in option]
        found = compared(experiment, seeds, keep, *more)["rules"]
        yield from (_reached(data, each) for each in found if each["accuracy"]["mean"] >= REACH)
        left = [each["rule"] for each in found if each["accuracy"]["mean"] < REACH]
        if not left:
            return
    for each in (each for each in found if each["rule"] in left):
        name, beside = f"compare.short_of_95.{data}.{each['rule']}", {"training passes": each["training_passes"]}
        yield _row(name, each["accuracy"], len(each["runs"]), "share", beside)


def _reached(data: str, each: Mapping[str, Any]) -> Row:
    beside = {"accuracy": each["accuracy"]["mean"], "hardware_h": each["hardware_h"]}
    name = f"compare.passes_to_95.{data}.{each['rule']}"
    return Row(name, each["training_passes"], None, None, len(each["runs"]), "passes", beside)


def of_mismatch(result: Mapping[str, Any]) -> Iterator[Row]:
    """Yield what each rule loses, in points; local rules are to lose at most one.

    First against the fibre at rest; then, as `stale`, against a fibre that was bent alike before its twins were fitted.
    """
    by_bend = {(each["rule"], _bend(each["disturbance"])): each for each in result["rules"] if each["disturbance"]}
    for each in result["disturbed"]:
        rule, (bend, row) = each["rule"], _bend(each["disturbance"])
        if row == 0:
            continue
        name, bent, fresh = f"compare.mismatch.bend{bend}.{rule}", by_bend[rule, (bend, row)], by_bend[rule, (bend, 0)]
        beside = {"before": each["before"], "bent from the first row on": fresh["accuracy"]["mean"]}
        yield _held(rule, replace(_points(name, each["after_minus_before"], len(bent["runs"])), baselines=beside))
        before = {run["seed"]: run["accuracy"] for run in fresh["runs"]}
        lost = [100 * (run["accuracy"] - before[run["seed"]]) for run in bent["runs"]]
        yield _held(rule, over_draws(f"{name}.stale", lost, POINTS))


def _bend(disturbance: str) -> tuple[int, int]:
    """Return number of the deformation and row of a bend in words."""
    deformation, row = re.findall(r"(?:deformation|row) ([\d,]+)", disturbance)
    return int(deformation), int(row.replace(",", ""))


def _held(rule: str, row: Row) -> Row:
    return replace(row, aim=row.held_against(LOST)) if rule in LOCAL else row


def measure(parts: Sequence[str], keep: Path, *, quick: bool, earlier: Mapping[str, Row]) -> Iterator[Row]:
    """Yield the rows of `parts`, of one seed when `quick`; rows measured `earlier` of other parts come first."""
    yield from (row for name, row in earlier.items() if not _is_of(name, parts))
    seeds = SEEDS[:1] if quick else SEEDS
    for system in SYSTEMS:
        if f"compare.{system.name}" not in parts:
            continue
        result = compared(system.experiment, seeds, keep)
        yield from of_system(system, result)
        if system.name == "optics":
            yield from gap_to_backpropagation(result)
    if "compare.passes_to_95" in parts:
        for data in BUDGETS:
            yield from passes_to_reach(data, seeds, keep)
    if "compare.mismatch" in parts:
        yield from of_mismatch(compared(MISMATCH, seeds, keep))
    for case in IMAGES:
        if case.id in parts:
            yield from measure_case(case, seeds, Kept(keep), jobs=1)


def _row(name: str, found: Mapping[str, float], n: int, unit: str, baselines: Mapping[str, float]) -> Row:
    low, high = (found["low"], found["high"]) if n > 1 else (None, None)
    return Row(name, found["mean"], low, high, n, unit, baselines)


def _points(name: str, found: Mapping[str, float], n: int) -> Row:
    return _row(name, {key: 100 * found[key] for key in ("mean", "low", "high")}, n, POINTS, {})


def _mean_baselines(each: Mapping[str, Any]) -> dict[str, float]:
    known = [run["baselines"]["linear"] for run in each["runs"] if "linear" in run["baselines"]]
    return {"linear": sum(known) / len(known)} if known else {}


def _is_of(name: str, parts: Sequence[str]) -> bool:
    of_optics = name == "compare.gap_to_bp" and "compare.optics" in parts
    of_passes = name.startswith("compare.short_of_95.") and "compare.passes_to_95" in parts
    return of_optics or of_passes or any(name == part or name.startswith(f"{part}.") for part in parts)


def main() -> None:
    """Run the command."""
    parser = harness.parser("Compare learning rules on simulated systems, with the same counters.")
    parser.add_argument("--rows", nargs="+", metavar="PART", choices=PARTS, help="only these")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep all runs there; repeat none")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="only print the tables of this JSON")
    arguments: Namespace = parser.parse_args()
    if arguments.markdown is not None:
        rows = json.loads(arguments.markdown.read_text(encoding="utf-8"))["rows"]
        print(markdown(TITLES, {row["id"]: row for row in rows}))
        return
    parts: Sequence[str] = arguments.rows or (QUICK if arguments.quick else PARTS)
    file: Path | None = arguments.json
    earlier = rows_of(file) if arguments.rows is not None and file is not None and file.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        harness.run(
            "compare",
            "low and high are 95 % intervals by Student's t over the seeds",
            arguments,
            lambda quick: measure(parts, arguments.keep or Path(folder), quick=quick, earlier=earlier),
        )


if __name__ == "__main__":
    main()
