"""PhyLL with class-wise references: one pass per sample, its local gradient against automatic differentiation."""

from collections.abc import Callable
from typing import Any

import autograd.numpy as anp
import numpy as np
import pytest
from autograd import grad

from labctl.learning.loss import softmax
from labctl.learning.reference import References
from labctl.learning.requests import Measure, Requests
from labctl.learning.rule import Batch, Demand, LearningRule

N_CLASSES, N_OUTPUTS, N_FEATURES = 5, 6, 4

MakeLearner = Callable[..., LearningRule]
MakeBatch = Callable[..., Batch]
CarryOut = Callable[[Requests[Any]], tuple[Any, list[Measure]]]


def written_loss(outputs, xi, labels, theta):
    goodness = anp.dot(anp.abs(outputs), xi.T) / anp.sqrt(anp.sum(outputs**2, axis=1, keepdims=True))
    scores = theta * goodness
    return anp.mean(anp.log(anp.sum(anp.exp(scores), axis=1)) - scores[anp.arange(len(labels)), labels])


@pytest.mark.parametrize("seed", range(5))
def test_gradient_agrees_with_automatic_differentiation(seed):
    generator = np.random.default_rng(seed)
    references = References(4, 7, generator, np.dtype("float64"))
    outputs, labels, theta = generator.normal(size=(9, 7)), generator.integers(4, size=9), 6.0
    goodness = references.goodness(outputs)
    pull = theta * (softmax(theta * goodness) - np.eye(4)[labels]) / 9
    expected = grad(written_loss)(outputs, references.xi, labels, theta)
    np.testing.assert_allclose(references.gradient(outputs, goodness, pull), expected, rtol=1e-9, atol=1e-12)


def test_a_vector_of_zeros_has_goodness_and_gradient_zero():
    references = References(3, 4, np.random.default_rng(0), np.dtype("float32"))
    nothing = np.zeros((2, 4), np.float32)
    assert not references.goodness(nothing).any()
    assert not references.gradient(nothing, np.zeros((2, 3)), np.ones((2, 3))).any()


@pytest.mark.parametrize("units", [(7,), (7, 3)])
def test_one_row_without_label_per_sample_and_block_and_the_work_counted_by_hand(
    make_learner: MakeLearner, make_batch: MakeBatch, carry_out: CarryOut, units: tuple[int, ...]
) -> None:
    learner, batch = make_learner(units, rule="phyll-reference", epochs=3, inner_steps=2), make_batch(20)
    blocks = range(len(units))
    carry_out(learner.prepare(batch, np.random.default_rng(0), blocks))
    _, asked = carry_out(learner.step(batch, np.random.default_rng(0), 0.0, blocks))
    assert [(request.block, request.n_rows, request.purpose) for request in asked] == [(b, 20, "train") for b in blocks]
    assert all((request.labels == -1).all() for request in asked)
    assert learner.demand(0) == Demand(kept=3)
    sizes = [7 * (N_OUTPUTS + N_FEATURES + 1), 3 * (N_OUTPUTS + 7 + 1)][: len(units)]
    references = [N_CLASSES * n for n in units]
    assert learner.work.forward == 2 * 20 * sum(sizes[:-1]), "statistics and one step"
    assert learner.work.update == 2 * 2 * 20 * (sum(sizes) + sum(references)), "two inner steps"
    carry_out(learner.scores(batch.features, batch.samples, "test"))
    assert learner.work.scoring == 20 * (sum(sizes) + sum(references))


def test_the_references_are_drawn_by_seed_and_saved(make_learner: MakeLearner) -> None:
    first, second = make_learner(rule="phyll-reference", epochs=1), make_learner(rule="phyll-reference", epochs=1)
    xi = first.arrays()["references0.xi"]
    assert xi.shape == (N_CLASSES, 7)
    np.testing.assert_allclose(np.linalg.norm(xi, axis=1), 1, rtol=1e-6)
    assert np.array_equal(xi, second.arrays()["references0.xi"])
