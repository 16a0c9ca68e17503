"""What labctl itself costs: a training step, a recorded row, a call of the command line.

A step is one sample's positive and negative pass through one block (20 inputs, 20 outputs, 20 units, schedule joint,
one inner step) on a layer that answers at once. Its time is wall time until every pass is durable on disk, less the
processor time the layer itself took.
"""

import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median

import numpy as np
from typing_extensions import override

from benchmarks import harness
from benchmarks.harness import Row, over_repeats
from labctl.config.network import Network as NetworkSettings
from labctl.config.training import PhyllTraining
from labctl.contract.layer import Drives, Responses, RowIds, Stop
from labctl.learning.offers import Offer
from labctl.learning.phyll import Phyll
from labctl.learning.requests import Measure, Requests
from labctl.learning.rule import Batch, Metrics, Surroundings
from labctl.monitor.progress import PlainMonitor, Progress
from labctl.network.network import Network, build_network
from labctl.orchestrator.acquisition import Acquisition
from labctl.orchestrator.plan import plan_run
from labctl.orchestrator.replay import RecordedRows
from labctl.orchestrator.schedules import Joint
from labctl.orchestrator.session import pinned_arithmetic
from labctl.orchestrator.training import Training
from labctl.record.passes import PassRows
from labctl.record.reader import LogReader
from labctl.record.writer import PassLog
from labctl.testing.layers import InstantLayer

SIZE = 20
"""Inputs, outputs and units of the block."""

CLASSES = 10
BLUESKY_EVENT_US = 1333.0
"""An event of bluesky's run engine as published: 750 events per second, to be had by `count` without subscribers."""

RECORDED_VALUES = 80
"""Drives of a recorded row, and responses."""

HELP_WITH_ARGPARSE = (
    "import argparse; p = argparse.ArgumentParser(prog='labctl'); p.add_argument('run'); p.print_help()"
)

_NETWORK = NetworkSettings.model_validate(
    {
        "label": {"kind": "one-hot"},
        "blocks": [
            {"layer": "instant", "encoder": {"kind": "fitted-range", "mix": "orthogonal"}, "skip": True, "units": SIZE}
        ],
    }
)
_TRAINING = PhyllTraining.model_validate(
    {"rule": "phyll", "schedule": "joint", "epochs": 1, "batch": 1, "inner_steps": 1}
)


class TimedLayer(InstantLayer):
    """Adds up the processor time it takes itself: whatever its caller makes it wait for is not in it."""

    own_s = 0.0

    def measure(self, drives: Drives, ids: RowIds, *, stop: Stop) -> Iterator[Responses]:
        """Answer as `InstantLayer` does, which has done all its work when this returns."""
        begin = time.thread_time()
        answer = super().measure(drives, ids, stop=stop)
        self.own_s += time.thread_time() - begin
        return answer


class Asking(Phyll):
    """Asks for what PhyLL asks for, always the same, and learns nothing."""

    def __init__(self, settings: PhyllTraining, network: Network, surroundings: Surroundings) -> None:
        super().__init__(settings, network, surroundings)
        self._labels = np.array([[0, 1]])
        self._inputs = network.label.embed(np.full((1, SIZE - CLASSES), 0.5, np.float32), self._labels)

    @override
    def step(self, batch: Batch, generator: np.random.Generator, progress: float, blocks: range) -> Requests[Metrics]:
        """Measure a positive and a negative pass."""
        yield Measure(0, self._inputs, batch.samples, self._labels, "train")
        return {}


def step_us(rule_of: Callable[[PhyllTraining, Network, Surroundings], Phyll], steps: int) -> tuple[float, float]:
    """Return the microseconds per step of a training of `steps`, all it takes included: labctl's and the layer's."""
    rng = np.random.default_rng(0)
    layer = TimedLayer(SIZE, SIZE)
    infos = [layer.info]
    network = build_network(_NETWORK, infos, n_features=SIZE - CLASSES, n_classes=CLASSES, seed=0, precision="float32")
    rule = rule_of(_TRAINING, network, Surroundings(0, infos, [Offer()]))
    monitor = PlainMonitor(
        Progress(plan_run("joint", rule, infos, steps, 1), rule.epochs, 0), lambda _: None, time.monotonic, float("inf")
    )
    with _pass_log() as log, LogReader(log.path) as reader, pinned_arithmetic():
        acquisition = Acquisition(
            network,
            infos,
            [layer],
            record=log,
            recorded=RecordedRows(reader, len(infos)),
            on_rows=monitor.rows_done,
        )
        training = Training(
            rule,
            Joint(acquisition),
            acquisition,
            features=rng.random((steps, SIZE - CLASSES), dtype=np.float32),
            labels=rng.integers(CLASSES, size=steps),
            samples=np.arange(steps),
            seed=0,
            stages=[range(1)],
            record=log,
            observer=monitor,
        )
        begin = time.perf_counter()
        training.run()
        log.flush()
        whole_s = time.perf_counter() - begin
    return (whole_s - layer.own_s) / steps * 1e6, layer.own_s / steps * 1e6


def bluesky_us(python: str, events: int) -> float:
    """Return the microseconds per event of bluesky's run engine, run by an interpreter that has it."""
    script = Path(__file__).with_name("bluesky_event.py")
    done = subprocess.run([python, str(script), str(events)], check=True, capture_output=True, text=True)
    return float(done.stdout)


def recorded_rows_per_s(rows: int, rows_per_chunk: int) -> float:
    """Return the rows per second that the pass log makes durable, handed over in chunks."""
    chunks = [chunk_of(first, rows_per_chunk) for first in range(0, rows, rows_per_chunk)]
    with _pass_log() as log:
        begin = time.perf_counter()
        for chunk in chunks:
            log.append(chunk)
        log.flush()
        return rows / (time.perf_counter() - begin)


def sqlite_rows_per_s(rows: int) -> float:
    """Return the rows per second of plain sqlite3 that commits each row before the next, as safely as the pass log."""
    chunk = chunk_of(0, rows)
    with scratch() as folder, closing(sqlite3.connect(folder / "rows.sqlite", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, drive BLOB, response BLOB)")
        begin = time.perf_counter()
        for number, drive, response in zip(chunk.ids.tolist(), chunk.drives, chunk.responses, strict=True):
            connection.execute("INSERT INTO rows VALUES (?, ?, ?)", (number, drive.tobytes(), response.tobytes()))
        return rows / (time.perf_counter() - begin)


def process_s(*command: str) -> float:
    """Return the seconds that a fresh process takes from its start to its end."""
    begin = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - begin


def step_rows(*, steps: int, repeats: int, bluesky: str | None) -> list[Row]:
    """Return the rows on the training step; what is compared is measured in turns."""
    asking: list[float] = []
    learning: list[float] = []
    layer: list[float] = []
    events: list[float] = []
    for _ in range(repeats):
        own_us, layer_us = step_us(Asking, steps)
        asking.append(own_us)
        layer.append(layer_us)
        learning.append(step_us(Phyll, steps)[0])
        if bluesky is not None:
            events.append(bluesky_us(bluesky, max(steps // 10, 1)))
    rivals = {"bluesky_event_us": median(events)} if events else {"bluesky_event_us_published": BLUESKY_EVENT_US}
    return [
        over_repeats("overhead.step_us", asking, "us", rivals),
        over_repeats("overhead.step_with_learning_us", learning, "us", rivals),
        over_repeats("overhead.instant_layer_us", layer, "us"),
    ]


def record_row(*, rows: int, repeats: int) -> Row:
    """Return the row on the pass log, fed with chunks of 100 rows; one commit per row is slow, so it gets fewer."""
    recorded: list[float] = []
    plain: list[float] = []
    for _ in range(repeats):
        recorded.append(recorded_rows_per_s(rows, 100))
        plain.append(sqlite_rows_per_s(max(rows // 100, 1)))
    return over_repeats(
        "overhead.durable_rows_per_s", recorded, "rows/s", {"sqlite3_commit_per_row_rows_per_s": median(plain)}
    )


def help_row(*, repeats: int) -> Row:
    """Return the row on `labctl --help`, beside an empty Python and one that parses with argparse alone."""
    labctl = shutil.which("labctl", path=str(Path(sys.executable).parent)) or "labctl"
    commands = {
        "help": (labctl, "--help"),
        "python_pass_s": (sys.executable, "-c", "pass"),
        "python_argparse_s": (sys.executable, "-c", HELP_WITH_ARGPARSE),
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(repeats):
        for name, command in commands.items():
            times[name].append(process_s(*command))
    helped = times.pop("help")
    return over_repeats("overhead.help_s", helped, "s", {name: median(values) for name, values in times.items()})


def measure(*, quick: bool, bluesky: str | None) -> list[Row]:
    """Return all rows."""
    return [
        *step_rows(steps=2_000 if quick else 10_000, repeats=7 if quick else 15, bluesky=bluesky),
        record_row(rows=20_000 if quick else 50_000, repeats=5 if quick else 15),
        help_row(repeats=20),
    ]


def chunk_of(first_id: int, n: int) -> PassRows:
    """Return `n` rows from `first_id` on, of 80 numbers drawn for drive and response each."""
    values = np.random.default_rng(first_id).random((2, n, RECORDED_VALUES), dtype=np.float32)
    return PassRows(
        ids=np.arange(first_id, first_id + n),
        repeat=0,
        step=0,
        block=0,
        purpose="train",
        samples=np.arange(n),
        labels=np.zeros(n, np.int64),
        layer="instant",
        state_id="benchmark",
        status=np.zeros(n, np.uint8),
        time_s=np.full(n, time.time()),
        drives=values[0],
        responses=values[1],
    )


@contextmanager
def _pass_log() -> Generator[PassLog]:
    with scratch() as folder, PassLog.create(folder / "passes.sqlite", {"schema": "benchmark"}) as log:
        yield log


@contextmanager
def scratch() -> Generator[Path]:
    """Give a folder on the disk of the checkout: a temporary folder may be in memory, where nothing is durable."""
    with tempfile.TemporaryDirectory(dir=harness.ROOT / "benchmarks", prefix=".scratch-") as folder:
        yield Path(folder)


def main() -> None:
    """Run the command."""
    parser = harness.parser("Measure what labctl itself costs.")
    parser.add_argument(
        "--bluesky", metavar="PYTHON", help="interpreter that has bluesky, to measure its events side by side"
    )
    arguments: Namespace = parser.parse_args()
    harness.run(
        "overhead",
        "medians, low and high are the extremes over repeats",
        arguments,
        lambda quick: measure(quick=quick, bluesky=arguments.bluesky),
    )


if __name__ == "__main__":
    main()
