"""Standardisation with frozen statistics."""

import numpy as np
import pytest

from labctl.network.standardise import Standardiser


@pytest.mark.parametrize("dtype", [np.dtype(np.float32), np.dtype(np.float64)])
def test_fitted_responses_have_zero_mean_and_unit_spread(dtype: np.dtype[np.floating]) -> None:
    responses = np.random.default_rng(0).normal([1, -50, 1e-3], [1, 3, 1e-5], (500, 3)).astype(np.float32)
    standard = Standardiser.neutral(3, dtype).fitted(responses).apply(responses)
    assert standard.dtype == dtype
    np.testing.assert_allclose(standard.mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(standard.std(axis=0), 1, rtol=1e-3)


def test_a_dead_channel_says_nothing_even_when_it_wakes_up() -> None:
    responses = np.array([[1.0, 7.0], [3.0, 7.0]])
    standardiser = Standardiser.neutral(2, np.dtype(np.float64)).fitted(responses)
    assert standardiser.apply(np.array([[1.0, 7.0], [5.0, 9.0]])).tolist() == [[-1, 0], [3, 0]]


def test_neutral_changes_nothing_but_the_number_type() -> None:
    counts = np.array([[0, 200], [255, 3]], np.uint8)
    standard = Standardiser.neutral(2, np.dtype(np.float32)).apply(counts)
    assert standard.dtype == np.float32
    assert standard.tolist() == counts.tolist()


def test_a_scale_multiplies_what_is_standardised_and_what_is_not() -> None:
    responses = np.random.default_rng(0).normal(3, 5, (500, 2))
    scaled = Standardiser.neutral(2, np.dtype(np.float64), 0.3)
    np.testing.assert_allclose(scaled.apply(responses), 0.3 * responses)
    np.testing.assert_allclose(scaled.fitted(responses).apply(responses).std(axis=0), 0.3)


def test_the_mean_can_follow_part_of_the_way() -> None:
    standardiser = Standardiser(np.array([1.0, -2.0]), np.array([3.0, 0.0])).moved_towards(np.array([2.0, 0.0]), 0.25)
    assert standardiser.mean.tolist() == [1.25, -1.5]
    assert standardiser.gain.tolist() == [3.0, 0.0]


def test_running_statistics_follow_mean_and_spread() -> None:
    generator = np.random.default_rng(0)
    standardiser = Standardiser.neutral(3, np.dtype(np.float64), 0.5).fitted(
        generator.normal(size=(500, 3)) * [1, 1, 0]
    )
    changed = generator.normal(2.0, 3.0, size=(400, 50, 3))
    for batch in changed.reshape(400, 25, 2, 3):
        standardiser = standardiser.followed(batch)
    found = standardiser.apply(changed.reshape(-1, 3))
    np.testing.assert_allclose(found[:, :2].mean(axis=0), 0.0, atol=0.05)
    np.testing.assert_allclose(found[:, :2].std(axis=0), 0.5, rtol=0.1)
    assert not found[:, 2].any(), "a channel that never changed says nothing later on, either"


def test_one_batch_moves_running_statistics_by_a_twentieth() -> None:
    standardiser = Standardiser(np.array([1.0]), np.array([0.5])).followed(np.array([[3.0], [5.0]]))
    assert standardiser.mean.tolist() == pytest.approx([1.0 + 0.05 * 3.0])
    assert standardiser.gain.tolist() == pytest.approx([1 / np.sqrt(4.0 + 0.05 * (10.0 - 4.0))])


def test_running_statistics_leave_a_channel_that_died_as_it_was() -> None:
    generator = np.random.default_rng(1)
    alive = generator.normal(5.0, 2.0, size=(200, 2)).astype(np.float32)
    first = running = Standardiser.neutral(2, np.dtype(np.float32)).fitted(alive)
    dead = alive * np.array([1, 0], np.float32)
    for _ in range(5000):
        running = running.followed(dead)
    assert np.isfinite(running.apply(dead)).all()
    assert (running.mean[1], running.gain[1]) == (first.mean[1], first.gain[1])
