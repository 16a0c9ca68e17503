"""The training loop: epochs and batches, every draw named by seed and epoch so that it can be repeated exactly."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from labctl.data.shifts import Shifts
from labctl.learning.requests import Requests
from labctl.learning.rule import Batch, LearningRule, Metrics
from labctl.network.label import Vectors
from labctl.network.randomness import named_generator
from labctl.orchestrator.acquisition import Acquisition
from labctl.orchestrator.evaluation import score_samples
from labctl.orchestrator.pipelined import Pipelined
from labctl.orchestrator.references import Remixed
from labctl.orchestrator.schedules import Cached, Schedule, carry_out

STATISTICS_SAMPLES = 200
"""Samples whose first responses freeze encoders and standardisation."""

SCORED_SAMPLES = 10_000
"""Training samples that are scored after an epoch at most: all of a large set would take longer than the epoch."""


class TrainingRecord(Protocol):
    """Where the course of training is kept."""

    def append_step(self, step: int, epoch: int, metrics: Metrics) -> None:
        """Keep the figures of one step."""
        ...

    def append_event(self, kind: str, detail: object) -> None:
        """Keep the figures of an epoch."""
        ...

    def append_checkpoint(self, epoch: int, next_id: int, arrays: Mapping[str, NDArray[np.floating]]) -> None:
        """Keep the state from which training goes on with epoch `epoch`."""
        ...


class Observer(Protocol):
    """Watches training."""

    def epoch_done(self, epoch: int, metrics: Metrics) -> None:
        """Called after each epoch (counted from 1) with the mean of its steps' figures."""
        ...


def statistics(rule: LearningRule, whole: Batch, seed: int, stage: int, blocks: range) -> Requests[None]:
    """Return the requests that freeze encoders and standardisation of `blocks`, on samples drawn for that stage."""
    generator = named_generator(seed, "statistics", stage)
    chosen = np.sort(generator.permutation(len(whole.samples))[:STATISTICS_SAMPLES])
    return rule.prepare(_part(whole, chosen), generator, blocks)


def _part(whole: Batch, rows: NDArray[np.int64]) -> Batch:
    return Batch(whole.features.take(rows, axis=0), whole.labels.take(rows), whole.samples.take(rows))


class Training:
    """Trains `rule` on `features` (n, d), `labels` (n,) and their data-set indices `samples` (n,).

    Each of `stages` names blocks that are trained together, for as many epochs as the rule says; epochs are counted on
    from stage to stage. With `shifts` every epoch sees each image at another place.
    """

    def __init__(
        self,
        rule: LearningRule,
        schedule: Schedule,
        acquisition: Acquisition,
        *,
        features: Vectors,
        labels: NDArray[np.int64],
        samples: NDArray[np.int64],
        seed: int,
        stages: Sequence[range],
        shifts: Shifts | None = None,
        record: TrainingRecord | None = None,
        checkpoint_every: int = 1,
        observer: Observer | None = None,
    ) -> None:
        self._rule = rule
        self._schedule = schedule
        self._acquisition = acquisition
        self._batch = Batch(features, labels, samples)
        self._seed = seed
        self._stages = stages
        self._shifts = shifts
        self._record = record
        self._checkpoint_every = checkpoint_every
        self._observer = observer
        self._whole = True
        """Whether everything trained on in this epoch is of the medium as it is."""

    def run(self, first_epoch: int = 0, until_epoch: int | None = None) -> None:
        """Train from `first_epoch` (counted from 0; its state restored by the caller) to `until_epoch` or the end."""
        epochs = self._rule.epochs * len(self._stages)
        self._acquisition.step = first_epoch * self._steps_per_epoch
        for epoch in range(first_epoch, epochs if until_epoch is None else until_epoch):
            stage, epoch_of_stage = divmod(epoch, self._rule.epochs)
            self._schedule.begin_stage(self._stages[stage])
            if epoch_of_stage == 0:
                self._prepare(stage)
            metrics = self._epoch(epoch, self._stages[stage])
            last = epoch + 1 == epochs
            if last:
                self._rule.finish()
            self._report(epoch + 1, metrics)
            if last or (epoch + 1) % self._checkpoint_every == 0:
                self._checkpoint(epoch + 1)

    def _prepare(self, stage: int) -> None:
        while True:
            self._acquisition.begin(named_generator(self._seed, "order", "statistics", stage))
            try:
                carry_out(statistics(self._rule, self._batch, self._seed, stage, self._stages[stage]), self._schedule)
            except Remixed:
                self._forget()
            else:
                return

    def _forget(self) -> None:
        if isinstance(self._schedule, Cached):
            self._schedule.forget()

    def _step(self, step: Callable[[], Requests[Metrics]], epoch: int) -> Metrics:
        """Carry out a training step; with another medium, encoders and statistics first, and the step from its start.

        The weights stay as they are and go on learning.
        """
        while True:
            try:
                return carry_out(step(), self._schedule)
            except Remixed:
                self._forget()
                self._whole = False
                self._prepare(epoch // self._rule.epochs)
                self._acquisition.begin(named_generator(self._seed, "order", epoch, self._acquisition.next_id))

    def _epoch(self, epoch: int, blocks: range) -> Metrics:
        self._whole = True
        self._acquisition.begin(named_generator(self._seed, "order", epoch))
        totals: dict[str, float] = {}
        for metrics in self._carried_out(self._steps(epoch, blocks), epoch):
            if self._record is not None:
                self._record.append_step(self._acquisition.step, epoch, metrics)
            self._acquisition.step += 1
            for name, value in metrics.items():
                totals[name] = totals.get(name, 0.0) + value
        return {name: total / self._steps_per_epoch for name, total in totals.items()}

    def _steps(self, epoch: int, blocks: range) -> Iterator[Callable[[], Requests[Metrics]]]:
        """Yield what begins each step of an epoch, over and over if need be."""
        generator = named_generator(self._seed, "epoch", epoch)
        order = generator.permutation(len(self._batch.samples))
        for start in range(0, len(order), self._rule.batch):
            self._acquisition.heed_stop()
            batch = _part(self._batch, order[start : start + self._rule.batch])
            if self._shifts is not None:
                batch = replace(batch, features=self._shifts(batch.features, generator))
            progress = (epoch % self._rule.epochs + start / len(order)) / self._rule.epochs
            yield partial(self._rule.step, batch, generator, progress, blocks)

    def _carried_out(self, steps: Iterator[Callable[[], Requests[Metrics]]], epoch: int) -> Iterator[Metrics]:
        """Yield the figures of steps one after the other, even where several are under way at once."""
        if isinstance(self._schedule, Pipelined):
            yield from self._schedule.carry_out_all(step() for step in steps)
        else:
            for step in steps:
                yield self._step(step, epoch)

    def _report(self, epoch: int, metrics: Metrics) -> None:
        if self._record is None or self._observer is None:
            return
        if self._schedule.remembers_training and self._whole:
            n = len(self._batch.samples)
            n_scored = min(n, SCORED_SAMPLES)
            scored = _part(self._batch, np.arange(n_scored) * n // n_scored)
            scores = score_samples(self._rule, self._schedule, scored.features, scored.samples, "train")
            metrics = {**metrics, "train_accuracy": float((scores.argmax(axis=1) == scored.labels).mean())}
        self._record.append_event("epoch", {"epoch": epoch, **metrics})
        self._observer.epoch_done(epoch, metrics)

    @property
    def _steps_per_epoch(self) -> int:
        return -(-len(self._batch.samples) // self._rule.batch)

    def _checkpoint(self, epoch: int) -> None:
        if self._record is not None:
            self._record.append_checkpoint(epoch, self._acquisition.next_id, self._rule.arrays())
