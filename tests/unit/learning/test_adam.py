"""Adam against the algorithm as printed."""

import numpy as np
import pytest

from labctl.config.training import Adam as AdamSettings
from labctl.learning.adam import Adam


def printed_algorithm(weights, gradients, lr, beta1, beta2, epsilon):
    first = second = np.zeros_like(weights)
    for t, gradient in enumerate(gradients, start=1):
        first = beta1 * first + (1 - beta1) * gradient
        second = beta2 * second + (1 - beta2) * gradient**2
        weights = weights - lr * (first / (1 - beta1**t)) / (np.sqrt(second / (1 - beta2**t)) + epsilon)
    return weights


def test_adam_follows_the_printed_algorithm():
    generator = np.random.default_rng(1)
    start = generator.normal(size=(4, 7))
    gradients = generator.normal(size=(25, 4, 7))
    settings = AdamSettings(kind="adam", lr=0.03)
    weights = start.copy()
    adam = Adam(settings, weights)
    for gradient in gradients:
        adam.update(weights, gradient)
    expected = printed_algorithm(start, gradients, 0.03, settings.beta1, settings.beta2, settings.epsilon)
    np.testing.assert_allclose(weights, expected, rtol=1e-12)


def test_a_restored_optimiser_goes_on_as_if_never_interrupted():
    generator = np.random.default_rng(2)
    gradients = generator.normal(size=(10, 3, 3)).astype(np.float32)
    settings = AdamSettings(kind="adam", lr=0.01)
    whole, halved = np.ones((3, 3), np.float32), np.ones((3, 3), np.float32)
    adam, first_half = Adam(settings, whole), Adam(settings, halved)
    for gradient in gradients:
        adam.update(whole, gradient)
    for gradient in gradients[:5]:
        first_half.update(halved, gradient)
    second_half = Adam(settings, halved)
    second_half.restore(first_half.arrays())
    for gradient in gradients[5:]:
        second_half.update(halved, gradient)
    assert np.array_equal(whole, halved)
    assert second_half.arrays()["updates"] == pytest.approx(10)


def test_cosine_decay_starts_at_the_rate_given_and_falls_to_zero():
    def first_move(decay: str, progress: float) -> float:
        weights = np.zeros(1)
        adam = Adam(AdamSettings(lr=0.1, decay=decay), weights)
        adam.set_progress(progress)
        adam.update(weights, np.ones(1))
        return -float(weights[0])

    for progress in (0.0, 0.25, 0.5, 0.9):
        assert first_move("cosine", progress) == pytest.approx(0.1 * np.cos(np.pi * progress / 2) ** 2, rel=1e-6)
        assert first_move("none", progress) == pytest.approx(0.1, rel=1e-6)
    assert first_move("cosine", 1.0) == pytest.approx(0, abs=1e-12)
