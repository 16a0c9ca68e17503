"""Accuracy from fresh passes on samples that training has never seen."""

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from labctl.learning.requests import Purpose
from labctl.learning.rule import LearningRule
from labctl.network.label import Vectors
from labctl.orchestrator.schedules import Schedule, carry_out

SAMPLES_PER_ACQUISITION = 50


@dataclass(frozen=True)
class Evaluation:
    """`scores` (n, n_classes) of samples with true `labels` (n,)."""

    scores: NDArray[np.floating]
    labels: NDArray[np.int64]

    @property
    def predicted(self) -> NDArray[np.int64]:
        """The class of the largest score, (n,)."""
        return self.scores.argmax(axis=1)

    @property
    def right(self) -> int:
        """Number of samples predicted correctly."""
        return int(np.count_nonzero(self.predicted == self.labels))

    @property
    def accuracy(self) -> float:
        """Share of samples predicted correctly, 0 to 1."""
        return self.right / len(self.labels)

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the accuracy over samples (Wilson, JASA 22:209, 1927)."""
        return wilson_interval(self.right, len(self.labels))

    @property
    def confusion(self) -> NDArray[np.int64]:
        """Counts (true class, predicted class)."""
        n_classes = self.scores.shape[1]
        return np.bincount(self.labels * n_classes + self.predicted, minlength=n_classes**2).reshape(n_classes, -1)


def wilson_interval(right: int, n: int) -> tuple[float, float]:
    """Return the 95 % Wilson score interval of `right` successes in `n` trials."""
    z = 1.959964
    share = right / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return centre - half, centre + half


def score_samples(
    rule: LearningRule, schedule: Schedule, features: Vectors, samples: NDArray[np.int64], purpose: Purpose
) -> NDArray[np.floating]:
    """Return scores (n, n_classes) for `features` (n, d), measured in acquisitions of a few samples each."""
    return np.concatenate(
        [
            carry_out(rule.scores(features[part], samples[part], purpose), schedule)
            for start in range(0, len(features), SAMPLES_PER_ACQUISITION)
            for part in (slice(start, start + SAMPLES_PER_ACQUISITION),)
        ]
    )
