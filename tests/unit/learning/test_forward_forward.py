"""Forward-forward: loud for true labels, quiet for wrong ones."""

from collections.abc import Callable
from typing import Any

import autograd.numpy as anp
import numpy as np
import pytest
from autograd import grad

from labctl.config.training import ForwardForwardTraining
from labctl.learning.forward_forward import LoudnessUpdate, ThresholdLoss, loudness
from labctl.learning.requests import Measure, Requests
from labctl.learning.rule import Batch, LearningRule

MakeLearner = Callable[..., LearningRule]
MakeBatch = Callable[..., Batch]
CarryOut = Callable[[Requests[Any]], tuple[Any, list[Measure]]]


def written_loss(weights, features, theta, threshold):
    goodness = anp.mean(anp.dot(features, weights.T) ** 2, axis=1)
    positive, negative = goodness[0::2], goodness[1::2]
    return anp.mean(
        anp.log(1 + anp.exp(-theta * (positive - threshold))) + anp.log(1 + anp.exp(theta * (negative - threshold)))
    )


@pytest.mark.parametrize("seed", range(5))
def test_the_first_update_follows_the_gradient_of_automatic_differentiation(make_learner: MakeLearner, seed) -> None:
    block = make_learner(rule="forward-forward", epochs=1, precision="float64").network.blocks[0]
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(12, block.weights.shape[1]))
    expected = grad(written_loss)(block.weights.copy(), features, 3.0, 1.2)
    settings = ForwardForwardTraining.model_validate(
        {"rule": "forward-forward", "epochs": 1, "theta": 3, "threshold": 1.2, "inner_steps": 1}
    )
    update = LoudnessUpdate(settings, block, ThresholdLoss(3.0, 1.2))
    before = loudness(features @ block.weights.T).reshape(-1, 2)
    assert ThresholdLoss(3.0, 1.2).value(before) == pytest.approx(written_loss(block.weights, features, 3.0, 1.2))
    update.train(features, 0.0)
    # Adam's first moment after one update is (1 - beta1) times the gradient.
    np.testing.assert_allclose(update.arrays()["first"] / 0.1, expected, rtol=1e-9, atol=1e-14)


def test_the_next_block_cannot_read_how_loud_the_one_before_was(
    make_learner: MakeLearner, make_batch: MakeBatch, carry_out: CarryOut
) -> None:
    learner, batch = make_learner((7, 3), rule="forward-forward", epochs=1), make_batch(20)
    carry_out(learner.prepare(batch, np.random.default_rng(0), range(2)))
    _, asked = carry_out(learner.step(batch, np.random.default_rng(0), 0.0, range(2)))
    assert [request.labels.shape for request in asked] == [(20, 2), (20, 2)]
    assert (asked[1].labels[:, 0] == batch.labels).all()
    np.testing.assert_allclose((asked[1].inputs ** 2).mean(axis=2), 1, rtol=1e-5)
    sizes = 7 * (6 + 9 + 1), 3 * (6 + 7 + 1)
    assert learner.work.forward == (20 + 40) * sizes[0]
    assert learner.work.update == 10 * 2 * 40 * sum(sizes), "ten inner steps"
