"""Unsupervised PhyLL: two views of a sample and no label."""

from collections.abc import Callable
from typing import Any

import autograd.numpy as anp
import numpy as np
import pytest
from autograd import grad

from labctl.contract.errors import InputError
from labctl.learning.contrastive import Views, contrast
from labctl.learning.requests import Measure, Requests
from labctl.learning.rule import Batch, Demand, LearningRule

MakeLearner = Callable[..., LearningRule]
MakeBatch = Callable[..., Batch]
CarryOut = Callable[[Requests[Any]], tuple[Any, list[Measure]]]


def written_loss(outputs, views, theta):
    def directions(values):
        rectified = anp.maximum(values, 0)
        centred = rectified - anp.mean(rectified, axis=0)
        return centred / anp.sqrt(anp.sum(centred**2, axis=1, keepdims=True))

    scores = theta * anp.dot(directions(outputs), directions(views).T)
    return anp.mean(anp.log(anp.sum(anp.exp(scores), axis=1)) - anp.diag(scores))


@pytest.mark.parametrize("seed", range(5))
def test_gradients_agree_with_automatic_differentiation(seed):
    generator = np.random.default_rng(seed)
    outputs, views = generator.normal(size=(2, 9, 6))
    found = contrast(outputs, views, 5.0)
    assert found.loss == pytest.approx(written_loss(outputs, views, 5.0))
    np.testing.assert_allclose(found.first, grad(written_loss, 0)(outputs, views, 5.0), rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(found.second, grad(written_loss, 1)(outputs, views, 5.0), rtol=1e-8, atol=1e-12)


def test_a_batch_of_one_teaches_nothing():
    found = contrast(np.ones((1, 3), np.float32), np.ones((1, 3), np.float32), 5.0)
    assert not found.first.any()
    assert not found.second.any()


def test_views_are_masked_and_shifted():
    image = np.zeros((200, 12), np.float32)
    image[:, 5] = 1
    masked = Views(0, 0.25, None)(image, np.random.default_rng(0))
    assert 0.15 < 1 - masked[:, 5].mean() < 0.35
    shifted = Views(1, 0.0, (3, 4))(image, np.random.default_rng(0))
    assert set(np.flatnonzero(shifted.any(axis=0))) == {0, 1, 2, 4, 5, 6, 8, 9, 10}
    with pytest.raises(InputError, match="no images"):
        Views(1, 0.0, None)


def test_two_views_a_step_then_one_pass_for_the_readout_and_no_label_anywhere(
    make_learner: MakeLearner, make_batch: MakeBatch, carry_out: CarryOut
) -> None:
    learner, batch = make_learner((7, 3), rule="phyll-contrastive", epochs=3), make_batch(20)
    carry_out(learner.prepare(batch, np.random.default_rng(0), range(2)))
    other_labels = Batch(batch.features, (batch.labels + 1) % 5, batch.samples)
    _, asked = carry_out(learner.step(batch, np.random.default_rng(0), 0.0, range(2)))
    assert [(a.block, a.purpose, a.n_rows) for a in asked] == [(b, p, 20) for b in (0, 1) for p in ("train", "view")]
    assert all((request.labels == -1).all() for request in asked)
    sizes = 7 * (6 + 4 + 1), 3 * (6 + 7 + 1)
    assert learner.work.forward == (20 + 40) * sizes[0]
    assert learner.work.update == 4 * 20 * sum(sizes) + 3 * 20 * 20 * (7 + 3)
    again = make_learner((7, 3), rule="phyll-contrastive", epochs=3)
    carry_out(again.prepare(batch, np.random.default_rng(0), range(2)))
    carry_out(again.step(other_labels, np.random.default_rng(0), 0.0, range(2)))
    assert all(
        np.array_equal(a.weights, b.weights) for a, b in zip(learner.network.blocks, again.network.blocks, strict=True)
    )
    weights = learner.network.blocks[0].weights.copy()
    _, asked = carry_out(learner.step(batch, np.random.default_rng(0), 3 / 4, range(2)))
    assert [(a.block, a.purpose, a.n_rows) for a in asked] == [(0, "train", 20), (1, "train", 20)]
    assert np.array_equal(weights, learner.network.blocks[0].weights)
    assert learner.epochs == 4
    assert learner.demand(0) == Demand(kept=4, fresh=3)


def test_without_epochs_the_weights_stay_as_drawn_and_only_the_readout_learns(
    make_learner: MakeLearner, make_batch: MakeBatch, carry_out: CarryOut
) -> None:
    learner, batch = make_learner((7,), rule="phyll-contrastive", epochs=0), make_batch(20)
    carry_out(learner.prepare(batch, np.random.default_rng(0), range(1)))
    weights = learner.network.blocks[0].weights.copy()
    _, asked = carry_out(learner.step(batch, np.random.default_rng(0), 0.0, range(1)))
    assert [a.purpose for a in asked] == ["train"]
    assert learner.epochs == 1
    assert learner.demand(0) == Demand(kept=1, fresh=0)
    learner.finish()
    assert np.array_equal(weights, learner.network.blocks[0].weights)
    assert learner.arrays()["readout.weights"].any()
