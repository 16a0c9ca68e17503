"""Baselines: what a result must be held against, computed from the run's own record without new passes.

linear              logistic regression on the raw features
untrained           the readout of a rule without labels, the weights left as drawn
skip-only           the same rule and settings with the physics replaced by nothing
linear-map          the physics replaced by the affine map of drives that fits its responses best
linear-map-modulus  that map's modulus
shuffled            each sample given the responses of another, no skip: must score chance
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from labctl.config.loading import LoadedExperiment
from labctl.config.network import Block as BlockSettings
from labctl.config.training import ContrastivePhyllTraining
from labctl.contract.errors import RecordError
from labctl.contract.layer import Drives, ResponseValues, RowStatus
from labctl.data.load import PreparedData
from labctl.learning.requests import Differentiate, Measure, Purpose, Write
from labctl.network.network import Network
from labctl.orchestrator.acquisition import Acquisition
from labctl.orchestrator.assembly import Task, build_task
from labctl.orchestrator.evaluation import Evaluation, score_samples
from labctl.orchestrator.schedules import Schedule
from labctl.orchestrator.session import make_training
from labctl.record.passes import MAX_ID, RecordedPasses, join, take
from labctl.record.reader import LogReader
from labctl.report.linear import fit_affine, predict_linearly

LINEAR_FIT_ROWS = 20_000
Responses = Mapping[tuple[int, int], ResponseValues]
"""Responses (n_outputs,) by sample and label."""

OWN_SAMPLES: tuple[Purpose, ...] = ("statistics", "train", "test")
TRAINING: tuple[Purpose, ...] = ("statistics", "train", "view", "twin")


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
    `shuffled` and `untrained` need every (sample, label) to be recorded, which the schedules `joint` and `pipelined` do
    not do, nor do rules that train without the hardware. `untrained` is of one block: what drives a second depends on
    the weights of the first.
    """
    makers: dict[str, Callable[[LoadedExperiment, Task, LogReader], NDArray[np.bool_]]] = {
        "linear": lambda _loaded, task, _reader: _linear(task.data),
        "untrained": _untrained,
        "skip-only": lambda loaded, task, _reader: _skip_only(loaded, task),
        "linear-map": lambda loaded, task, reader: _linear_map(loaded, task, reader, modulus=False),
        "linear-map-modulus": lambda loaded, task, reader: _linear_map(loaded, task, reader, modulus=True),
        "shuffled": _shuffled,
    }
    training = loaded.experiment.training
    recorded = training.schedule not in ("joint", "pipelined") and task.rule.demand(0).kept > 0
    alone = isinstance(training, ContrastivePhyllTraining) and len(loaded.experiment.network.blocks) == 1
    possible = {"shuffled": recorded, "untrained": recorded and alone}
    wanted = [name for name in loaded.experiment.report.baselines if possible.get(name, True)]
    anew = _from_the_seed(loaded)
    return [Baseline(name, makers[name](anew, task, reader)) for name in wanted]


@dataclass(frozen=True)
class PhysicsModel:
    """The affine map s = d A + b of drives d (n, n_inputs), or its modulus; `matrix` is A, `offset` b."""

    matrix: NDArray[np.float64]
    offset: NDArray[np.float64]
    modulus: bool = False

    def respond(self, drives: Drives) -> NDArray[np.float64]:
        """Return responses (n, n_outputs)."""
        responses = drives.astype(np.float64) @ self.matrix + self.offset
        return np.abs(responses) if self.modulus else responses

    def differentiate(self, drives: Drives, upstream: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the gradient (n, n_inputs) of sum(upstream * response), `upstream` (n, n_outputs)."""
        sign = np.sign(drives.astype(np.float64) @ self.matrix + self.offset) if self.modulus else 1.0
        return (upstream * sign) @ self.matrix.T


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
        return self._models[request.block].respond(drives).reshape(*request.labels.shape, -1)

    def differentiate(self, request: Differentiate) -> NDArray[np.float64]:
        """Return the model's gradient (n, n_inputs)."""
        drives = self._network.blocks[request.block].encoder.encode(request.inputs).drives
        return self._models[request.block].differentiate(drives, request.upstream)

    def write(self, request: Write) -> None:
        """Leave the model as it is: it has no parameters of its own."""


class Recorded:
    """A schedule that answers for each sample with what was recorded for its partner, under the same label."""

    remembers_training = True

    def begin_stage(self, blocks: range) -> None:
        """Nothing depends on what is trained."""

    def __init__(self, network: Network, responses: Responses, partner: Mapping[int, int]) -> None:
        self._network = network
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

    def differentiate(self, request: Differentiate) -> NDArray[np.float64]:
        """Return a gradient of zeros: what another sample answered does not depend on this one's drive."""
        return np.zeros_like(self._network.blocks[request.block].encoder.encode(request.inputs).drives, np.float64)

    def write(self, request: Write) -> None:
        """Change nothing: what is recorded is recorded."""


def _linear(data: PreparedData) -> NDArray[np.bool_]:
    return predict_linearly(data.train_x, data.train_y, data.test_x) == data.test_y


def _skip_only(loaded: LoadedExperiment, task: Task) -> NDArray[np.bool_]:
    variant = _with_blocks(
        loaded, [_changed(block, skip=block.skip or True) for block in loaded.experiment.network.blocks]
    )
    models = [PhysicsModel(np.zeros((info.n_inputs, info.n_outputs)), np.zeros(info.n_outputs)) for info in task.infos]
    digital = build_task(variant, task.infos, task.offers)
    return _train_on(digital, Modelled(digital.rule.network, models))


def _linear_map(loaded: LoadedExperiment, task: Task, reader: LogReader, *, modulus: bool) -> NDArray[np.bool_]:
    models = [_fitted_map(reader, block, modulus=modulus) for block in range(len(task.infos))]
    digital = build_task(loaded, task.infos, task.offers)
    return _train_on(digital, Modelled(digital.rule.network, models))


def _untrained(loaded: LoadedExperiment, task: Task, reader: LogReader) -> NDArray[np.bool_]:
    training = loaded.experiment.training.model_copy(update={"epochs": 0})
    untouched = replace(loaded, experiment=loaded.experiment.model_copy(update={"training": training}))
    own = build_task(untouched, task.infos, task.offers)
    partner = {sample: sample for sample in task.data.index.tolist()}
    return _train_on(own, Recorded(own.rule.network, _recorded(reader), partner))


def _shuffled(loaded: LoadedExperiment, task: Task, reader: LogReader) -> NDArray[np.bool_]:
    """Shuffle the first block's responses; a network of that block alone, without skip, learns from them."""
    variant = _with_blocks(loaded, [_changed(loaded.experiment.network.blocks[0], skip=False)])
    digital = build_task(variant, task.infos[:1], task.offers[:1])
    generator = np.random.default_rng(loaded.experiment.seed)
    partner: dict[int, int] = {}
    for samples in (task.data.train_index, task.data.test_index):
        partner |= dict(zip(samples.tolist(), np.roll(generator.permutation(samples), 1).tolist(), strict=True))
    return _train_on(digital, Recorded(digital.rule.network, _recorded(reader), partner))


def _recorded(reader: LogReader) -> Responses:
    """Return the first block's responses to samples as they are."""
    rows = reader.rows(0, MAX_ID, block=0, drives=False)
    rows = take(rows, np.isin(rows.purposes, OWN_SAMPLES))
    keys = zip(rows.samples.tolist(), rows.labels.tolist(), strict=True)
    return dict(zip(keys, rows.values, strict=True))


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
    return PhysicsModel(*fit_affine(rows.drives, rows.values), modulus)


def _first_training_rows(reader: LogReader, block: int, n: int) -> RecordedPasses:
    """Return the first `n` good training passes of a block, however many there are."""
    found: list[RecordedPasses] = []
    for part in reader.passes(block=block, status=RowStatus.OK):
        found.append(take(part, np.isin(part.purposes, TRAINING)))
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


def _changed(block: BlockSettings, *, skip: bool | Literal["input"]) -> BlockSettings:
    return block.model_copy(update={"skip": skip})
