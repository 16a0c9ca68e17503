"""Undoes what is known to have happened to responses, channel by channel or, for a re-mixed medium, by a matrix."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labctl.contract.layer import ResponseValues
from labctl.drift.baseline import as_numbers

RIDGES = np.logspace(-6, 2, 17)
"""Candidates for the ridge of a map, relative to the mean square of the responses."""


@dataclass(frozen=True)
class Correction:
    """`scale` (C,) and `shift` (C,): a response becomes scale · response + shift."""

    scale: NDArray[np.inexact]
    shift: NDArray[np.inexact]

    def apply(self, responses: ResponseValues) -> ResponseValues:
        """Return corrected responses (..., C) in single precision."""
        return single(as_numbers(responses) * self.scale + self.shift)


@dataclass(frozen=True)
class LinearMap:
    """`matrix` (C, C) and `shift` (C,): a response becomes response · matrix + shift.

    `explained` is the share of the variance of the old responses that it brings back in frames it was not fitted to.
    """

    matrix: NDArray[np.float64]
    shift: NDArray[np.float64]
    explained: float

    @classmethod
    def fitted(cls, now: ResponseValues, then: ResponseValues) -> "LinearMap":
        """Fit `now` (n, C) to `then` (n, C), responses to the same n drives; the ridge is chosen by leaving one out.

        Raises `ValueError` for complex responses, which have to be split into their parts first.
        """
        from sklearn.linear_model import RidgeCV

        new, old = as_numbers(now), as_numbers(then)
        if new.dtype.kind == "c":
            raise ValueError("a map is fitted to real responses")
        centre_new, centre_old = new.mean(axis=0), old.mean(axis=0)
        alphas = RIDGES * (float(((new - centre_new) ** 2).mean()) * len(new) or 1.0)
        ridge: Any = RidgeCV(alphas=alphas, fit_intercept=False, store_cv_results=True)
        ridge.fit(new - centre_new, old - centre_old)
        errors: NDArray[np.float64] = ridge.cv_results_[..., int(np.argmin(np.abs(alphas - ridge.alpha_)))]
        variance = float(((old - centre_old) ** 2).mean()) or 1.0
        matrix: NDArray[np.float64] = ridge.coef_.T
        return cls(matrix, centre_old - centre_new @ matrix, 1.0 - float(errors.mean()) / variance)

    def apply(self, responses: ResponseValues) -> ResponseValues:
        """Return mapped responses (..., C) in single precision."""
        return single(as_numbers(responses) @ self.matrix + self.shift)


def single(values: ResponseValues) -> ResponseValues:
    """Return values in the single precision of their kind."""
    return values.astype(np.complex64 if values.dtype.kind == "c" else np.float32)
