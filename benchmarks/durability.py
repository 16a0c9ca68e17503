"""What is left of a bench that nobody looks at: runs that are killed, drift.

Every subject is a file of its own. With `--rows` only these are measured; the others stay in FILE as they are.
"""

import json
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks import drift, harness, kills, powerloss
from benchmarks.harness import Row

SUBJECTS: Mapping[str, Callable[[bool], Iterator[Row]]] = {
    "drift": drift.measure,
    "kills": lambda quick: kills.measure(6 if quick else 200),
    "powerloss": powerloss.measure,
}
"""Rows by the word before the first point of their id."""


def measure(subjects: Sequence[str], earlier: Sequence[Row], *, quick: bool) -> Iterator[Row]:
    """Yield rows measured `earlier` of other subjects, then those of `subjects` with the commit that measures them."""
    yield from (row for row in earlier if row.id.split(".")[0] not in subjects)
    for subject in subjects:
        yield from (replace(row, commits=(harness.commit(),)) for row in SUBJECTS[subject](quick))


def rows_in(file: Path | None) -> list[Row]:
    """Return the rows of a benchmark's JSON file, none when there is no such file."""
    if file is None or not file.exists():
        return []
    return [harness.row(row) for row in json.loads(file.read_text(encoding="utf-8"))["rows"]]


def main() -> None:
    """Run the command."""
    parser = harness.parser("Disturb, kill and starve runs on simulated benches, and see what is left.")
    parser.add_argument("--rows", nargs="+", metavar="SUBJECT", choices=SUBJECTS, help="only these")
    arguments: Namespace = parser.parse_args()
    earlier = [] if arguments.rows is None else rows_in(arguments.json)
    harness.run(
        "durability",
        "low and high: see each subject's file",
        arguments,
        lambda quick: measure(arguments.rows or list(SUBJECTS), earlier, quick=quick),
    )


if __name__ == "__main__":
    main()
