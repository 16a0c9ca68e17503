"""The closed-form gradient against automatic differentiation of the formula as published."""

import autograd.numpy as anp
import numpy as np
import pytest
from autograd import grad

from labctl.learning.gradient import GoodnessGradient
from labctl.learning.loss import PairLoss


def published_loss(weights, features, reference, theta):
    outputs = anp.abs(anp.dot(features, weights.T))
    norm = anp.sqrt(anp.sum(outputs**2, axis=1))
    goodness = anp.dot(outputs, reference) / norm
    margins = goodness[0::2] - goodness[1::2]
    return anp.mean(anp.log(1 + anp.exp(-theta * margins)))


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(("pairs", "units", "width"), [(1, 20, 40), (206, 20, 40), (17, 5, 9)])
def test_gradient_agrees_with_automatic_differentiation(seed, pairs, units, width):
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(2 * pairs, width))
    weights = generator.normal(size=(units, width))
    reference = generator.normal(size=units)
    reference /= np.linalg.norm(reference)
    theta = generator.uniform(1, 20)

    gradient = GoodnessGradient(reference, PairLoss(theta), 2)
    closed_form = gradient(weights, features)

    expected = grad(published_loss)(weights, features, reference, theta)
    assert np.abs(closed_form - expected).max() <= 1e-9 * np.abs(expected).max()
    assert gradient.loss() == pytest.approx(published_loss(weights, features, reference, theta), rel=1e-12)


def test_gradient_agrees_with_finite_differences():
    generator = np.random.default_rng(0)
    features, weights = generator.normal(size=(6, 4)), generator.normal(size=(3, 4))
    reference = np.array([1.0, -2.0, 2.0]) / 3
    closed_form = GoodnessGradient(reference, PairLoss(4.0), 2)(weights, features)
    for index in np.ndindex(weights.shape):
        step = np.zeros_like(weights)
        step[index] = 1e-6
        rise = published_loss(weights + step, features, reference, 4.0)
        fall = published_loss(weights - step, features, reference, 4.0)
        assert closed_form[index] == pytest.approx((rise - fall) / 2e-6, rel=1e-5, abs=1e-8)


def test_a_vector_of_zeros_and_a_huge_theta_give_finite_gradients():
    reference = np.ones(3, np.float32) / np.sqrt(3, dtype=np.float32)
    features = np.array([[0, 0], [1, 2], [3, 4], [0, 0]], np.float32)
    gradient = GoodnessGradient(reference, PairLoss(1e4), 2)(np.ones((3, 2), np.float32), features)
    assert np.isfinite(gradient).all()
