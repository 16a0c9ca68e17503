"""Rules with one loss at the end: what they ask for, what they compute, and what it costs, counted by hand."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from labctl.learning.loss import cross_entropy
from labctl.learning.requests import Measure, Requests
from labctl.learning.rule import Batch, Demand, LearningRule

N_CLASSES, N_OUTPUTS, N_FEATURES = 5, 6, 4
UNITS = (7, 3)
SIZES = [7 * (N_OUTPUTS + N_FEATURES + 1), 3 * (N_OUTPUTS + 7 + 1), N_CLASSES * (3 + 1)]
"""Weights of the two blocks and of the output layer."""

MakeLearner = Callable[..., LearningRule]
MakeBatch = Callable[..., Batch]
CarryOut = Callable[[Requests[Any]], tuple[Any, list[Measure]]]


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def prepared(learner: LearningRule, batch: Batch, carry_out: CarryOut) -> LearningRule:
    carry_out(learner.prepare(batch, rng(), range(len(learner.network.blocks))))
    learner.work.forward = 0
    return learner


def moments(learner: LearningRule, number: int) -> np.ndarray:
    """Return the gradient behind an optimiser's first moment after its first update."""
    return learner.arrays()[f"adam{number}.first"] / 0.1


def test_the_loss_and_its_slope_are_those_of_the_formula() -> None:
    scores, labels = np.array([[1.0, 3.0, -2.0], [400.0, 0.0, 0.0]]), np.array([2, 1])
    loss, slope = cross_entropy(scores, labels)
    probabilities = np.exp(scores[0]) / np.exp(scores[0]).sum()
    assert loss == pytest.approx((-np.log(probabilities[2]) + 400) / 2)
    np.testing.assert_allclose(slope, [(probabilities - [0, 0, 1]) / 2, [0.5, -0.5, 0]], atol=1e-12)


@pytest.mark.parametrize("augment", ["cos", "sin", "none"])
def test_feedback_alignment_sends_the_error_to_every_block_through_its_matrix(
    make_learner: MakeLearner, make_batch: MakeBatch, carry_out: CarryOut, respond: Any, augment: str
) -> None:
    settings = {"rule": "feedback-alignment", "epochs": 3, "augment": augment, "precision": "float64"}
    learner, batch = make_learner(UNITS, **settings), make_batch(20, dtype="float64")
    prepared(learner, batch, carry_out)
    before = {name: array.copy() for name, array in learner.arrays().items()}
    scores, sent = carry_out(learner.scores(batch.features, batch.samples, "test"))
    features = [
        block.features(request.inputs[:, 0], respond(request)[:, 0], sent[0].inputs[:, 0])
        for block, request in zip(learner.network.blocks, sent, strict=True)
    ]
    error = (np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True) - np.eye(N_CLASSES)[batch.labels]) / 20
    _, asked = carry_out(learner.step(batch, rng(), 0.0, range(2)))
    assert [(request.block, request.purpose, request.labels.tolist()) for request in asked] == [
        (block, "train", [[-1]] * 20) for block in range(2)
    ]
    g = {"cos": np.cos, "sin": np.sin, "none": np.ones_like}[augment]
    for block in range(2):
        outputs = features[block] @ before[f"block{block}.weights"].T
        signal = (error @ before[f"feedback{block}.matrix"].T) * g(outputs)
        np.testing.assert_allclose(moments(learner, block), signal.T @ features[block], rtol=1e-6, atol=1e-12)
    last = np.column_stack([features[1] @ before["block1.weights"].T, np.ones(20)])
    np.testing.assert_allclose(moments(learner, 2), error.T @ last, rtol=1e-6, atol=1e-12)
    assert learner.demand(1) == Demand(kept=3)
    assert learner.work.forward == 20 * sum(SIZES)
    assert learner.work.update == 20 * (sum(SIZES) + N_CLASSES * (7 + 3))
    assert learner.work.scoring == 20 * sum(SIZES)


def test_spsa_compares_losses_there_and_back(
    make_learner: MakeLearner, make_batch: MakeBatch, carry_out: CarryOut
) -> None:
    settings = {"rule": "spsa", "epochs": 3, "directions": 2, "perturbation": 1e-4, "precision": "float64"}
    learner, batch = make_learner(UNITS, **settings), make_batch(20, dtype="float64")
    prepared(learner, batch, carry_out)
    start = {name: array.copy() for name, array in learner.arrays().items()}
    names = ("block0.weights", "block1.weights", "head.weights")

    def loss(moved: dict[str, np.ndarray]) -> float:
        learner.restore(start | moved)
        scores, _ = carry_out(learner.scores(batch.features, batch.samples, "test"))
        return cross_entropy(scores, batch.labels)[0]

    generator = rng()
    expected = [np.zeros_like(start[name]) for name in names]
    for _ in range(2):
        signs = [generator.choice([-1.0, 1.0], size=start[name].shape) for name in names]
        ends = [
            loss({name: start[name] + way * 1e-4 * sign for name, sign in zip(names, signs, strict=True)})
            for way in (1, -1)
        ]
        for total, sign in zip(expected, signs, strict=True):
            total += (ends[0] - ends[1]) / 2e-4 / 2 * sign
    learner.restore(start)
    learner.work.forward = 0
    _, asked = carry_out(learner.step(batch, rng(), 0.0, range(2)))
    assert [request.labels.shape for request in asked] == [(20, 1), (20, 4)]
    for number, gradient in enumerate(expected):
        np.testing.assert_allclose(moments(learner, number), gradient, rtol=1e-6, atol=1e-9)
    assert (learner.demand(0), learner.demand(1)) == (Demand(kept=3), Demand(kept=12))
    assert learner.work.forward == 4 * 20 * sum(SIZES)
    assert learner.work.update == 2 * sum(SIZES)
