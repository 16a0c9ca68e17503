"""Verification: are the weights of a run what its configuration, seed and pass log say?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labctl.contract.errors import RecordError
from labctl.contract.layer import PhysicalLayer
from labctl.orchestrator.acquisition import Acquisition
from labctl.orchestrator.assembly import Task
from labctl.orchestrator.replay import RecordedRows
from labctl.orchestrator.session import make_guard, make_training, test
from labctl.record.reader import LogReader


@dataclass(frozen=True)
class Verification:
    """What recomputing a run's weights from its pass log gave.

    `identical` when every array equals the checkpoint's bit for bit; `largest_difference` is relative to each
    array's largest value. `epochs` of `of_epochs` were recomputed; `test_identical` is None before the test.
    """

    identical: bool
    largest_difference: float
    epochs: int
    of_epochs: int
    test_identical: bool | None


def verify(task: Task, reader: LogReader, simulators: Sequence[PhysicalLayer] | None = None) -> Verification:
    """Recompute the weights of a run from its configuration, seed and recorded passes alone.

    `simulators`, one open layer per block, are asked for derivatives if the rule needs them.

    Raises `RecordError` when a pass is missing or belongs to something else.
    """
    checkpoint = reader.latest_checkpoint()
    if reader.kept() == "result":
        raise RecordError(f"{reader.path.parent.name} keeps its result alone: no pass is left to verify it by")
    if checkpoint is None:
        raise RecordError("the run has no checkpoint yet; there is nothing to verify")
    recorded = RecordedRows(reader, len(task.infos))
    acquisition = Acquisition(
        task.rule.network, task.infos, None, simulators=simulators, recorded=recorded, guard=make_guard(task)
    )
    training = make_training(task, task.schedule(acquisition), acquisition)
    training.run(until_epoch=checkpoint.epoch)
    arrays = task.rule.arrays()
    recorded_test = next((event.detail for event in reader.events() if event.kind == "test"), None)
    test_identical = None
    if recorded_test is not None:
        scores = test(task, acquisition, "test").scores.astype(np.float64)
        test_identical = scores.tolist() == recorded_test["scores"]
    return Verification(
        identical=all(_same_bits(arrays[name], saved) for name, saved in checkpoint.arrays.items()),
        largest_difference=max(_difference(arrays[name], saved) for name, saved in checkpoint.arrays.items()),
        epochs=checkpoint.epoch,
        of_epochs=task.epochs,
        test_identical=test_identical,
    )


def _same_bits(first: NDArray[np.floating], second: NDArray[np.floating]) -> bool:
    return first.dtype == second.dtype and first.shape == second.shape and first.tobytes() == second.tobytes()


def _difference(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    scale = float(np.abs(second).max()) or 1.0
    return float(np.abs(first - second).max()) / scale
