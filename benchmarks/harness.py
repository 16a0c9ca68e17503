"""What every benchmark shares: its arguments, its rows, the table for people and the JSON for the record."""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("LABCTL_DATA", ROOT.parent / "shared" / "data"))
"""Folder of the data files."""


@dataclass(frozen=True)
class Row:
    """One figure: `value` with its spread `low` to `high` over `n`, and what it is compared with, in the same unit."""

    id: str
    value: float
    low: float
    high: float
    n: int
    unit: str
    baselines: Mapping[str, float] = field(default_factory=dict[str, float])


def over_repeats(id: str, values: Sequence[float], unit: str, baselines: Mapping[str, float] | None = None) -> Row:  # noqa: A002 - the key's name in the JSON
    """Return the row of repeated measurements: their median, smallest and largest."""
    return Row(id, float(np.median(values)), min(values), max(values), len(values), unit, baselines or {})


def parser(description: str) -> argparse.ArgumentParser:
    """Return a parser of the arguments every benchmark takes: `--quick` (the default) or `--full`, and `--json`."""
    arguments = argparse.ArgumentParser(description=description)
    length = arguments.add_mutually_exclusive_group()
    length.add_argument("--quick", action="store_true", default=True, help="take about a minute (the default)")
    length.add_argument("--full", action="store_false", dest="quick", help="take as long as a good figure needs")
    arguments.add_argument("--json", type=Path, metavar="FILE", help="write the rows there as well")
    return arguments


def run(name: str, spread: str, arguments: argparse.Namespace, measure: Callable[[bool], list[Row]]) -> None:
    """Measure, print the table and write the JSON; `spread` says in words what low and high are."""
    load = _load()
    rows = measure(arguments.quick)
    print(
        f"{name} at {commit()}, {'quick' if arguments.quick else 'full'}; {spread}; load {load} before, {_load()} after"
    )
    print(table(rows))
    if arguments.json is not None:
        arguments.json.write_text(as_json(name, rows, quick=arguments.quick), encoding="utf-8")


def table(rows: Sequence[Row]) -> str:
    """Return the rows as text, each baseline on a line below its row."""
    lines = [f"{'':<36}{'value':>12}{'low':>12}{'high':>12}{'n':>7}  unit"]
    for row in rows:
        lines.append(f"{row.id:<36}{row.value:>12.4g}{row.low:>12.4g}{row.high:>12.4g}{row.n:>7}  {row.unit}")
        lines += [f"  {name:<34}{value:>12.4g}" for name, value in row.baselines.items()]
    return "\n".join(lines)


def as_json(name: str, rows: Sequence[Row], *, quick: bool) -> str:
    """Return a benchmark's result as the text of its JSON file."""
    result = {"benchmark": name, "commit": commit(), "quick": quick, "rows": [asdict(row) for row in rows]}
    return json.dumps(result, indent=2) + "\n"


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
