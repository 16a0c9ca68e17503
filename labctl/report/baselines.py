"""Baselines: what a result must be held against, computed from the run's own record without new passes.

linear              logistic regression on the raw features
skip-only           the same rule and settings with the physics replaced by nothing
linear-map          the physics replaced by the affine map of drives that fits its responses best
linear-map-modulus  that map's modulus
shuffled            each sample given the responses of another, no skip: must score chance
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from labctl.config.experiment import Block as BlockSettings
from labctl.config.loading import LoadedExperiment
from labctl.contract.errors import RecordError
from labctl.contract.layer import Drives, ResponseValues, RowStatus
from labctl.data.load import PreparedData
from labctl.learning.requests import Measure
from labctl.learning.rules import make_rule
from labctl.network.network import Network
from labctl.network.standardise import Standardiser
from labctl.orchestrator.acquisition import Acquisition
from labctl.orchestrator.assembly import Task, build_task
from labctl.orchestrator.evaluation import Evaluation, score_samples
from labctl.orchestrator.schedules import Schedule
from labctl.orchestrator.session import make_training
from labctl.record.passes import MAX_ID, RecordedPasses, join, take
from labctl.record.reader import LogReader
from labctl.report.linear import predict_linearly

PhysicsModel = Callable[[Drives], NDArray[np.float64]]

LINEAR_FIT_ROWS = 20_000


@dataclass(frozen=True)
class Baseline:
    """A baseline's test result on the run's own test samples: which of them, (n,), it got right."""

    name: str
    right: NDArray[np.bool_]

    @property
    def accuracy(self) -> float:
        """Share of samples predicted correctly, 0 to 1."""
        return float(self.right.mean())


def compute_baselines(loaded: LoadedExperiment, task: Task, reader: LogReader) -> list[Baseline]:
    """Return the baselines the experiment asks for that its rule and schedule allow.

    The rule is trained anew with the run's settings and seed for each baseline that needs it, never from the weights
    of an earlier model, which need not fit. The models of the physics are fitted to the run's recorded training passes.
    `shuffled` needs every (sample, label) to be recorded, which the schedule `joint` does not do.
    """
    makers: dict[str, Callable[[LoadedExperiment, Task, LogReader], NDArray[np.bool_]]] = {
        "linear": lambda _loaded, task, _reader: _linear(task.data),
        "skip-only": _skip_only,
        "linear-map": lambda loaded, task, reader: _linear_map(loaded, task, reader, modulus=False),
        "linear-map-modulus": lambda loaded, task, reader: _linear_map(loaded, task, reader, modulus=True),
        "shuffled": _shuffled,
    }
    wanted = [
        name
        for name in loaded.experiment.report.baselines
        if name != "shuffled" or loaded.experiment.training.schedule != "joint"
    ]
    anew = _from_the_seed(loaded)
    return [Baseline(name, makers[name](anew, task, reader)) for name in wanted]


class Modelled:
    """A schedule that answers from models of the physics, one per block, instead of hardware."""

    remembers_training = True

    def begin_stage(self, blocks: range) -> None:
        """Nothing depends on what is trained."""

    def __init__(self, network: Network, models: Sequence[PhysicsModel]) -> None:
        self._network = network
        self._models = models

    def answer(self, request: Measure) -> ResponseValues:
        """Return the modelled responses (groups, k, n_outputs)."""
        encoder = self._network.blocks[request.block].encoder
        drives = encoder.encode(request.inputs.reshape(request.n_rows, -1)).drives
        return self._models[request.block](drives).reshape(*request.labels.shape, -1)


class Nothing:
    """A schedule that answers with responses of no channel at all."""

    remembers_training = True

    def begin_stage(self, blocks: range) -> None:
        """Nothing depends on what is trained."""

    def answer(self, request: Measure) -> ResponseValues:
        """Return an empty response (groups, k, 0) to every row."""
        return np.zeros((*request.labels.shape, 0), np.float32)


class Shuffled:
    """A schedule that answers for each sample with what was recorded for another, under the same label."""

    remembers_training = True

    def begin_stage(self, blocks: range) -> None:
        """Nothing depends on what is trained."""

    def __init__(self, responses: Mapping[tuple[int, int], ResponseValues], partner: Mapping[int, int]) -> None:
        self._responses = responses
        self._partner = partner

    def answer(self, request: Measure) -> ResponseValues:
        """Return the partners' recorded responses (groups, k, n_outputs)."""
        partners = [self._partner[sample] for sample in request.samples.tolist()]
        rows = [
            self._responses[partner, label]
            for partner, labels in zip(partners, request.labels.tolist(), strict=True)
            for label in labels
        ]
        return np.stack(rows).reshape(*request.labels.shape, -1)


def without_responses(task: Task) -> Task:
    """Return the task with the weights of the responses left out: of responses that are zero they would never move."""
    network = task.rule.network
    for block, info in zip(network.blocks, task.infos, strict=True):
        block.weights = block.weights[:, info.n_outputs :].copy()
        block.standardiser = Standardiser.neutral(0, network.dtype)
    return replace(task, rule=make_rule(task.experiment.training, network))


def _linear(data: PreparedData) -> NDArray[np.bool_]:
    return predict_linearly(data.train_x, data.train_y, data.test_x) == data.test_y


def _skip_only(loaded: LoadedExperiment, task: Task, reader: LogReader) -> NDArray[np.bool_]:  # noqa: ARG001
    variant = _with_blocks(loaded, [_changed(block, skip=True) for block in loaded.experiment.network.blocks])
    return _train_on(without_responses(build_task(variant, task.infos)), Nothing())


def _linear_map(loaded: LoadedExperiment, task: Task, reader: LogReader, *, modulus: bool) -> NDArray[np.bool_]:
    models = [_fitted_map(reader, block, modulus=modulus) for block in range(len(task.infos))]
    digital = build_task(loaded, task.infos)
    return _train_on(digital, Modelled(digital.rule.network, models))


def _shuffled(loaded: LoadedExperiment, task: Task, reader: LogReader) -> NDArray[np.bool_]:
    """Shuffle the first block's responses; a network of that block alone, without skip, learns from them."""
    variant = _with_blocks(loaded, [_changed(loaded.experiment.network.blocks[0], skip=False)])
    digital = build_task(variant, task.infos[:1])
    rows = reader.rows(0, MAX_ID, block=0, drives=False)
    keys = zip(rows.samples.tolist(), rows.labels.tolist(), strict=True)
    responses = dict(zip(keys, rows.values, strict=True))
    generator = np.random.default_rng(loaded.experiment.seed)
    partner: dict[int, int] = {}
    for samples in (task.data.train_index, task.data.test_index):
        partner |= dict(zip(samples.tolist(), np.roll(generator.permutation(samples), 1).tolist(), strict=True))
    return _train_on(digital, Shuffled(responses, partner))


def _train_on(task: Task, schedule: Schedule) -> NDArray[np.bool_]:
    """Train and test without hardware, the draws of seed and epoch being those of the run."""
    acquisition = Acquisition(task.rule.network, task.infos, None)
    make_training(task, schedule, acquisition).run()
    test = task.data.test_index
    evaluation = Evaluation(score_samples(task.rule, schedule, task.features[test], test, "test"), task.data.test_y)
    return evaluation.predicted == evaluation.labels


def _fitted_map(reader: LogReader, block: int, *, modulus: bool) -> PhysicsModel:
    """Return the affine map of drives that fits the block's recorded training responses best, or its modulus."""
    rows = _first_training_rows(reader, block, LINEAR_FIT_ROWS)
    drives = rows.drives.astype(np.float64)
    affine = np.column_stack([drives, np.ones(len(drives))])
    matrix, *_ = np.linalg.lstsq(affine, rows.values.astype(np.float64), rcond=None)

    def respond(drives: Drives) -> NDArray[np.float64]:
        responses = drives.astype(np.float64) @ matrix[:-1] + matrix[-1]
        return np.abs(responses) if modulus else responses

    return respond


def _first_training_rows(reader: LogReader, block: int, n: int) -> RecordedPasses:
    """Return the first `n` good training passes of a block, however many there are."""
    found: list[RecordedPasses] = []
    for part in reader.passes(block=block, status=RowStatus.OK):
        found.append(take(part, np.isin(part.purposes, ("train", "statistics"))))
        if sum(map(len, found)) >= n:
            break
    if not any(map(len, found)):
        raise RecordError(f"no training passes of block {block + 1} are recorded")
    rows = join(found)
    return take(rows, np.arange(len(rows)) < n)


def _with_blocks(loaded: LoadedExperiment, blocks: Sequence[BlockSettings]) -> LoadedExperiment:
    network = loaded.experiment.network.model_copy(update={"blocks": list(blocks)})
    return replace(loaded, experiment=loaded.experiment.model_copy(update={"network": network}))


def _from_the_seed(loaded: LoadedExperiment) -> LoadedExperiment:
    training = loaded.experiment.training.model_copy(update={"init_from": None})
    return replace(loaded, experiment=loaded.experiment.model_copy(update={"training": training}))


def _changed(block: BlockSettings, *, skip: bool) -> BlockSettings:
    return block.model_copy(update={"skip": skip})
