"""A night alone: eight simulated hours with drift and random faults.

The quickstart's digits on the simulated cavity, physics alone, seven bursts to a pass: 18,000 passes of 1.65 simulated
seconds. A night's microphones drift, gains change for good three times, rows are clipped and lost, and the sound card
fails outright; a quiet night has the same seed and nothing of that. Memory is the resident set of the process.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks import recording
from benchmarks.harness import ROOT, Row, Target, over_draws, over_repeats
from benchmarks.wire_benches import LABCTL
from labctl.record.folder import LOG_NAME
from labctl.record.reader import LogReader

HOURS = Target(">=", 8.0)
LOST_POINTS = Target("<=", 1.0)
GROWTH_MB = Target("<=", 10.0)
POLL_S = 0.2

SETTINGS = {
    "network.blocks.0.skip": "false",
    "training.epochs": "30",
    "report.baselines": "[]",
    "drift": "{every: 500}",
}
FAULTS: dict[str, Any] = {
    "list": [
        {"kind": "xrun", "rate": 0.002},
        {"kind": "clipped", "rate": 0.001},
        {"kind": "error", "rows": [1500, 6000, 11000, 16000]},
    ],
    "disturbances": [
        {"kind": "gain", "row": 3000, "spread": 0.1},
        {"kind": "gain", "row": 7000, "spread": 0.1},
        {"kind": "gain", "row": 12000, "spread": 0.1},
    ],
}


@dataclass(frozen=True)
class Night:
    """What a run came to: accuracy in percent, simulated hours, its growth in memory, and what befell it."""

    accuracy: float
    hours: float
    growth_mb: float
    events: dict[str, float]


def measure(quick: bool) -> Iterator[Row]:
    """Yield the rows on nights, and on what their record costs."""
    yield recording.share(repeats=3 if quick else 9)
    nights: list[tuple[Night, Night]] = []
    for seed in range(1, 2 if quick else 4):
        with tempfile.TemporaryDirectory() as folder:
            nights.append((night(Path(folder), seed, quiet=True), night(Path(folder), seed, quiet=False)))
    yield from night_rows(nights)


def night_rows(nights: list[tuple[Night, Night]]) -> Iterator[Row]:
    """Yield the rows on pairs of a quiet night and one that is not."""
    wild = [each for _, each in nights]
    befell = {name: float(np.mean([each.events.get(name, 0) for each in wild])) for name in sorted(wild[0].events)}
    lost = over_draws("overnight.lost_points", [quiet.accuracy - each.accuracy for quiet, each in nights], "points",
                      {"quiet_accuracy": float(np.mean([quiet.accuracy for quiet, _ in nights]))})  # fmt: skip
    rows = (
        (over_repeats("overnight.completed_hours", [each.hours for each in wild], "simulated hours", befell), HOURS),
        (lost, LOST_POINTS),
        (over_repeats("overnight.memory_growth_mb", [each.growth_mb for each in wild], "MB"), GROWTH_MB),
    )
    for row, target in rows:
        yield replace(row, aim=row.held_against(target))


def night(folder: Path, seed: int, *, quiet: bool) -> Night:
    """Run a night by the command line. Raises `CalledProcessError` when it does not end by itself, finished."""
    rig: Any = yaml.safe_load((ROOT / "configs" / "rigs" / "sim_acoustic.yaml").read_text(encoding="utf-8"))
    rig["layers"]["cavity"]["averages"] = 7
    rig["recovery"] = {"pause": "10 ms", "attempts": 5}
    if not quiet:
        rig["instruments"]["interface"] |= {"drift": 0.02, "faults": {"seed": seed, **FAULTS}}
    name = "quiet" if quiet else "wild"
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(rig), encoding="utf-8")
    changes = [word for key, value in {**SETTINGS, "seed": str(seed)}.items() for word in ("--set", f"{key}={value}")]
    experiment = ROOT / "configs" / "experiments" / "quickstart.yaml"
    command = [*LABCTL, "run", str(experiment), "--rig", str(file), "--runs", str(folder / name), "--json", *changes]
    with (folder / "said.txt").open("w", encoding="utf-8") as said:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, text=True)
    sizes = _watched(process)
    out, _ = process.communicate()
    if process.returncode:
        print((folder / "said.txt").read_text(encoding="utf-8")[-2000:], file=sys.stderr)
        raise subprocess.CalledProcessError(process.returncode, command)
    result = json.loads(out)
    with LogReader(Path(result["run"]) / LOG_NAME) as reader:
        kinds = [event.kind for event in reader.events()]
        events = {
            "rejected": float(sum(reader.rejected().values())),
            "failures": float(kinds.count("going on")),
            "looks": float(kinds.count("drift")),
        }
    return Night(100 * result["accuracy"], result["hardware_s"] / 3600, growth(sizes), events)


def growth(sizes_mb: list[float]) -> float:
    """Return by how much the last tenth of `sizes_mb` is above those just before the middle."""
    n = len(sizes_mb)
    middle = sizes_mb[2 * n // 5 : n // 2] or sizes_mb[:1]
    return float(np.median(sizes_mb[-max(1, n // 10) :]) - np.median(middle))


def _watched(process: "subprocess.Popen[str]") -> list[float]:
    """Return the resident memory of a process in MB, again and again until its end; nothing where it cannot be read."""
    sizes: list[float] = []
    file = Path(f"/proc/{process.pid}/statm")
    page_mb = 1e-6 * (os.sysconf("SC_PAGE_SIZE") if sys.platform == "linux" else 0)
    while process.poll() is None:
        if page_mb:
            fields = file.read_text(encoding="ascii").split()
            sizes += [int(fields[1]) * page_mb] if int(fields[1]) else []
        time.sleep(POLL_S)
    return sizes or [0.0]
