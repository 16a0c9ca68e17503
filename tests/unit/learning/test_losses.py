"""The losses against automatic differentiation, one by one and through the weights."""

import autograd.numpy as anp
import numpy as np
import pytest
from autograd import grad

from labctl.learning.gradient import GoodnessGradient
from labctl.learning.loss import LocalLoss, PairLoss, SoftmaxLoss

THETA = 7.0


def printed_pairs(goodness):
    margins = goodness[:, :1] - goodness[:, 1:]
    return anp.mean(anp.log(1 + anp.exp(-THETA * margins)))


def printed_softmax(goodness):
    return anp.mean(anp.log(anp.sum(anp.exp(THETA * goodness), axis=1)) - THETA * goodness[:, 0])


CASES = [(PairLoss(THETA), printed_pairs), (SoftmaxLoss(THETA), printed_softmax)]


@pytest.mark.parametrize(("loss", "printed"), CASES)
@pytest.mark.parametrize("labels", [2, 3, 10])
def test_value_and_pull_are_those_of_the_printed_loss(loss: LocalLoss, printed, labels: int) -> None:
    goodness = np.random.default_rng(labels).uniform(-1, 1, size=(12, labels))
    assert loss.value(goodness) == pytest.approx(float(printed(goodness)), rel=1e-12)
    expected = grad(printed)(goodness)
    assert np.abs(loss.pull(goodness) - expected).max() <= 1e-9 * np.abs(expected).max()


@pytest.mark.parametrize(("loss", "printed"), CASES)
@pytest.mark.parametrize("labels", [2, 5])
def test_gradient_of_the_weights_agrees_with_automatic_differentiation(loss: LocalLoss, printed, labels: int) -> None:
    generator = np.random.default_rng(3)
    features, weights = generator.normal(size=(6 * labels, 8)), generator.normal(size=(4, 8))
    reference = np.array([1.0, -2.0, 2.0, 4.0]) / 5

    def whole(weights):
        outputs = anp.abs(anp.dot(features, weights.T))
        goodness = anp.dot(outputs, reference) / anp.sqrt(anp.sum(outputs**2, axis=1))
        return printed(anp.reshape(goodness, (-1, labels)))

    expected = grad(whole)(weights)
    closed_form = GoodnessGradient(reference, loss, labels)(weights, features)
    assert np.abs(closed_form - expected).max() <= 1e-9 * np.abs(expected).max()


def test_with_one_wrong_label_the_softmax_is_the_pair_loss() -> None:
    goodness = np.random.default_rng(5).uniform(-1, 1, size=(9, 2))
    assert SoftmaxLoss(THETA).value(goodness) == pytest.approx(PairLoss(THETA).value(goodness), rel=1e-12)
    np.testing.assert_allclose(SoftmaxLoss(THETA).pull(goodness), PairLoss(THETA).pull(goodness), rtol=1e-12)


def test_a_huge_theta_overflows_nothing() -> None:
    goodness = np.array([[1.0, -1.0, 0.5], [-1.0, 1.0, 0.9]], np.float32)
    for loss in (PairLoss(1e4), SoftmaxLoss(1e4)):
        assert np.isfinite(loss.pull(goodness)).all()
