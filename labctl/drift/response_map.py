"""Brings responses of a re-mixed medium back to those of the old one, as far as the two have something in common.

A detector of intensities answers |T x|², which is linear in the products x·x* alone. What is left of an old medium T in
a new one can therefore not be had from the new intensities by a matrix alone; products of the responses' leading
components, which reach further into that space, come closer. The map is linear in both.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labctl.contract.layer import ResponseValues
from labctl.drift.baseline import as_numbers, single

Real = NDArray[np.float64]

RIDGES = np.logspace(-6, 2, 17)
"""Candidates for the ridge, relative to the mean square of the features."""

COMPONENTS = 20
"""So many leading components of the responses are multiplied with one another: 210 products."""


@dataclass(frozen=True)
class ResponseMap:
    """A response is centred by `centre` (C,), gets the products of its `components` (C, q), and is multiplied.

    `weights` (C + q(q+1)/2, C) and `shift` (C,) lead to the old response. `explained` is the share of the variance of
    the old responses that the map brings back in frames it was not fitted to. Complex numbers count as two reals each.
    """

    centre: Real
    components: Real
    weights: Real
    shift: Real
    explained: float

    @classmethod
    def fitted(cls, now: ResponseValues, then: ResponseValues) -> "ResponseMap":
        """Fit `now` (n, C) to `then` (n, C), responses to the same n drives.

        The ridge is chosen by leaving one out, and so is whether products take part.
        """
        new, old = _reals(now), _reals(then)
        plain = _fitted(new, old, 0)
        lifted = _fitted(new, old, min(COMPONENTS, new.shape[1]))
        return max(plain, lifted, key=lambda found: found.explained)

    @property
    def n_components(self) -> int:
        """How many components are multiplied with one another."""
        return self.components.shape[1]

    def apply(self, responses: ResponseValues) -> ResponseValues:
        """Return mapped responses (n, C) in single precision."""
        mapped = _features(_reals(responses) - self.centre, self.components) @ self.weights + self.shift
        return single(mapped.view(np.complex128) if responses.dtype.kind == "c" else mapped)


def _fitted(new: Real, old: Real, n_components: int) -> ResponseMap:
    from sklearn.linear_model import RidgeCV

    centre, middle = new.mean(axis=0), old.mean(axis=0)
    components = _components(new - centre, n_components)
    features = _features(new - centre, components)
    mean = features.mean(axis=0)
    alphas = RIDGES * (float(((features - mean) ** 2).mean()) * len(new) or 1.0)
    # The intercept takes part in leaving one out: without it a map with more features than frames would seem perfect.
    ridge: Any = RidgeCV(alphas=alphas, fit_intercept=True, store_cv_results=True)
    ridge.fit(features - mean, old - middle)
    errors: Real = ridge.cv_results_[..., int(np.argmin(np.abs(alphas - ridge.alpha_)))]
    variance = float(((old - middle) ** 2).mean()) or 1.0
    weights: Real = np.ascontiguousarray(ridge.coef_.T)
    return ResponseMap(centre, components, weights, middle - mean @ weights, 1.0 - float(errors.mean()) / variance)


def _components(centred: Real, n: int) -> Real:
    """Return the `n` leading principal directions (C, n) of centred responses, scaled.

    Products of two components are then as large as responses.
    """
    _, sizes, directions = np.linalg.svd(centred, full_matrices=False)
    spreads = sizes[:n] / np.sqrt(len(centred))
    used = spreads > 1e-12 * (sizes[0] / np.sqrt(len(centred)) if len(sizes) else 1.0)
    scale = np.sqrt(float(np.sqrt((centred**2).mean())))
    return np.ascontiguousarray(directions[:n][used].T / spreads[used] * scale)


def _features(centred: Real, components: Real) -> Real:
    """Return centred responses (n, C) and, behind them, the products of their components."""
    first, second = np.triu_indices(components.shape[1])
    sizes = centred @ components
    return np.hstack([centred, sizes[:, first] * sizes[:, second]])


def _reals(values: ResponseValues) -> Real:
    numbers = np.ascontiguousarray(as_numbers(values))
    return numbers.view(np.float64)
