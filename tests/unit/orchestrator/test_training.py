"""Training: every sample once per epoch, repeatable by seed, and the same whether interrupted or not."""

import itertools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from labctl.contract.errors import InstrumentError
from labctl.contract.layer import Drives, PhysicalLayer, Responses, RowIds, Stop
from labctl.data.shifts import Shifts
from labctl.learning.phyll import Phyll
from labctl.learning.requests import Requests
from labctl.learning.rule import Batch, Metrics, Surroundings
from labctl.orchestrator import training
from labctl.orchestrator.acquisition import Acquisition
from labctl.orchestrator.assembly import Bench, Task
from labctl.orchestrator.counters import Counters
from labctl.orchestrator.evaluation import score_samples
from labctl.orchestrator.plan import plan_run
from labctl.orchestrator.session import make_training, restore, train_and_test
from labctl.orchestrator.stopping import Stopped
from labctl.record.reader import Checkpoint, LogReader
from labctl.record.writer import PassLog
from labctl.testing.layers import InstantLayer
from tests.unit.orchestrator.monitors import Silent

MakeTask = Callable[..., Task]
MakeBench = Callable[[Sequence[PhysicalLayer]], Bench]
Arrays = Mapping[str, NDArray[Any]]

KINDS = [
    {"schedule": schedule, "rule": rule} | ({"epochs": 3, "batch": 7} if rule == "phyll" else {})
    for schedule in ("joint", "cached")
    for rule in ("phyll", "readout")
] + [
    {"schedule": "greedy", "rule": "phyll", "epochs": 3, "batch": 7},
    {"schedule": "cached", "rule": "phyll", "epochs": 3, "batch": 7, "loss": "softmax", "hardness": 0.5},
    {"schedule": "cached", "rule": "phyll", "epochs": 3, "batch": 7, "reads": 3},
    {"schedule": "joint", "rule": "phyll", "epochs": 3, "batch": 7, "arithmetic": "fused"},
]


class Guarded(InstantLayer):
    """Remembers whether it was left safe, and can break after some rows."""

    def __init__(self, breaks_after: int | None = None) -> None:
        super().__init__(8, 6)
        self.safe = 0
        self._left = breaks_after

    def measure(self, drives: Drives, ids: RowIds, *, stop: Stop) -> Iterator[Responses]:
        """Measure row by row."""
        for row in range(len(ids)):
            if self._left == 0:
                raise InstrumentError("amplifier", "does not answer")
            if self._left is not None:
                self._left -= 1
            yield from super().measure(drives[row : row + 1], ids[row : row + 1], stop=stop)

    def make_safe(self) -> None:
        """Count."""
        self.safe += 1


class Noting(Silent):
    """A monitor that notes what it is told, and may ask to stop after some rows."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.stop = threading.Event()
        self.epochs: list[int] = []
        self.tests = 0
        self._stop_after = stop_after

    def rows_done(self, counters: Counters) -> None:
        """Stop when it is time."""
        if self._stop_after is not None and counters.sent >= self._stop_after:
            self.stop.set()

    def epoch_done(self, epoch: int, metrics: Metrics) -> None:
        """Note the epoch."""
        self.epochs.append(epoch)

    def test_begins(self) -> None:
        """Note it."""
        self.tests += 1


class Watched(Phyll):
    """PhyLL that notes its batches."""

    def watch(self) -> list[tuple[Batch, float]]:
        """Return the list that batches and progress will be added to."""
        self.batches: list[tuple[Batch, float]] = []
        return self.batches

    def step(self, batch: Batch, generator: np.random.Generator, progress: float, blocks: range) -> Requests[Metrics]:
        """Note the batch."""
        self.batches.append((batch, progress))
        return (yield from super().step(batch, generator, progress, blocks))


def same(first: Arrays, second: Arrays) -> bool:
    return first.keys() == second.keys() and all(
        array.dtype == second[name].dtype and array.tobytes() == second[name].tobytes() for name, array in first.items()
    )


def trained(make_task: MakeTask, layers: Sequence[PhysicalLayer], **settings: Any) -> Arrays:
    task = make_task(layers, **settings)
    acquisition = Acquisition(task.rule.network, task.infos, layers)
    make_training(task, task.schedule(acquisition), acquisition).run()
    return task.rule.arrays()


@pytest.mark.parametrize("batch", [1, 7, 18, 100])
def test_an_epoch_shows_every_training_sample_once_in_an_order_of_its_own(make_task: MakeTask, batch: int) -> None:
    layer = InstantLayer(8, 6)
    task = make_task([layer], batch=batch)
    settings = task.experiment.training
    assert settings.rule == "phyll"
    learner = Watched(settings, task.rule.network, Surroundings(1, task.infos, task.offers))
    seen = learner.watch()
    task = replace(task, rule=learner)
    acquisition = Acquisition(learner.network, task.infos, [layer])
    make_training(task, task.schedule(acquisition), acquisition).run()
    sizes = [len(part.samples) for part, _ in seen]
    per_epoch = -(-18 // batch)
    assert sizes == ([batch] * (18 // batch) + [18 % batch] * (18 % batch > 0)) * 3
    assert acquisition.step == len(seen) == 3 * per_epoch
    orders: set[tuple[int, ...]] = set()
    for epoch in range(3):
        parts = [part for part, _ in seen[epoch * per_epoch : (epoch + 1) * per_epoch]]
        samples = np.concatenate([part.samples for part in parts])
        assert sorted(samples.tolist()) == task.data.train_index.tolist()
        orders.add(tuple(samples.tolist()))
        for part in parts:
            assert np.array_equal(part.features, task.features[part.samples])
            position = np.searchsorted(task.data.train_index, part.samples)
            assert np.array_equal(part.labels, task.data.train_y[position])
    assert len(orders) == 3
    progress = [share for _, share in seen]
    assert progress[0] == 0
    assert all(earlier < later < 1 for earlier, later in itertools.pairwise(progress))


@pytest.mark.parametrize("settings", KINDS)
def test_training_follows_its_seed(make_task: MakeTask, settings: dict[str, Any]) -> None:
    layers = [InstantLayer(8, 6), InstantLayer(8, 6, seed=1, name="second")]
    first = trained(make_task, layers, **settings)
    assert same(first, trained(make_task, layers, **settings))
    assert not same(first, trained(make_task, layers, seed=2, **settings))


def test_shifted_images_are_drawn_by_the_seed(make_task: MakeTask) -> None:
    layers = [InstantLayer(8, 6)]

    def shifted() -> Arrays:
        task = replace(make_task(layers, schedule="joint"), shifts=Shifts(1, (1, 3)))
        acquisition = Acquisition(task.rule.network, task.infos, layers)
        make_training(task, task.schedule(acquisition), acquisition).run()
        return task.rule.arrays()

    assert same(shifted(), shifted())
    assert not same(shifted(), trained(make_task, layers, schedule="joint"))


class Kept:
    """A record that keeps every checkpoint, and nothing else."""

    def __init__(self) -> None:
        self.checkpoints: list[Checkpoint] = []

    def append_step(self, step: int, epoch: int, metrics: Mapping[str, float]) -> None:
        """Forget it."""

    def append_event(self, kind: str, detail: object) -> None:
        """Forget it."""

    def append_checkpoint(self, epoch: int, next_id: int, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Keep a copy: the learner goes on changing its own."""
        self.checkpoints.append(Checkpoint(epoch, next_id, 0.0, {name: array.copy() for name, array in arrays.items()}))


@pytest.mark.parametrize("blocks", [1, 2])
@pytest.mark.parametrize("settings", KINDS)
def test_training_goes_on_from_every_checkpoint_to_the_same_bits(
    make_task: MakeTask, make_bench: MakeBench, log: PassLog, settings: dict[str, Any], blocks: int
) -> None:
    layers = [InstantLayer(8, 6), InstantLayer(8, 6, seed=1, name="second")][:blocks]
    whole = make_task(layers, **settings)
    train_and_test(whole, make_bench(layers), log, Silent(), threading.Event())
    log.flush()
    assert same(whole.rule.arrays(), trained(make_task, layers, **settings))
    kept = Kept()
    again = make_task(layers, **settings)
    acquisition = Acquisition(again.rule.network, again.infos, layers)
    make_training(again, again.schedule(acquisition), acquisition, record=kept).run()
    with LogReader(log.path) as reader:
        for epoch, checkpoint in enumerate(kept.checkpoints, start=1):
            task = make_task(layers, **settings)
            acquisition = Acquisition(task.rule.network, task.infos, layers, first_id=checkpoint.next_id)
            schedule = task.schedule(acquisition)
            restore(task, schedule, checkpoint, reader)
            make_training(task, schedule, acquisition).run(epoch)
            assert same(task.rule.arrays(), whole.rule.arrays()), epoch
    assert [checkpoint.epoch for checkpoint in kept.checkpoints] == list(range(1, whole.epochs + 1))


@pytest.mark.parametrize("blocks", [1, 2])
@pytest.mark.parametrize("settings", KINDS)
def test_a_run_stopped_over_and_over_ends_like_one_that_never_was(
    make_task: MakeTask, make_bench: MakeBench, tmp_path: Path, settings: dict[str, Any], blocks: int
) -> None:
    def layers() -> list[PhysicalLayer]:
        built = [Guarded(), Guarded()][:blocks]
        return list[PhysicalLayer](built)

    whole = make_task(layers(), **settings)
    with PassLog.create(tmp_path / "whole.sqlite", {}) as log:
        expected = train_and_test(whole, make_bench(layers()), log, Silent(), threading.Event())
    stops = 0
    with PassLog.create(tmp_path / "stopped.sqlite", {}) as log:
        while True:
            log.flush()
            monitor, bench = Noting(stop_after=23), make_bench(layers())
            task = make_task(layers(), **settings)
            try:
                outcome = train_and_test(task, bench, log, monitor, monitor.stop)
                break
            except Stopped:
                stops += 1
    plan = plan_run(task.experiment.training.schedule, task.rule, task.infos, 18, 6)
    assert stops == (plan.passes - 1) // 23
    assert same(task.rule.arrays(), whole.rule.arrays())
    assert np.array_equal(outcome.evaluation.scores, expected.evaluation.scores)
    with LogReader(tmp_path / "stopped.sqlite") as reader, LogReader(tmp_path / "whole.sqlite") as reference:
        for block in range(blocks):
            rows, expected_rows = (one.rows(0, 10**9, block=block) for one in (reader, reference))
            assert np.array_equal(rows.ids, expected_rows.ids)
            assert np.array_equal(rows.values, expected_rows.values)
        assert reader.next_free_id() == plan.passes
        assert [event.kind for event in reader.events()].count("stopped") == stops
        assert [step.step for step in reader.steps()] == [step.step for step in reference.steps()]


def test_checkpoints_come_as_often_as_asked_for_and_at_the_end(make_task: MakeTask, log: PassLog) -> None:
    layers = [InstantLayer(8, 6)]
    task = make_task(layers, epochs=5)
    acquisition = Acquisition(task.rule.network, task.infos, layers, record=log)
    record = task.experiment.record.model_copy(update={"checkpoint_every": 2})
    sparse = replace(task, experiment=task.experiment.model_copy(update={"record": record}))
    kept = Kept()
    make_training(sparse, sparse.schedule(acquisition), acquisition, record=kept).run()
    assert [checkpoint.epoch for checkpoint in kept.checkpoints] == [2, 4, 5]


def test_the_monitor_is_told_what_happens(make_task: MakeTask, make_bench: MakeBench, log: PassLog) -> None:
    layers = [InstantLayer(8, 6)]
    monitor = Noting()
    outcome = train_and_test(make_task(layers), make_bench(layers), log, monitor, monitor.stop)
    assert monitor.epochs == [1, 2, 3]
    assert monitor.tests == 1
    log.flush()
    with LogReader(log.path) as reader:
        events = {event.kind: event.detail for event in reader.events()}
        epochs = [event.detail for event in reader.events() if event.kind == "epoch"]
    assert [epoch["epoch"] for epoch in epochs] == [1, 2, 3]
    assert all(0 <= epoch["train_accuracy"] <= 1 for epoch in epochs)
    assert events["test"]["accuracy"] == outcome.evaluation.accuracy
    assert events["test"]["labels"] == outcome.evaluation.labels.tolist()
    assert np.array(events["test"]["scores"]).argmax(axis=1).tolist() == outcome.evaluation.predicted.tolist()


def test_of_a_large_set_some_training_samples_are_scored_after_an_epoch(
    make_task: MakeTask, make_bench: MakeBench, log: PassLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[int]] = []

    def score(rule: Phyll, schedule: Any, features: Any, samples: NDArray[np.int64], purpose: Any) -> Any:
        seen.append(samples.tolist())
        return score_samples(rule, schedule, features, samples, purpose)

    monkeypatch.setattr(training, "SCORED_SAMPLES", 5)
    monkeypatch.setattr(training, "score_samples", score)
    task = make_task([InstantLayer(8, 6)])
    train_and_test(task, make_bench([InstantLayer(8, 6)]), log, Silent(), threading.Event())
    assert len(task.data.train_index) == 18
    assert seen == [task.data.train_index[[0, 3, 7, 10, 14]].tolist()] * 3


@pytest.mark.parametrize("after", [0, 10, 60])
def test_when_an_instrument_fails_the_bench_is_made_safe_and_the_log_says_why(
    make_task: MakeTask, make_bench: MakeBench, log: PassLog, after: int
) -> None:
    broken, mended = Guarded(breaks_after=after), Guarded()
    whole = trained(make_task, [Guarded()])
    with pytest.raises(InstrumentError, match="amplifier: does not answer"):
        train_and_test(make_task([broken]), make_bench([broken]), log, Silent(), threading.Event())
    assert broken.safe == 1
    log.flush()
    with LogReader(log.path) as reader:
        assert [event.detail for event in reader.events() if event.kind == "failed"] == [
            {"reason": "amplifier: does not answer"}
        ]
        assert reader.next_free_id() == after
    task = make_task([mended])
    train_and_test(task, make_bench([mended]), log, Silent(), threading.Event())
    assert same(task.rule.arrays(), whole)
    assert mended.safe == 1
