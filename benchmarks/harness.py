"""What every benchmark shares: its arguments, its rows, the table for people and the JSON for the record."""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from math import sqrt
from pathlib import Path
from typing import Any, Literal

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("LABCTL_DATA", ROOT.parent / "shared" / "data"))
"""Folder of the data files."""


Relation = Literal[">=", ">", "<="]


@dataclass(frozen=True)
class Target:
    """What a figure is to reach, in its own unit."""

    relation: Relation
    value: float

    def met_by(self, figure: float) -> bool:
        """Return whether a figure reaches it."""
        return {">=": figure >= self.value, ">": figure > self.value, "<=": figure <= self.value}[self.relation]


@dataclass(frozen=True)
class Aim(Target):
    """A target, whether the value reaches it, and whether the whole spread does, None where there is no spread."""

    reached: bool
    spread_reached: bool | None


@dataclass(frozen=True)
class Row:
    """One figure: `value` with its spread `low` to `high` over `n`, and what it is compared with, in the same unit.

    A single value may have no spread. `commits` are those of the code that measured it, where that was done earlier.
    """

    id: str
    value: float
    low: float | None
    high: float | None
    n: int
    unit: str
    baselines: Mapping[str, float] = field(default_factory=dict[str, float])
    aim: Aim | None = None
    commits: tuple[str, ...] = ()

    def held_against(self, target: Target) -> Aim:
        """Return whether the row reaches `target`."""
        worst = self.high if target.relation == "<=" else self.low
        spread_reached = None if worst is None else target.met_by(worst)
        return Aim(target.relation, target.value, target.met_by(self.value), spread_reached)


def over_repeats(row_id: str, values: Sequence[float], unit: str, baselines: Mapping[str, float] | None = None) -> Row:
    """Return the row of repeated measurements: their median, smallest and largest."""
    return Row(row_id, float(np.median(values)), min(values), max(values), len(values), unit, baselines or {})


def over_draws(row_id: str, values: Sequence[float], unit: str, baselines: Mapping[str, float] | None = None) -> Row:
    """Return the row of a mean over random draws with its 95 % interval by Student's t, which takes two of them."""
    from scipy.stats import t

    mean, n = float(np.mean(values)), len(values)
    if n == 1:
        return Row(row_id, mean, None, None, n, unit, baselines or {})
    half = float(t.ppf(0.975, n - 1)) * float(np.std(values, ddof=1)) / sqrt(n)
    return Row(row_id, mean, mean - half, mean + half, n, unit, baselines or {})


def run_experiment(experiment: Path, runs: Path, overrides: Iterable[str] = ()) -> tuple[dict[str, Any], float]:
    """Run an experiment file as a user types it; return what `labctl run --json` prints and the seconds it takes."""
    labctl = shutil.which("labctl", path=str(Path(sys.executable).parent)) or "labctl"
    changes = [argument for override in overrides for argument in ("--set", override)]
    command = [labctl, "run", str(experiment), "--runs", str(runs), "--json", *changes]
    begin = time.perf_counter()
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout), time.perf_counter() - begin


def parser(description: str) -> argparse.ArgumentParser:
    """Return a parser of the arguments every benchmark takes: `--quick` (the default) or `--full`, and `--json`."""
    arguments = argparse.ArgumentParser(description=description)
    length = arguments.add_mutually_exclusive_group()
    length.add_argument("--quick", action="store_true", default=True, help="take about a minute (the default)")
    length.add_argument("--full", action="store_false", dest="quick", help="take as long as a good figure needs")
    arguments.add_argument("--json", type=Path, metavar="FILE", help="write the rows there as well")
    return arguments


def run(name: str, spread: str, arguments: argparse.Namespace, measure: Callable[[bool], Iterable[Row]]) -> None:
    """Measure, write the JSON after every row and print the table; `spread` says in words what low and high are."""
    load = _load()
    rows: list[Row] = []
    for row in measure(arguments.quick):
        rows.append(row)
        if arguments.json is not None:
            arguments.json.write_text(as_json(name, rows, quick=arguments.quick), encoding="utf-8")
    print(
        f"{name} at {commit()}, {'quick' if arguments.quick else 'full'}; {spread}; load {load} before, {_load()} after"
    )
    print(table(rows))


def table(rows: Sequence[Row]) -> str:
    """Return the rows as text, each baseline on a line below its row, and what was to be reached."""
    lines = [f"{'':<42}{'value':>12}{'low':>12}{'high':>12}{'n':>7}  unit"]
    for row in rows:
        low, high = ("" if bound is None else f"{bound:.4g}" for bound in (row.low, row.high))
        lines.append(f"{row.id:<42}{row.value:>12.4g}{low:>12}{high:>12}{row.n:>7}  {row.unit}")
        lines += [f"  {name:<40}{value:>12.4g}" for name, value in row.baselines.items()]
        if row.aim is not None:
            lines.append(f"  to reach: {row.aim.relation} {row.aim.value:g}, {in_words(row.aim)}")
    return "\n".join(lines)


def in_words(aim: Aim) -> str:
    """Return whether a target was reached."""
    if not aim.reached:
        return "not reached"
    return {True: "reached, by the whole interval", False: "reached, but not by the whole interval", None: "reached"}[
        aim.spread_reached
    ]


def as_json(name: str, rows: Sequence[Row], *, quick: bool) -> str:
    """Return a benchmark's result as the text of its JSON file."""
    result = {"benchmark": name, "commit": commit(), "quick": quick, "rows": [asdict(row) for row in rows]}
    return json.dumps(result, indent=2) + "\n"


def row(written: Mapping[str, Any]) -> Row:
    """Return a row as it is written in the JSON."""
    aim = None if written["aim"] is None else Aim(**written["aim"])
    return replace(Row(**written), aim=aim, commits=tuple(written["commits"]))


def commit() -> str:
    """Return the checkout's commit, with a `+` when files differ from it, or `unknown` outside git."""
    try:
        head = _git("rev-parse", "HEAD")
        return head + ("+" if _git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*arguments: str) -> str:
    command = ["git", "--no-optional-locks", "-C", str(ROOT), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _load() -> str:
    """Return how many processes wanted a processor over the last minute, and how many processors there are."""
    wanted = "?" if sys.platform == "win32" else f"{os.getloadavg()[0]:.1f}"
    return f"{wanted} on {os.cpu_count()} processors"
