"""The update of one block compiled as one function: what NumPy does in thirty calls, in one.

Outputs are held as Yᵀ (units, n): sums over the units then run down the rows of a matrix, which the processor adds
several at a time without changing the order of any sum. So nothing is reordered to be fast, and the same machine
gives the same bits every time. Matrix products are those of the BLAS that comes with scipy.

Inner loops count with `range`: through `enumerate` the compiler does not see that the values lie side by side.
"""

import math
from collections.abc import Callable, Mapping
from typing import TypeVar, cast

import numba
import numpy as np
import scipy.linalg.cython_blas  # noqa: F401 # pyright: ignore[reportUnusedImport] - loads the BLAS, to be pinned below
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from labctl.config.training import PhyllOptions
from labctl.learning.adam import Adam
from labctl.learning.loss import Goodness
from labctl.network.block import Block
from labctl.network.label import Vectors

CompiledT = TypeVar("CompiledT", bound=Callable[..., None])

threadpool_limits(1)
"""A session pins the libraries that are loaded when it begins; this module has just loaded one more."""


def compiled(function: CompiledT) -> CompiledT:
    """Compile `function` when it is first called, and keep the machine code on disk for later processes."""
    compiler = numba.njit(cache=True, error_model="numpy", nogil=True)  # pyright: ignore[reportUnknownMemberType]
    return cast("CompiledT", compiler(function))


class FusedUpdate:
    """The update of `NumpyUpdate`, equal to it up to rounding."""

    def __init__(self, settings: PhyllOptions, block: Block, candidates: int) -> None:
        self._block = block
        self._candidates = candidates
        self._steps = settings.inner_steps
        self._softmax = settings.loss == "softmax"
        self._adam = Adam(settings.optimizer, block.weights)
        self._number = block.weights.dtype.type
        self._theta = self._number(settings.theta)
        self._rest_of_beta1 = self._number(1 - settings.optimizer.beta1)
        self._rest_of_beta2 = self._number(1 - settings.optimizer.beta2)
        self._epsilon = self._number(settings.optimizer.epsilon)
        self._gradient = np.empty_like(block.weights)
        self._make_room(0)

    def train(self, features: Vectors, progress: float) -> Goodness:
        """Take `inner_steps` steps; return the goodness that the last one found."""
        if len(features) != self._outputs.shape[1]:
            self._make_room(len(features))
        adam, number = self._adam, self._number
        adam.set_progress(progress)
        for _ in range(self._steps):
            rate, root = adam.advance()
            update(
                self._block.weights,
                adam.first,
                adam.second,
                features,
                self._block.reference,
                self._goodness,
                self._pulls,
                self._outputs,
                self._gradient,
                self._theta,
                self._softmax,
                self._rest_of_beta1,
                self._rest_of_beta2,
                self._epsilon,
                number(rate),
                number(1 / root),
            )
        return self._goodness

    def arrays(self) -> dict[str, NDArray[np.floating]]:
        """Return the optimiser's state."""
        return self._adam.arrays()

    def restore(self, arrays: Mapping[str, NDArray[np.floating]]) -> None:
        """Take over arrays saved by `arrays`."""
        self._adam.restore(arrays)

    def _make_room(self, rows: int) -> None:
        self._outputs = np.empty((len(self._block.weights), rows), self._number)
        self._goodness = np.empty((rows // self._candidates, self._candidates), self._number)
        self._pulls = np.empty_like(self._goodness)


@compiled
def update(
    weights: Vectors,
    first: Vectors,
    second: Vectors,
    features: Vectors,
    reference: Vectors,
    goodness: Goodness,
    pulls: Goodness,
    outputs: Vectors,
    gradient: Vectors,
    theta: np.floating,
    softmax: bool,
    rest_of_beta1: np.floating,
    rest_of_beta2: np.floating,
    epsilon: np.floating,
    rate: np.floating,
    inverse_root: np.floating,
) -> None:
    """Compute `GoodnessGradient` and `Adam.update` in one call.

    Weights, moments and `gradient` are (units, d), `features` (n k, d), `outputs` (units, n k), `goodness` and `pulls`
    (n, k): n samples, k labels. `outputs` and `gradient` are room to work in.
    """
    np.dot(weights, features.T, outputs)
    norm = np.empty(len(features), weights.dtype)
    find_goodness(outputs, reference, norm, goodness.ravel())
    if softmax:
        pull_by_softmax(goodness, theta, pulls)
    else:
        pull_by_pairs(goodness, theta, pulls)
    differentiate(outputs, reference, norm, goodness.ravel(), pulls.ravel())
    np.dot(outputs, features, gradient)
    follow(
        weights.ravel(),
        first.ravel(),
        second.ravel(),
        gradient.ravel(),
        rest_of_beta1,
        rest_of_beta2,
        epsilon,
        rate,
        inverse_root,
    )


@compiled
def find_goodness(outputs: Vectors, reference: Vectors, norm: Vectors, goodness: Vectors) -> None:
    """Write |y| (rows,) and g(y) = |y| . xi / |y| (rows,) of the columns y of `outputs` (units, rows)."""
    norm[:] = 0
    goodness[:] = 0
    for unit in range(len(outputs)):
        xi = reference[unit]
        row_of_unit = outputs[unit]
        for row in range(len(norm)):
            y = row_of_unit[row]
            norm[row] += y * y
            goodness[row] += abs(y) * xi
    for row in range(len(norm)):
        # A vector of zeros points nowhere: goodness 0, gradient 0.
        norm[row] = math.sqrt(norm[row]) if norm[row] > 0 else np.inf
        goodness[row] /= norm[row]


@compiled
def pull_by_pairs(goodness: Goodness, theta: np.floating, pulls: Goodness) -> None:
    """Write dL/dg (n, k) of `PairLoss`."""
    n, k = goodness.shape
    half = theta / np.float32(2)
    share = half / (n * (k - 1))
    for sample in range(n):
        true_pull = 0.0
        for label in range(1, k):
            margin = goodness[sample, 0] - goodness[sample, label]
            pull = (1 - math.tanh(half * margin)) * share
            pulls[sample, label] = pull
            true_pull -= pull
        pulls[sample, 0] = true_pull


@compiled
def pull_by_softmax(goodness: Goodness, theta: np.floating, pulls: Goodness) -> None:
    """Write dL/dg (n, k) of `SoftmaxLoss`."""
    n, k = goodness.shape
    for sample in range(n):
        largest = goodness[sample].max()
        total = 0.0
        for label in range(k):
            odds = math.exp(theta * (goodness[sample, label] - largest))
            pulls[sample, label] = odds
            total += odds
        for label in range(k):
            true = 1.0 if label == 0 else 0.0
            pulls[sample, label] = (pulls[sample, label] / total - true) * theta / n


@compiled
def differentiate(outputs: Vectors, reference: Vectors, norm: Vectors, goodness: Vectors, pulls: Vectors) -> None:
    """Replace the columns y of `outputs` (units, rows) by dL/dy = dL/dg sign(y) (xi - g |y|/norm)/norm."""
    towards = pulls / norm
    back = towards * (goodness / norm)
    for unit in range(len(outputs)):
        xi = reference[unit]
        row_of_unit = outputs[unit]
        for row in range(len(row_of_unit)):
            y = row_of_unit[row]
            row_of_unit[row] = towards[row] * (xi if y >= 0 else -xi) - y * back[row]


@compiled
def follow(
    weights: Vectors,
    first: Vectors,
    second: Vectors,
    gradient: Vectors,
    rest_of_beta1: np.floating,
    rest_of_beta2: np.floating,
    epsilon: np.floating,
    rate: np.floating,
    inverse_root: np.floating,
) -> None:
    """Apply Adam to all arrays (size,) in one sweep; `rate` is lr/(1 - beta1^t), `inverse_root` 1/sqrt(1 - beta2^t)."""
    for i in range(len(gradient)):
        slope = gradient[i]
        mean = first[i] + (slope - first[i]) * rest_of_beta1
        square = second[i] + (slope * slope - second[i]) * rest_of_beta2
        first[i] = mean
        second[i] = square
        weights[i] -= mean / (math.sqrt(square) * inverse_root + epsilon) * rate
