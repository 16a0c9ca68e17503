"""What it costs to record a pass, and how many durable rows per second there are beside QCoDeS'.

Medians over repeats, low and high are the extremes. QCoDeS runs in an interpreter of its own (`--qcodes PYTHON`).
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks import overhead
from benchmarks.harness import Row, Target, over_repeats
from labctl.record.writer import PassLog

SHARE = Target("<=", 0.05)
TIMES_QCODES = Target(">=", 3.0)
PASS_S = 0.05


def measure(quick: bool, qcodes: str | None) -> Iterator[Row]:
    """Yield the row beside QCoDeS; none, and why, without an interpreter that has it."""
    if qcodes is None:
        print("record.x_qcodes: left out, as no interpreter with QCoDeS is given (--qcodes PYTHON)", file=sys.stderr)
    else:
        yield x_qcodes(qcodes, rows=2_000 if quick else 10_000, repeats=3 if quick else 9)


def share(*, repeats: int, rows: int = 2_000) -> Row:
    """Return the processor time that recording takes, writer thread included, as a share of passes of 50 ms.

    Rows are handed over one by one.
    """
    shares: list[float] = []
    for _ in range(repeats):
        chunks = [overhead.chunk_of(number, 1) for number in range(rows)]
        with overhead.scratch() as folder, PassLog.create(folder / "passes.sqlite", {}) as log:
            begin_s = time.process_time()
            for chunk in chunks:
                log.append(chunk)
            log.flush()
            shares.append((time.process_time() - begin_s) / rows / PASS_S)
    row = over_repeats("overnight.record_share", shares, "of a 50 ms pass")
    return replace(row, aim=row.held_against(SHARE))


def x_qcodes(python: str, *, rows: int, repeats: int) -> Row:
    """Return how many times as many rows per second labctl makes durable as QCoDeS does, measured in turns.

    Both are handed one row after the other and commit every 0.2 s.
    """
    ours: list[float] = []
    theirs: list[float] = []
    script = Path(__file__).with_name("qcodes_rows.py")
    for _ in range(repeats):
        ours.append(overhead.recorded_rows_per_s(rows, 1))
        with overhead.scratch() as folder:
            command = [python, str(script), str(rows), str(folder)]
            done = subprocess.run(command, check=True, capture_output=True, text=True, env=_bare())
        theirs.append(float(done.stdout.split()[-1]))
    times = [our / their for our, their in zip(ours, theirs, strict=True)]
    rates = {"labctl_rows_per_s": float(np.median(ours)), "qcodes_rows_per_s": float(np.median(theirs))}
    row = over_repeats("record.x_qcodes", times, "times QCoDeS' durable rows per second", rates)
    return replace(row, aim=row.held_against(TIMES_QCODES))


def _bare() -> dict[str, str]:
    """Return the environment without what belongs to this interpreter."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
