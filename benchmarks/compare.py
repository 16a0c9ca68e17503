"""Learning rules on the same rigs with the same counters: accuracy, price, stale twins, passes to a fixed accuracy.

Every figure comes from `labctl compare EXPERIMENT --json`; with `--keep DIR` its runs stay there, and what is finished
is not measured again. The image rows, which take hours, come from `labctl run` as those of `benchmarks.accuracy` do.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from argparse import Namespace
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks import harness
from benchmarks.accuracy import EXPERIMENTS, POINTS, Case, Kept, measure_case, rows_of
from benchmarks.harness import Row, Target

SEEDS = range(1, 4)
BUDGETS = {"digits": ("optics", (1, 2, 4, 8)), "mnist": ("mnist", (2,))}
"""Data, and at which numbers of epochs beside its own of which experiment passes to a fixed accuracy are looked for."""

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

PARTS = (*(f"compare.{system.name}" for system in SYSTEMS), "compare.passes_to_95", "compare.mismatch",
         *(case.id for case in IMAGES))  # fmt: skip
QUICK = tuple(f"compare.{system.name}" for system in SYSTEMS)


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


def passes_to_reach(data: str, results: Iterable[Mapping[str, Any]]) -> Iterator[Row]:
    """Yield, for each rule whose mean accuracy reaches it, the fewest training passes among the budgets tried."""
    fewest: dict[str, Mapping[str, Any]] = {}
    for each in (each for result in results for each in result["rules"]):
        known = fewest.get(each["rule"])
        reached = each["accuracy"]["mean"] >= REACH
        if reached and (known is None or each["training_passes"] < known["training_passes"]):
            fewest[each["rule"]] = each
    for rule, each in fewest.items():
        beside = {"accuracy": each["accuracy"]["mean"], "hardware_h": each["hardware_h"]}
        name = f"compare.passes_to_95.{data}.{rule}"
        yield Row(name, each["training_passes"], None, None, len(each["runs"]), "passes", beside)


def of_mismatch(result: Mapping[str, Any]) -> Iterator[Row]:
    """Yield what each rule loses, in points, when its fibre is bent; local rules are to lose at most one."""
    n = len(result["seeds"])
    for each in result["disturbed"]:
        bend = each["disturbance"].partition("deformation ")[2].partition(")")[0]
        row = _points(f"compare.mismatch.bend{bend}.{each['rule']}", each["after_minus_before"], n)
        row = replace(row, baselines={"accuracy before": each["before"]})
        yield replace(row, aim=row.held_against(LOST)) if each["rule"] in LOCAL else row


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
        for data, (name, budgets) in BUDGETS.items():
            experiment, epochs = EXPERIMENTS / f"rules_{name}.yaml", ",".join(map(str, budgets))
            results = [compared(experiment, seeds, keep, *more) for more in ((), ("--epochs", epochs))]
            yield from passes_to_reach(data, results)
    if "compare.mismatch" in parts:
        yield from of_mismatch(compared(MISMATCH, seeds, keep))
    for case in IMAGES:
        if case.id in parts:
            yield from measure_case(case, seeds, Kept(keep), jobs=1)


def markdown(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the tables of the page on rules from the rows of the JSON by id, one for each system."""
    tables = [f"### {system.title}\n\n{table}" for system in SYSTEMS if (table := _table_of(system, rows))]
    return "\n\n".join([*tables, *_other_tables(rows)])


def _table_of(system: System, rows: Mapping[str, Mapping[str, Any]]) -> str:
    prefix = f"compare.{system.name}."
    rules = [
        name.removeprefix(prefix) for name, row in rows.items() if name.startswith(prefix) and row["unit"] == "share"
    ]
    if not rules:
        return ""
    first = rules[0]
    header = ["rule", "test accuracy, %", f"minus {first}, points", "training passes", "hardware time, h",
              "MACs of training", "arithmetic in all, J"]  # fmt: skip
    lines = [
        [
            f"`{rule}`",
            _cell(rows[prefix + rule], ".1f", 100),
            _cell(rows.get(f"{prefix}{rule}.minus_{first}"), "+.1f"),
            f"{rows[f'{prefix}{rule}.training_passes']['value']:,.0f}",
            f"{rows[f'{prefix}{rule}.hardware_h']['value']:.2g}",
            f"{rows[f'{prefix}{rule}.training_macs']['value']:.2g}",
            f"{rows[f'{prefix}{rule}.arithmetic_j']['value']:.2g}",
        ]
        for rule in rules
    ]
    seeds, linear = rows[prefix + first]["n"], rows[prefix + first]["baselines"].get("linear")
    beside = "" if linear is None else f" A linear model on the raw data: {100 * linear:.1f} %."
    return f"{_markdown_table(header, lines)}\n\nMeans over {seeds} seeds with 95 % intervals.{beside}"


def _other_tables(rows: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    named = {name: row for name, row in rows.items() if not any(name.startswith(f"{part}.") for part in QUICK)}
    if named:
        lines = [
            [
                f"`{name}`",
                _cell(row, *_FORMS.get(row["unit"], _PLAIN)),
                _unit(row["unit"]),
                _beside(row),
                _aim(row),
            ]
            for name, row in named.items()
        ]
        headings = ["row", "value", "in", "beside it", "to reach"]
        yield f"### Rows of their own\n\n{_markdown_table(headings, lines)}"


_FORMS: Mapping[str, tuple[str, float]] = {"share": (".1f", 100), "passes": (",.0f", 1)}
_PLAIN = ",.2f", 1.0
"""How numbers of a unit are written, and in how many parts of it."""


def _beside(row: Mapping[str, Any]) -> str:
    """Return what else is known of a row: shares, in %, and hours of hardware."""
    return ", ".join(
        f"{value:.2g} h" if name == "hardware_h" else f"{name} {100 * value:.1f} %"
        for name, value in row["baselines"].items()
    )


def _unit(unit: str) -> str:
    return "%" if unit == "share" else unit


def _aim(row: Mapping[str, Any]) -> str:
    if not row["aim"]:
        return ""
    aim, scale = harness.Aim(**row["aim"]), 100 if row["unit"] == "share" else 1
    return f"{aim.relation} {scale * aim.value:g}: {harness.in_words(aim)}"


def _cell(row: Mapping[str, Any] | None, form: str, scale: float = 1.0) -> str:
    if row is None:
        return ""
    value, low, high = (
        None if row[key] is None else format(scale * row[key], form) for key in ("value", "low", "high")
    )
    return f"{value}" if low is None or low == high else f"{value} ({low} to {high})"


def _markdown_table(headings: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [headings, ["---"] * len(headings), *lines])


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
    return of_optics or any(name == part or name.startswith(f"{part}.") for part in parts)


def main() -> None:
    """Run the command."""
    parser = harness.parser("Compare learning rules on simulated systems, with the same counters.")
    parser.add_argument("--rows", nargs="+", metavar="PART", choices=PARTS, help="only these")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep all runs there; repeat none")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="only print the tables of this JSON")
    arguments: Namespace = parser.parse_args()
    if arguments.markdown is not None:
        rows = json.loads(arguments.markdown.read_text(encoding="utf-8"))["rows"]
        print(markdown({row["id"]: row for row in rows}))
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
