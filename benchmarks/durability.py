"""What is left of a bench that nobody looks at: drift, runs that are killed, power cuts, disasters, nights.

Every subject is a file of its own. With `--rows` only these are measured; the others stay in FILE as they are.
"""

import json
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks import disasters, drift, harness, kills, overnight, powerloss, recording
from benchmarks.harness import Row

Measurement = Callable[[bool], Iterator[Row]]
"""Yields rows, fewer and from less when it is told to be quick."""


def subjects(qcodes: str | None = None) -> dict[str, Measurement]:
    """Return what can be measured, by the word before the first point of the rows' ids."""
    return {
        "drift": drift.measure,
        "kills": lambda quick: kills.measure(6 if quick else 200),
        "powerloss": powerloss.measure,
        "disasters": lambda _: disasters.measure(),
        "overnight": overnight.measure,
        "record": lambda quick: recording.measure(quick, qcodes),
    }


def measure(chosen: Mapping[str, Measurement], earlier: Sequence[Row], *, quick: bool) -> Iterator[Row]:
    """Yield rows measured `earlier` of other subjects, then those of `chosen` with the commit that measures them."""
    yield from (row for row in earlier if row.id.split(".")[0] not in chosen)
    for measurement in chosen.values():
        yield from (replace(row, commits=(harness.commit(),)) for row in measurement(quick))


def rows_in(file: Path | None) -> list[Row]:
    """Return the rows of a benchmark's JSON file, none when there is no such file."""
    if file is None or not file.exists():
        return []
    return [harness.row(row) for row in json.loads(file.read_text(encoding="utf-8"))["rows"]]


def main() -> None:
    """Run the command."""
    parser = harness.parser("Disturb, kill and starve runs on simulated benches, and see what is left.")
    parser.add_argument("--rows", nargs="+", metavar="SUBJECT", choices=list(subjects()), help="only these")
    parser.add_argument("--qcodes", metavar="PYTHON", help="interpreter that has QCoDeS, to measure it side by side")
    arguments: Namespace = parser.parse_args()
    chosen = {name: each for name, each in subjects(arguments.qcodes).items() if name in (arguments.rows or [name])}
    earlier = [] if arguments.rows is None else rows_in(arguments.json)
    harness.run(
        "durability",
        "low and high: see each subject's file",
        arguments,
        lambda quick: measure(chosen, earlier, quick=quick),
    )


if __name__ == "__main__":
    main()
