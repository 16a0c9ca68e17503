"""Local losses: how the goodness of a true label and of wrong ones becomes a pull on each."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from labctl.config.training import PhyllOptions

Goodness = NDArray[np.floating]
"""Goodness (n, k) of k labels of each of n samples, the true label first."""


def softmax(scores: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the softmax (n, k) of each row of `scores` (n, k)."""
    odds = np.exp(scores - scores.max(axis=1, keepdims=True))
    odds /= odds.sum(axis=1, keepdims=True)
    return odds


def cross_entropy(scores: NDArray[np.floating], labels: NDArray[np.int64]) -> tuple[float, NDArray[np.floating]]:
    """Return L = mean -log softmax(scores)[true] and dL/dscores (n, k) for `scores` (n, k) and true `labels` (n,)."""
    rows = np.arange(len(labels))
    shifted = scores - scores.max(axis=1, keepdims=True)
    slope = np.exp(shifted)
    total = slope.sum(axis=1, keepdims=True)
    loss = float((np.log(total[:, 0]) - shifted[rows, labels]).mean())
    slope /= total
    slope[rows, labels] -= 1
    slope /= len(labels)
    return loss, slope


class LocalLoss(Protocol):
    """A loss of the goodness of one block, and its gradient with respect to it."""

    def pull(self, goodness: Goodness) -> Goodness:
        """Return dL/dg (n, k)."""
        ...

    def value(self, goodness: Goodness) -> float:
        """Return L."""
        ...


class PairLoss:
    """L = mean log(1 + exp(-theta D)) over all pairs of the true label and a wrong one, D = g(true) - g(wrong).

    The published loss, there with one wrong label per sample.
    """

    def __init__(self, theta: float) -> None:
        self._theta = theta

    def pull(self, goodness: Goodness) -> Goodness:
        """Return dL/dg: -theta sigma(-theta D) per pair, where sigma(-x) = (1 - tanh(x/2))/2."""
        margins = goodness[:, :1] - goodness[:, 1:]
        pulls = np.empty_like(goodness)
        pulls[:, 1:] = (1 - np.tanh(self._theta / 2 * margins)) * (self._theta / 2 / margins.size)
        pulls[:, 0] = -pulls[:, 1:].sum(axis=1)
        return pulls

    def value(self, goodness: Goodness) -> float:
        """Return L."""
        margins = goodness[:, :1] - goodness[:, 1:]
        return float(np.logaddexp(0, -self._theta * margins).sum() / margins.size)


class SoftmaxLoss:
    """L = mean -log p(true), p the softmax of theta g over the labels measured: all wrong labels at once."""

    def __init__(self, theta: float) -> None:
        self._theta = theta

    def pull(self, goodness: Goodness) -> Goodness:
        """Return dL/dg = theta (p - [1, 0, ..., 0]) / n."""
        pulls = self._probabilities(goodness)
        pulls[:, 0] -= 1
        pulls *= self._theta / len(goodness)
        return pulls

    def value(self, goodness: Goodness) -> float:
        """Return L."""
        return float(-np.log(self._probabilities(goodness)[:, 0]).sum() / len(goodness))

    def _probabilities(self, goodness: Goodness) -> Goodness:
        return softmax(self._theta * (goodness - goodness.max(axis=1, keepdims=True)))


def make_loss(settings: PhyllOptions) -> LocalLoss:
    """Return the loss an experiment asks for."""
    return SoftmaxLoss(settings.theta) if settings.loss == "softmax" else PairLoss(settings.theta)
