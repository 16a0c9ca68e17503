"""Which wrong labels are drawn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labctl.config.training import PhyllTraining
from labctl.contract.errors import InputError
from labctl.learning.negatives import Negatives


def negatives(n_classes: int = 5, **settings: object) -> Negatives:
    training = {"rule": "phyll", "epochs": 1, "theta": 4.0, **settings}
    read = PhyllTraining.model_validate(training)
    return Negatives(n_classes, read.negatives, sharpness=read.hardness * read.theta)


@given(st.integers(2, 12), st.integers(0, 2**32 - 1), st.sampled_from([1, 2, "all"]), st.sampled_from([0.0, 0.5]))
def test_wrong_labels_are_wrong_and_different(n_classes: int, seed: int, count: int | str, hardness: float) -> None:
    if count == 2 and n_classes == 2:
        count = 1
    chooser = negatives(n_classes, negatives=count, hardness=hardness)
    generator = np.random.default_rng(seed)
    labels = generator.integers(n_classes, size=30)
    wrong = chooser.draw(labels, np.arange(30), generator)
    assert wrong.shape == (30, chooser.count)
    assert (wrong != labels[:, None]).all()
    assert all(len(set(row)) == chooser.count for row in wrong.tolist())
    assert wrong.min() >= 0
    assert wrong.max() < n_classes


def test_several_negatives_are_uniform_over_the_wrong_labels() -> None:
    wrong = negatives(5, negatives=2).draw(np.zeros(40_000, np.int64), np.arange(40_000), np.random.default_rng(0))
    shares = np.bincount(wrong.ravel(), minlength=5) / wrong.size
    np.testing.assert_allclose(shares, [0, 0.25, 0.25, 0.25, 0.25], atol=0.01)


def test_hard_negatives_are_drawn_with_the_odds_of_their_goodness() -> None:
    n, goodness = 60_000, np.array([0.9, -0.5, 0.0, 0.5])
    chooser = negatives(4, hardness=0.5)
    labels, samples = np.zeros(n, np.int64), np.arange(n)
    chooser.remember(samples, np.tile(np.arange(4), (n, 1)), np.tile(goodness, (n, 1)))
    wrong = chooser.draw(labels, samples, np.random.default_rng(0))
    odds = np.exp(0.5 * 4.0 * goodness[1:])
    np.testing.assert_allclose(np.bincount(wrong[:, 0], minlength=4)[1:] / n, odds / odds.sum(), atol=0.01)


def test_what_is_remembered_survives_a_restart() -> None:
    chooser, restored = negatives(3, hardness=1.0), negatives(3, hardness=1.0)
    chooser.remember(np.array([4, 7]), np.array([[0, 1], [2, 0]]), np.array([[0.1, 0.9], [0.8, 0.3]]))
    restored.restore(chooser.arrays())
    draws = [
        each.draw(np.array([0, 2]), np.array([4, 7]), np.random.default_rng(5)).tolist() for each in (chooser, restored)
    ]
    assert draws[0] == draws[1]


def test_more_negatives_than_wrong_labels_are_refused() -> None:
    with pytest.raises(InputError, match="4 wrong labels, but there are only 3"):
        negatives(4, negatives=4)
