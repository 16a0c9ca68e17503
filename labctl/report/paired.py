"""Comparison of two classifiers on the same test samples."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

Z_95 = 1.959964
"""Two-sided 95 % point of the normal distribution."""


@dataclass(frozen=True)
class Difference:
    """Accuracy of one classifier minus another's, as a share, with its 95 % interval."""

    mean: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """What the interval allows to be said about the first classifier."""
        if self.low > 0:
            return "better"
        return "worse" if self.high < 0 else "no clear difference"


def paired_difference(right: NDArray[np.bool_], other: NDArray[np.bool_]) -> Difference:
    """Compare which samples (n,) each of two classifiers got right.

    With d_i in {-1, 0, 1} the difference on sample i: mean d +- 1.96 s / sqrt(n), s the standard deviation of d with
    n - 1 degrees of freedom; the normal interval of a mean of paired differences. One sample bounds nothing.
    """
    differences = right.astype(np.float64) - other.astype(np.float64)
    mean = float(differences.mean())
    if len(differences) < 2:
        return Difference(mean, -1.0, 1.0)
    half = Z_95 * float(differences.std(ddof=1)) / sqrt(len(differences))
    return Difference(mean, mean - half, mean + half)


def difference_over_draws(differences: Sequence[float]) -> Difference:
    """Return the mean of paired differences, one for each random draw, with its 95 % interval by Student's t.

    A single draw bounds nothing.
    """
    from scipy.stats import t

    n, mean = len(differences), float(np.mean(differences))
    if n < 2:
        return Difference(mean, -1.0, 1.0)
    half = float(t.ppf(0.975, n - 1)) * float(np.std(differences, ddof=1)) / sqrt(n)
    return Difference(mean, mean - half, mean + half)
