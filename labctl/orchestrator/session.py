"""Carries a run through training and test, from wherever its pass log says it is."""

import logging
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from threadpoolctl import threadpool_limits

from labctl.contract.capabilities import RawSignals
from labctl.contract.errors import LabctlError
from labctl.contract.layer import Stop
from labctl.learning.requests import Purpose
from labctl.learning.rule import Metrics
from labctl.network.randomness import named_generator
from labctl.orchestrator.acquisition import Acquisition
from labctl.orchestrator.assembly import Bench, Task
from labctl.orchestrator.cadence import Cadence
from labctl.orchestrator.counters import Counters
from labctl.orchestrator.disturbing import DISTURBED, Disturber
from labctl.orchestrator.evaluation import Evaluation, score_samples
from labctl.orchestrator.recovery import Recovery, Rest
from labctl.orchestrator.references import DriftGuard
from labctl.orchestrator.replay import RecordedRows
from labctl.orchestrator.schedules import Cached, Joint, Schedule
from labctl.orchestrator.stopping import Stopped
from labctl.orchestrator.training import Observer, Training, TrainingRecord
from labctl.orchestrator.wellness import ask_after
from labctl.record.reader import Checkpoint, LogReader
from labctl.record.writer import Note, PassLog
from labctl.rig.rig import made_safe, name_run

_log = logging.getLogger(__name__)

ARITHMETIC_THREADS = 1
"""Rounding depends on how BLAS splits a product; with one thread a replay rounds as the run did."""


class Monitor(Protocol):
    """Shows a run while it goes."""

    def rows_done(self, counters: Counters) -> None:
        """Called after every chunk of measured rows."""
        ...

    def epoch_done(self, epoch: int, metrics: Metrics) -> None:
        """Called after each epoch, counted from 1."""
        ...

    def test_begins(self) -> None:
        """Called when training is over and the test samples are about to be measured."""
        ...


@dataclass(frozen=True)
class Outcome:
    """A finished run's test result and what was spent on it in this session."""

    evaluation: Evaluation
    counters: Counters


def pinned_arithmetic() -> threadpool_limits:
    """Return a context in which matrix products round the same way every time."""
    return threadpool_limits(ARITHMETIC_THREADS)


def train_and_test(
    task: Task, bench: Bench, log: PassLog, monitor: Monitor, stop: Stop, note: Note | None = None
) -> Outcome:
    """Take the run in `log` to its end on an open `bench`: measure what is missing, learn, test with fresh passes.

    What is measured is recorded before it is learnt from. Raises `Stopped` when asked to stop. On every way out the
    bench is made safe first, and the log can be resumed. `note` is told of failures and waits; unless given, the log.
    """
    note = note or log.append_event
    with LogReader(log.path) as reader:
        checkpoint = reader.latest_checkpoint()
        first_id = checkpoint.next_id if checkpoint else 0
        guard = make_guard(task, log.append_event)
        if guard is not None:
            guard.remember(reader, first_id)
        noted = [event.detail["place"] for event in reader.events() if event.kind == DISTURBED]
        disturber = Disturber(task.experiment, bench, log.append_event, noted)
        disturber.begin()
        acquisition = Acquisition(
            task.rule.network,
            task.infos,
            bench.layers,
            record=log,
            recorded=RecordedRows(reader, len(task.infos), first_id),
            retries=task.experiment.record.retries,
            stop=stop,
            first_id=first_id,
            on_rows=monitor.rows_done,
            guard=guard,
            recover=Recovery(bench, log.path.parent.name, note, stop),
            hold=Rest(bench, log.path.parent.name, note, stop),
            disturb=disturber.disturbed,
            pace=_make_pace(task, bench, log, stop),
        )
        if task.experiment.record.raw_bytes is not None:
            _ask_for_raw(bench)
        schedule = task.schedule(acquisition)
        if checkpoint is not None:
            restore(task, schedule, checkpoint, reader, guard)
        with made_safe_ending(bench, log):
            ask_after(bench.layers, log.append_event)
            training = make_training(task, schedule, acquisition, record=log, observer=monitor)
            training.run(checkpoint.epoch if checkpoint else 0)
            disturber.training_ends(acquisition.next_id)
            monitor.test_begins()
            scored = task.rule.work.scoring
            evaluation = test(task, acquisition, "test")
            macs = task.rule.work.spent(scored)
            log.append_event("test", {**result(evaluation, acquisition.counters), "macs": macs})
    return Outcome(evaluation, acquisition.counters)


def _ask_for_raw(bench: Bench) -> None:
    """Have the layers hand over raw signals; in a replay they hand over none."""
    for layer in bench.layers:
        if isinstance(layer, RawSignals):
            layer.deliver_raw(wanted=True)


def make_training(
    task: Task,
    schedule: Schedule,
    acquisition: Acquisition,
    *,
    record: TrainingRecord | None = None,
    observer: Observer | None = None,
) -> Training:
    """Return the training of a task on its training samples."""
    return Training(
        task.rule,
        schedule,
        acquisition,
        features=task.features[task.data.train_index],
        labels=task.data.train_y,
        samples=task.data.train_index,
        seed=task.experiment.seed,
        stages=task.stages,
        shifts=task.shifts,
        record=record,
        checkpoint_every=task.experiment.record.checkpoint_every,
        observer=observer,
    )


def make_guard(task: Task, note: Note | None = None) -> DriftGuard | None:
    """Return the guard that the experiment asks for, if it does."""
    drift = task.experiment.drift
    return None if drift is None else DriftGuard(drift, task.infos, note)


def _make_pace(task: Task, bench: Bench, log: PassLog, stop: Stop) -> Callable[[], None]:
    """Return what lets acquisitions begin at the cadence that the experiment asks for, if it does and can be paced."""
    every_s = task.experiment.unattended.cadence_s
    if every_s is None or bench.replayed is not None:
        return lambda: None
    return Cadence(every_s, stop, log.append_event)


def restore(
    task: Task, schedule: Schedule, checkpoint: Checkpoint, reader: LogReader, guard: DriftGuard | None = None
) -> None:
    """Put rule and schedule into the state they were in at `checkpoint`."""
    task.rule.restore(checkpoint.arrays)
    if isinstance(schedule, Cached):
        stage = min(checkpoint.epoch // task.rule.epochs, len(task.stages) - 1)
        for block in range(task.stages[stage].start + 1):
            first_id = 0 if guard is None else guard.valid_from
            rows = reader.rows(first_id, checkpoint.next_id - 1, block=block, drives=False)
            kept = np.isin(rows.purposes, ("train", "statistics"))
            if kept.any():
                values = rows.values[kept]
                values = values if guard is None else guard.corrected_then(block, rows.ids[kept], values)
                schedule.keep(block, rows.samples[kept], rows.labels[kept], values)


def test(task: Task, acquisition: Acquisition, purpose: Purpose) -> Evaluation:
    """Measure the test samples with fresh passes: never from a cache, in an order of their own."""
    acquisition.begin(named_generator(task.experiment.seed, "order", purpose, acquisition.next_id))
    features = task.features[task.data.test_index]
    scores = score_samples(task.rule, Joint(acquisition), features, task.data.test_index, purpose)
    return Evaluation(scores, task.data.test_y)


def result(evaluation: Evaluation, counters: Counters) -> Mapping[str, object]:
    """Return a test result as JSON values."""
    low, high = evaluation.interval
    return {
        "accuracy": evaluation.accuracy,
        "low": low,
        "high": high,
        "right": evaluation.right,
        "samples": len(evaluation.labels),
        "confusion": evaluation.confusion.tolist(),
        "scores": evaluation.scores.astype(np.float64).tolist(),
        "labels": evaluation.labels.tolist(),
        "values_clipped_by_encoders": counters.clipped_values,
    }


@contextmanager
def made_safe_ending(bench: Bench, log: PassLog) -> Generator[None]:
    """Make the bench safe before anything else is done, then note in the log what went wrong."""
    try:
        with made_safe(bench.rigs.values()):
            name_run(bench.rigs.values(), log.path.parent.name)
            yield
    except Stopped as reason:
        _log.info("stopped: %s", reason)
        log.append_event("stopped", {"reason": str(reason)})
        raise
    except LabctlError as error:
        _log.error("failed: %s", error)
        log.append_event("failed", {"reason": str(error)})
        raise
