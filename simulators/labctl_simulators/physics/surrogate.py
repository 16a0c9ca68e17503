"""A model of a recorded system, fitted to pairs of drives and responses and honest about its error.

Each output is modelled in one of two ways, whichever predicts rows better that it was not fitted to: as a quadratic
form of the drives, or as the square root of one. The second is exact for a modulus |Σ_s H_s x_s|, which is what a
microphone with tone-amplitude readout measures. A third part of the rows, used for neither, gives the stated error.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Real = NDArray[np.float64]
Indices = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Thresholds:
    """What counts as a signal.

    `weakest_output_db` is the least rms level of an output relative to the strongest, `least_r2` the least held-out
    R² of an output, `least_input_share` the least share of the outputs' variance that a live input explains.
    """

    weakest_output_db: float
    least_r2: float
    least_input_share: float


@dataclass(frozen=True)
class Surrogate:
    """The fitted model.

    `inputs` and `outputs` index the recorded columns that are live; `rooted` says of each output whether it is the
    root of its quadratic form. `r2` and `residual` (rms, in units of the response) come from rows used for nothing
    else. `held` is the mean at which every recorded input stood; for a dead input it is the value assumed.
    `low`, `high` (per live input) and `norm_range` (of the live inputs together) bound the recorded domain.
    """

    inputs: Indices
    outputs: Indices
    coefficients: Real
    rooted: Mask
    r2: Real
    residual: Real
    held: Real
    low: Real
    high: Real
    norm_range: tuple[float, float]

    def predict(self, drive: Real) -> Real:
        """Return the response (n_outputs,) to one drive (n_inputs,), without noise."""
        return _rooted(quadratic_terms(drive[None, :])[0] @ self.coefficients, self.rooted)


def quadratic_terms(drives: Real) -> Real:
    """Return 1, every x_i and every x_i x_j with i <= j, as (n, 1 + k + k(k+1)/2) for drives (n, k)."""
    first, second = np.triu_indices(drives.shape[1])
    return np.hstack([np.ones((len(drives), 1)), drives, drives[:, first] * drives[:, second]])


def fit_surrogate(
    drives: Real, responses: Real, *, thresholds: Thresholds, holdout_fraction: float, rng: np.random.Generator
) -> Surrogate:
    """Fit drives (n, n_in) to responses (n, n_out). Raises `ValueError` when nothing passes the thresholds.

    A row of zeros is the absence of a recording and is left out. `holdout_fraction` of the rows measures the error, as
    many choose between the two models, the rest (and, for the final coefficients, those that chose) is fitted.
    """
    recorded = drives.any(axis=1)
    x, y = drives[recorded], responses[recorded]
    if not len(x):
        raise ValueError("every recorded drive is zero")
    outputs = _audible(y, thresholds.weakest_output_db)
    inputs = _live(x, y[:, outputs], thresholds.least_input_share)
    n_test = int(holdout_fraction * len(x))
    terms = 1 + len(inputs) + len(inputs) * (len(inputs) + 1) // 2
    if len(x) - 2 * n_test < 2 * terms or n_test < 2:
        raise ValueError(f"{len(x)} recorded rows are too few: {terms} coefficients are fitted and checked per output")
    order = rng.permutation(len(x))
    test, choose, train = order[:n_test], order[n_test : 2 * n_test], order[2 * n_test :]
    rooted = _choose(x[:, inputs], y[:, outputs], train, choose)
    coefficients, predicted = _fit(x[:, inputs], y[:, outputs], order[n_test:], rooted)
    error = y[np.ix_(test, outputs)] - predicted[test]
    r2 = 1.0 - (error**2).mean(axis=0) / y[np.ix_(test, outputs)].var(axis=0)
    good = r2 >= thresholds.least_r2
    if not good.any():
        raise ValueError(f"no output can be predicted: the best held-out R² is {r2.max():.3f}")
    norms = np.linalg.norm(x[:, inputs], axis=1)
    return Surrogate(
        inputs=inputs,
        outputs=outputs[good],
        coefficients=np.ascontiguousarray(coefficients[:, good]),
        rooted=rooted[good],
        r2=r2[good],
        residual=np.sqrt((error**2).mean(axis=0))[good],
        held=x.mean(axis=0),
        low=x[:, inputs].min(axis=0),
        high=x[:, inputs].max(axis=0),
        norm_range=(float(norms.min()), float(norms.max())),
    )


def _audible(y: Real, weakest_db: float) -> Indices:
    rms = np.sqrt((y**2).mean(axis=0))
    if not rms.any():
        raise ValueError("every recorded response is zero")
    return np.flatnonzero(rms >= rms.max() * 10.0 ** (weakest_db / 20.0))


def _live(x: Real, y: Real, least_share: float) -> Indices:
    """Return the inputs whose linear contribution explains at least `least_share` of an average output's variance."""
    centred = x - x.mean(axis=0)
    slopes = _least_squares(centred, y - y.mean(axis=0))
    share = ((slopes**2 * x.var(axis=0)[:, None]) / y.var(axis=0)).mean(axis=1)
    live = np.flatnonzero(share >= least_share)
    if not live.size:
        raise ValueError("no input moves any output")
    return live


def _choose(x: Real, y: Real, train: Indices, choose: Indices) -> Mask:
    """Say for each output whether the root of a quadratic form predicts the rows `choose` better than a plain one."""
    plain: Mask = np.zeros((y.shape[1],), dtype=np.bool_)
    predictions = [_fit(x, y, train, rooted)[1][choose] for rooted in (plain, ~plain)]
    errors = [((y[choose] - predicted) ** 2).mean(axis=0) for predicted in predictions]
    return errors[1] < errors[0]


def _fit(x: Real, y: Real, rows: Indices, rooted: Mask) -> tuple[Real, Real]:
    """Return coefficients fitted to `rows` and the predictions for all rows."""
    terms = quadratic_terms(x)
    coefficients = _least_squares(terms[rows], np.where(rooted, y**2, y)[rows])
    return coefficients, _rooted(terms @ coefficients, rooted)


def _rooted(form: Real, rooted: Mask) -> Real:
    """Take the root of the columns `rooted`; a negative form is a modulus of zero."""
    return np.where(rooted, np.sqrt(np.maximum(form, 0.0)), form).astype(np.float64, copy=False)


def _least_squares(a: Real, b: Real) -> Real:
    return np.asarray(np.linalg.lstsq(a, b, rcond=None)[0], dtype=np.float64)
