"""`kill -9` at chosen moments of runs on virtual instruments, and what is on record afterwards.

A run is killed and resumed at one moment after the other: in a pass (burst, sweep, exposure), in the commit that makes
passes durable, in that of a checkpoint, and while the finished run is exported. What is on record at a death, read from
a copy, has to be there in the end, unchanged and measured once; `labctl runs verify` has to agree.
"""

import random
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from benchmarks import wire_benches
from benchmarks.harness import Row, Target
from benchmarks.wire_benches import EPOCHS, LABCTL, LABELS, SAMPLES, SYSTEMS, TEST_SHARE, System
from labctl.contract.errors import LabctlError
from labctl.contract.layer import RowStatus
from labctl.record.folder import LOG_NAME
from labctl.record.reader import LogReader

NONE = Target("<=", 0)
PATIENCE_S = 300.0
POLL_S = 0.0005
EXPORT_S = 0.8
"""About how long a run takes from its last test pass to its end."""

TEST_PASSES = round(SAMPLES * TEST_SHARE) * LABELS
TRAINING_PASSES = SAMPLES * LABELS - TEST_PASSES

Key = tuple[int, int]
"""Id and repeat of a pass."""

Rows = Mapping[Key, tuple[float, int, bytes, bytes]]
"""Time, status, drive and response of passes."""


@dataclass(frozen=True)
class Moment:
    """A moment of a run: when `reached` says so, and up to `later_s` after it; `on_write` waits for the next commit."""

    kind: str
    reached: Callable[[Path], bool]
    later_s: float
    on_write: bool = False


@dataclass
class Toll:
    """What killing did: deaths by kind of moment, passes lost or changed, passes measured twice, runs that fail."""

    deaths: dict[str, int] = field(default_factory=dict[str, int])
    recorded: int = 0
    lost: int = 0
    repeated: int = 0
    runs: int = 0
    verify_failed: int = 0

    def __iadd__(self, other: "Toll") -> "Toll":
        """Add what was done elsewhere."""
        self.deaths = dict(Counter(self.deaths) + Counter(other.deaths))
        self.recorded += other.recorded
        self.lost += other.lost
        self.repeated += other.repeated
        self.runs += other.runs
        self.verify_failed += other.verify_failed
        return self


def measure(n: int, *, seed: int = 0) -> Iterator[Row]:
    """Yield what `n` deaths on the three systems did, which go on at the same time."""
    shares = [n // len(SYSTEMS) + (number < n % len(SYSTEMS)) for number in range(len(SYSTEMS))]
    toll = Toll()
    with ThreadPoolExecutor() as pool:
        for each in pool.map(partial(tolled, seed), SYSTEMS, shares):
            toll += each
    yield from rows(toll)


def tolled(seed: int, system: System, n: int) -> Toll:
    """Return what `n` deaths on one system did."""
    toll = Toll()
    with tempfile.TemporaryDirectory() as folder, wire_benches.on_the_wire(system, Path(folder)):
        kill(system, Path(folder), n, random.Random(f"{system.name} {seed}"), toll)
    return toll


def rows(toll: Toll) -> Iterator[Row]:
    """Yield the rows on what killing did."""
    deaths = sum(toll.deaths.values())
    yield Row("kills", deaths, None, None, toll.runs, "deaths", {k: float(v) for k, v in sorted(toll.deaths.items())})
    for name, count, n, unit in (
        ("lost_passes", toll.lost, toll.recorded, "passes"),
        ("repeated_passes", toll.repeated, toll.recorded, "passes"),
        ("verify_failed", toll.verify_failed, toll.runs, "runs"),
    ):
        row = Row(f"kills.{name}", count, None, None, n, unit)
        yield replace(row, aim=row.held_against(NONE))


def moments(system: System, rng: random.Random) -> list[Moment]:
    """Return moments of a run, from its beginning to its end."""
    passes = sorted(rng.uniform(0.05, 0.9) * TRAINING_PASSES for _ in range(2))
    epoch, tested = rng.uniform(0, 0.9) * EPOCHS, rng.uniform(0.1, 0.9) * TEST_PASSES
    return [
        Moment(system.does, lambda run: trained(run) >= passes[0], 2 * system.pass_s),
        Moment("commit", lambda run: trained(run) >= passes[1], 0.001, on_write=True),
        Moment("checkpoint", lambda run: epochs(run) >= epoch, 0.002, on_write=True),
        Moment(system.does, lambda run: tests(run) >= tested, 2 * system.pass_s),
        Moment("export", lambda run: tests(run) >= TEST_PASSES, EXPORT_S),
    ]


def kill(system: System, folder: Path, n: int, rng: random.Random, toll: Toll) -> None:
    """Kill runs in `folder` until `n` have died; take each to its end and add to `toll` what is on record."""
    died = 0
    while died < n:
        for each in folder.glob("runs/*"):
            shutil.rmtree(each)
        at_deaths: list[Rows] = []
        for moment in moments(system, rng)[: n - died]:
            process = go_on(folder)
            if not dies(process, folder, moment, rng):
                continue  # the run was over before
            died += 1
            toll.deaths[moment.kind] = toll.deaths.get(moment.kind, 0) + 1
            at_deaths.append(on_record(folder))
        code = go_on(folder).wait(PATIENCE_S)
        judge(folder, code, at_deaths, toll)


def go_on(folder: Path) -> "subprocess.Popen[str]":
    """Begin the run in `folder`, or go on with it."""
    if wire_benches.newest_run(folder) is None:
        return wire_benches.start(folder, "run", "wine.yaml")
    return wire_benches.start(folder, "resume", "latest")


def dies(process: "subprocess.Popen[str]", folder: Path, moment: Moment, rng: random.Random) -> bool:
    """Kill a run at a moment; return False when it ends before."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not (run := wire_benches.newest_run(folder)) or not _quietly(moment.reached, run):
        if process.poll() is not None:
            if process.returncode:
                raise RuntimeError((folder / "said.txt").read_text(encoding="utf-8")[-2000:])
            return False
        if time.monotonic() > deadline_s:
            process.kill()
            raise TimeoutError(f"the moment of {moment.kind} did not come")
        time.sleep(0.005)
    if moment.on_write:
        _wait_for_write(run, process)
    time.sleep(rng.uniform(0, moment.later_s))
    process.kill()
    return process.wait() < 0


def judge(folder: Path, code: int, at_deaths: Iterable[Rows], toll: Toll) -> None:
    """Compare what was on record with what is in the end."""
    final = on_record(folder)
    toll.runs += 1
    toll.recorded += len(final)
    toll.lost += lost(at_deaths, final)
    toll.repeated += repeated(final)
    verify = [*LABCTL, "runs", "verify", "latest"]
    said = subprocess.run(verify, cwd=folder, check=False, capture_output=True, text=True).stdout
    toll.verify_failed += code != 0 or "equal bit for bit, test scores too" not in said


def lost(at_deaths: Iterable[Rows], final: Rows) -> int:
    """Return how many passes of any death are gone in the end, or not what they were."""
    return len({key for rows in at_deaths for key, row in rows.items() if final.get(key) != row})


def repeated(final: Rows) -> int:
    """Return how many passes are recorded again after a good one of the same id."""
    good = {row_id: repeat for (row_id, repeat), row in sorted(final.items(), reverse=True) if row[1] == RowStatus.OK}
    return sum(repeat > good[row_id] for row_id, repeat in final if row_id in good)


def on_record(folder: Path) -> Rows:
    """Return the passes of the run in `folder`, read from a copy; none when there is no run yet."""
    run = wire_benches.newest_run(folder)
    if run is None:
        return {}
    with tempfile.TemporaryDirectory() as copy:
        for file in run.glob(f"{LOG_NAME}*"):
            shutil.copy(file, copy)
        with LogReader(Path(copy, LOG_NAME)) as reader:
            return {
                (int(part.ids[row]), int(part.repeats[row])): (
                    float(part.time_s[row]),
                    int(part.status[row]),
                    part.drives[row].tobytes(),
                    part.values[row].tobytes(),
                )
                for part in reader.passes()
                for row in range(len(part))
            }


def trained(run: Path) -> int:
    """Return how many passes of training are on record."""
    with LogReader(run / LOG_NAME) as reader:
        counts = reader.count_by_purpose()
        return sum(counts.values()) - counts.get("test", 0)


def tests(run: Path) -> int:
    """Return how many passes of the test are on record."""
    with LogReader(run / LOG_NAME) as reader:
        return reader.count_by_purpose().get("test", 0)


def epochs(run: Path) -> float:
    """Return the epoch of the last checkpoint, less than 0 before the first pass of training is learnt from."""
    with LogReader(run / LOG_NAME) as reader:
        step = reader.last_step()
        return -1 if step is None else step.epoch


def _quietly(reached: Callable[[Path], bool], run: Path) -> bool:
    try:
        return reached(run)
    except LabctlError:  # the log is about to appear, or to become one file
        return False


def _wait_for_write(run: Path, process: "subprocess.Popen[str]") -> None:
    """Return as soon as the write-ahead log changes."""
    log = run / f"{LOG_NAME}-wal"

    def state() -> tuple[int, int]:
        try:
            found = log.stat()
        except FileNotFoundError:
            return 0, 0
        return found.st_size, found.st_mtime_ns

    before = state()
    while state() == before and process.poll() is None:
        time.sleep(POLL_S)
