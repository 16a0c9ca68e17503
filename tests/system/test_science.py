"""Training learns from the physics and nothing else: not from drift, not from memory, not from the order of passes.

A layer that drifts and remembers but does not listen must score chance; so must one whose responses belong to other
drives. To show that these tests can fail, the order in which the published loop would measure is tried as well.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from labctl.config.experiment import Experiment
from labctl.contract.layer import Drives, PhysicalLayer, Responses, ResponseValues, RowIds, Stop
from labctl.data.dataset import build_dataset
from labctl.data.load import prepare
from labctl.learning.offers import offer_of
from labctl.learning.requests import Measure
from labctl.learning.rule import Surroundings
from labctl.learning.rules import make_rule
from labctl.network.goodness import goodness
from labctl.network.network import build_network
from labctl.network.randomness import named_generator
from labctl.orchestrator import session
from labctl.orchestrator.acquisition import Acquisition
from labctl.orchestrator.assembly import Task
from labctl.orchestrator.evaluation import Evaluation
from labctl.orchestrator.schedules import Joint, Schedule
from labctl.testing.layers import DriftingLayer, InstantLayer

N_CLASSES = 4
N_TRAIN, N_TEST = 250, 500
N_INPUTS, N_OUTPUTS = 12, 20
CHANCE = 1 / N_CLASSES
SEEDS = range(4)

PHYLL: dict[str, Any] = {
    "rule": "phyll",
    "epochs": 8,
    "batch": N_TRAIN,
    "theta": 10,
    "inner_steps": 20,
    "optimizer": {"lr": 5e-3},
}


class InPublishedOrder:
    """A schedule in the fixed order of a loop over passes: the first row of all groups, then the second of all."""

    remembers_training = False

    def __init__(self, task: Task, layer: PhysicalLayer) -> None:
        self._task = task
        self._layer = layer
        self._next_id = 0

    def begin_stage(self, blocks: range) -> None:
        """Nothing is remembered, whatever is trained."""

    def answer(self, request: Measure) -> ResponseValues:
        """Measure column by column."""
        groups, k = request.labels.shape
        encoder = self._task.rule.network.blocks[0].encoder
        inputs = request.inputs.transpose(1, 0, 2).reshape(groups * k, -1)
        ids: RowIds = self._next_id + np.arange(groups * k, dtype=np.int64)
        self._next_id += groups * k
        chunks = self._layer.measure(encoder.encode(inputs).drives, ids, stop=Never())
        values = np.concatenate([chunk.values for chunk in chunks])
        return values.reshape(k, groups, -1).transpose(1, 0, 2)


class Never:
    """A stop that is never asked for."""

    def is_set(self) -> bool:
        """Return that the measurement should go on."""
        return False


class Shuffling(InstantLayer):
    """Answers each row of a request with the response to another row's drive."""

    def measure(self, drives: Drives, ids: RowIds, *, stop: Stop) -> Iterator[Responses]:
        """Measure the drives in another order than they came."""
        return super().measure(np.random.default_rng(int(ids[0])).permutation(drives), ids, stop=stop)


@pytest.fixture(autouse=True, scope="module")
def _one_arithmetic_thread() -> Iterator[None]:
    """Pin BLAS as a run does."""
    with threadpool_limits(1):
        yield


def task_on(layers: Sequence[PhysicalLayer], seed: int, *, skip: bool = False, **training: Any) -> Task:
    """Return a task on balanced, well separated data, physics only unless `skip`."""
    settings = {**PHYLL, **training} if training.get("rule") != "readout" else training
    encoder = {"kind": "fitted-range", "mix": "orthogonal"}
    blocks = [{"layer": layer.info.name, "encoder": encoder, "skip": skip, "units": 16} for layer in layers]
    experiment = Experiment.model_validate(
        {
            "schema": "labctl/experiment/1",
            "name": "science",
            "rig": "none.yaml",
            "seed": seed,
            "data": {"source": "wine", "test_fraction": N_TEST / (N_TRAIN + N_TEST)},
            "network": {
                "label": {"kind": "none" if settings["rule"] == "readout" else "one-hot"},
                "blocks": blocks,
            },
            "training": settings,
        }
    )
    n = N_TRAIN + N_TEST
    labels = np.arange(n) % N_CLASSES
    samples = np.eye(N_CLASSES)[labels] + named_generator(seed, "samples").normal(0, 0.25, (n, N_CLASSES))
    dataset = build_dataset("four", samples, labels, list("abcd"), place=lambda row, column: f"{row}, {column}")
    data = prepare(dataset, experiment.data)
    infos = tuple(layer.info for layer in layers)
    network = build_network(
        experiment.network,
        infos,
        n_features=N_CLASSES,
        n_classes=N_CLASSES,
        seed=seed,
        precision=experiment.training.precision,
    )
    features = np.zeros((n, N_CLASSES), network.dtype)
    features[data.train_index], features[data.test_index] = data.train_x, data.test_x
    offers = tuple(offer_of(layer) for layer in layers)
    rule = make_rule(experiment.training, network, Surroundings(experiment.seed, infos, offers))
    return Task(experiment, data, features, rule, infos, offers)


def result(layers: Sequence[PhysicalLayer], seed: int, **settings: Any) -> Evaluation:
    """Train on the training samples and return the result on the test samples."""
    task = task_on(layers, seed, **settings)
    acquisition = Acquisition(task.rule.network, task.infos, layers)
    session.make_training(task, task.schedule(acquisition), acquisition).run()
    return session.test(task, acquisition, "test")


def held_out_pairs_right(task: Task, schedule: Schedule) -> int:
    """Count the test samples whose true label has the larger goodness when measured beside one wrong label."""
    samples, labels = task.data.test_index, task.data.test_y
    wrong = (labels + named_generator(0, "wrong").integers(1, N_CLASSES, len(labels))) % N_CLASSES
    pairs: NDArray[np.int64] = np.stack([labels, wrong], axis=1)
    right = 0
    for start in range(0, len(samples), N_TRAIN):
        part = slice(start, start + N_TRAIN)
        inputs = task.rule.network.label.embed(task.features[samples[part]], pairs[part])
        responses = schedule.answer(Measure(0, inputs, samples[part], pairs[part], "test"))
        block = task.rule.network.blocks[0]
        flat = inputs.reshape(pairs[part].size, -1)
        outputs = block.outputs(block.features(flat, responses.reshape(pairs[part].size, -1), flat))
        margins = goodness(outputs, block.reference).reshape(-1, 2)
        right += int(np.count_nonzero(margins[:, 0] > margins[:, 1]))
    return right


def is_chance(right: int, n: int, chance: float = CHANCE) -> bool:
    """Return whether `right` of `n` lies within the 99.9 % interval of guessing (normal, continuity corrected)."""
    return abs(right - n * chance) <= 3.2905 * math.sqrt(n * chance * (1 - chance)) + 0.5


@pytest.mark.parametrize("schedule", ["joint", "cached", "greedy"])
def test_a_layer_that_drifts_and_remembers_but_does_not_listen_scores_chance(schedule: str) -> None:
    found = [result([DriftingLayer(N_INPUTS, N_OUTPUTS, seed=seed)], seed, schedule=schedule) for seed in SEEDS]
    assert all(is_chance(evaluation.right, N_TEST) for evaluation in found)
    assert is_chance(sum(evaluation.right for evaluation in found), len(found) * N_TEST)


@pytest.mark.parametrize("schedule", ["joint", "cached"])
def test_so_does_a_readout_of_it(schedule: str) -> None:
    layers = [DriftingLayer(N_INPUTS, N_OUTPUTS)]
    assert is_chance(result(layers, 0, rule="readout", schedule=schedule).right, N_TEST)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_fixed_order_would_have_learnt_the_label_from_drift(seed: int) -> None:
    layer = DriftingLayer(N_INPUTS, N_OUTPUTS, seed=seed)
    fixed, counterbalanced = task_on([layer], seed, schedule="joint"), task_on([layer], seed, schedule="joint")
    in_order = InPublishedOrder(fixed, layer)
    session.make_training(fixed, in_order, Acquisition(fixed.rule.network, fixed.infos, [layer])).run()
    acquisition = Acquisition(counterbalanced.rule.network, counterbalanced.infos, [layer])
    session.make_training(counterbalanced, Joint(acquisition), acquisition).run()
    assert held_out_pairs_right(fixed, in_order) > 0.65 * N_TEST
    assert is_chance(held_out_pairs_right(counterbalanced, Joint(acquisition)), N_TEST, 0.5)


@pytest.mark.parametrize("schedule", ["joint", "cached"])
def test_responses_shuffled_between_samples_score_chance(schedule: str) -> None:
    found = [result([Shuffling(N_INPUTS, N_OUTPUTS)], seed, schedule=schedule) for seed in SEEDS]
    assert all(is_chance(evaluation.right, N_TEST) for evaluation in found)
    assert is_chance(sum(evaluation.right for evaluation in found), len(found) * N_TEST)


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("schedule", ["joint", "cached", "greedy"])
@pytest.mark.parametrize("blocks", [1, 2])
def test_a_layer_that_listens_is_learnt_from(schedule: str, blocks: int, precision: str) -> None:
    layers = [InstantLayer(N_INPUTS, N_OUTPUTS, seed=number, name=f"it{number}") for number in range(blocks)]
    evaluation = result(layers, 0, schedule=schedule, precision=precision)
    assert evaluation.accuracy > 0.8
    assert evaluation.scores.dtype == precision


@pytest.mark.parametrize("blocks", [1, 2])
def test_a_readout_of_a_layer_that_listens_beats_chance(blocks: int) -> None:
    layers = [InstantLayer(N_INPUTS, N_OUTPUTS, seed=number, name=f"it{number}") for number in range(blocks)]
    assert result(layers, 0, rule="readout").accuracy > 0.8


def test_every_block_learns_on_its_own() -> None:
    layers = [InstantLayer(N_INPUTS, N_OUTPUTS), InstantLayer(N_INPUTS, N_OUTPUTS, seed=1, name="second")]
    task = task_on(layers, 0, skip=True)
    before = [block.weights.copy() for block in task.rule.network.blocks]
    acquisition = Acquisition(task.rule.network, task.infos, layers)
    session.make_training(task, task.schedule(acquisition), acquisition).run()
    assert all(
        not np.array_equal(block.weights, weights)
        for block, weights in zip(task.rule.network.blocks, before, strict=True)
    )
    assert session.test(task, acquisition, "test").accuracy > 0.9
