"""Accuracy, its interval and the confusion matrix."""

import numpy as np
import pytest

from labctl.orchestrator.evaluation import Evaluation, wilson_interval


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0000, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_the_interval_is_wilsons(right: int, n: int, low: float, high: float) -> None:
    """Values of R. G. Newcombe, Statistics in Medicine 17:857 (1998), table I, method 3."""
    assert wilson_interval(right, n) == pytest.approx((low, high), abs=5e-5)
    mirrored = wilson_interval(n - right, n)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=5e-5)


def test_confusion_counts_true_against_predicted_classes() -> None:
    labels = np.array([0, 0, 1, 2, 2, 2])
    predicted = np.array([0, 1, 1, 0, 2, 2])
    evaluation = Evaluation(np.eye(4)[predicted], labels)
    assert evaluation.confusion.tolist() == [[1, 1, 0, 0], [0, 1, 0, 0], [1, 0, 2, 0], [0, 0, 0, 0]]
    assert evaluation.right == np.trace(evaluation.confusion) == 4
    assert evaluation.accuracy == pytest.approx(4 / 6)
    assert evaluation.predicted.tolist() == predicted.tolist()
    assert evaluation.interval == wilson_interval(4, 6)
