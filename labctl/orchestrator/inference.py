"""Uses a trained run: fresh test passes, and predictions for new samples."""

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labctl.contract.errors import InputError, RecordError
from labctl.contract.layer import LayerInfo, Stop
from labctl.data.dataset import Features
from labctl.learning.requests import Purpose
from labctl.network.randomness import named_generator
from labctl.orchestrator.acquisition import Acquisition
from labctl.orchestrator.assembly import Bench, Task
from labctl.orchestrator.evaluation import Evaluation, score_samples
from labctl.orchestrator.recovery import Recovery, Rest
from labctl.orchestrator.schedules import Joint
from labctl.orchestrator.session import made_safe_ending, make_guard, result, test
from labctl.record.reader import LogReader
from labctl.record.writer import PassLog


@dataclass(frozen=True)
class Predictions:
    """For each sample: class numbers (n,), how sure the rule is of them (n,), and what a sample took.

    `wall_s` and `hardware_s` are means per sample; hardware time is the nominal time of its passes.
    """

    classes: NDArray[np.int64]
    confidence: NDArray[np.floating]
    wall_s: float
    hardware_s: float


def load_trained(task: Task, reader: LogReader) -> None:
    """Put the run's final weights into `task`. Raises `RecordError` when training is not finished."""
    checkpoint = reader.latest_checkpoint()
    if checkpoint is None or checkpoint.epoch < task.epochs:
        done = checkpoint.epoch if checkpoint else 0
        run = reader.path.parent
        raise RecordError(
            f"{run.name} has trained {done} of {task.epochs} epochs; finish it with `labctl resume {run}`"
        )
    task.rule.restore(checkpoint.arrays)


def check_fit(task: Task, bench: Bench) -> None:
    """Raise `InputError` unless the layers of `bench` can stand in for those the run was trained on."""
    for number, (trained, present) in enumerate(zip(task.infos, bench.infos, strict=True), start=1):
        for side in ("inputs", "outputs"):
            then, now = _channels(trained, side), _channels(present, side)
            if then != now:
                raise InputError(
                    f"block {number} was trained on a layer with {then}; '{present.name}' here has {now}: "
                    "give a rig with a layer like it, or train on this one with `labctl run EXPERIMENT --rig RIG`"
                )


def evaluate(task: Task, bench: Bench, log: PassLog, stop: Stop) -> Evaluation:
    """Measure the test samples anew on an open `bench`, record the passes, and note the result in the log."""
    acquisition = _acquisition(task, bench, log, stop)
    with made_safe_ending(bench, log):
        evaluation = test(task, acquisition, "evaluate")
        log.append_event("evaluate", {**result(evaluation, acquisition.counters), "simulated": bench.simulated})
    return evaluation


def predict(task: Task, bench: Bench, log: PassLog, stop: Stop, features: Features) -> Predictions:
    """Measure and classify new samples `features` (n, d), as read from a file, not yet normalised."""
    normalised = task.data.normalisation.apply(features).astype(task.rule.network.dtype)
    acquisition = _acquisition(task, bench, log, stop)
    purpose: Purpose = "predict"
    acquisition.begin(named_generator(task.experiment.seed, "order", purpose, acquisition.next_id))
    began_s = time.monotonic()
    with made_safe_ending(bench, log):
        scores = score_samples(task.rule, Joint(acquisition), normalised, np.arange(len(normalised)), purpose)
        wall_s = (time.monotonic() - began_s) / len(normalised)
        confidence = task.rule.confidence(scores)
        classes = scores.argmax(axis=1)
        sure = confidence[np.arange(len(classes)), classes]
        log.append_event("predict", {"classes": classes.tolist(), "confidence": sure.tolist()})
    return Predictions(classes, sure, wall_s, acquisition.counters.sent_hardware_s / len(normalised))


def _acquisition(task: Task, bench: Bench, log: PassLog, stop: Stop) -> Acquisition:
    guard = make_guard(task, log.append_event)
    with LogReader(log.path) as reader:
        first_id = reader.next_free_id()
        if guard is not None:
            guard.remember(reader, first_id)
    return Acquisition(
        task.rule.network,
        bench.infos,
        bench.layers,
        record=log,
        retries=task.experiment.record.retries,
        stop=stop,
        first_id=first_id,
        guard=guard,
        recover=Recovery(bench, log.path.parent.name, log.append_event, stop),
        hold=Rest(bench, log.path.parent.name, log.append_event, stop),
    )


def _channels(info: LayerInfo, side: str) -> str:
    channels = info.inputs if side == "inputs" else info.outputs
    ranges = {(channel.low, channel.high, channel.unit) for channel in channels}
    spans = ", ".join(f"{low:g} to {high:g} {unit}" for low, high, unit in sorted(ranges))
    return f"{len(channels)} {side} ({spans})"
