"""Forward-forward: a block is to be loud for the true label and quiet for a wrong one.

    g(y) = |y|^2 / units,  L = mean log(1 + exp(-theta (g(y+) - t))) + log(1 + exp(theta (g(y-) - t)))

Between the blocks each vector is scaled to rms 1, lest a block read the goodness of the one before. Source: Hinton,
arXiv:2212.13345, with theta = units and t = 1; outputs are not rectified here, as the physics is the nonlinearity, and
the goodness of all blocks is added.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from labctl.config.training import ForwardForwardTraining
from labctl.learning.adam import Adam
from labctl.learning.labelled import LabelledPasses
from labctl.learning.loss import Goodness
from labctl.learning.negatives import Negatives
from labctl.learning.rule import Surroundings
from labctl.network.block import Block
from labctl.network.label import Vectors
from labctl.network.network import Network


def loudness(outputs: Vectors) -> NDArray[np.floating]:
    """Return the mean square (n,) of `outputs` (n, units)."""
    return np.einsum("ij,ij->i", outputs, outputs) / outputs.shape[1]


class ThresholdLoss:
    """L = mean log(1 + exp(-theta (g+ - t))) + log(1 + exp(theta (g- - t))) for goodness (n, 2)."""

    def __init__(self, theta: float, threshold: float) -> None:
        self._threshold = threshold
        self._slopes = theta * np.array([-1.0, 1.0])

    def pull(self, goodness: Goodness) -> Goodness:
        """Return dL/dg (n, 2)."""
        exponents = (goodness - self._threshold) * self._slopes.astype(goodness.dtype)
        return (1 + np.tanh(exponents / 2)) * (self._slopes / (2 * len(goodness))).astype(goodness.dtype)

    def value(self, goodness: Goodness) -> float:
        """Return L."""
        return float(np.logaddexp(0, (goodness - self._threshold) * self._slopes).sum() / len(goodness))


class LoudnessUpdate:
    """Moves one block's weights down its `ThresholdLoss`: dL/dy = dL/dg 2 y / units."""

    def __init__(self, settings: ForwardForwardTraining, block: Block, loss: ThresholdLoss) -> None:
        self._block = block
        self._steps = settings.inner_steps
        self._loss = loss
        self._adam = Adam(settings.optimizer, block.weights)

    def train(self, features: Vectors, progress: float) -> Goodness:
        """Take `inner_steps` steps on `features` (2 n, d), true and wrong label in turn; return the last goodness."""
        weights = self._block.weights
        self._adam.set_progress(progress)
        goodness: Goodness = np.empty((0, 2), weights.dtype)
        for _ in range(self._steps):
            outputs = features @ weights.T
            goodness = loudness(outputs).reshape(-1, 2)
            outputs *= self._loss.pull(goodness).reshape(-1, 1) * (2 / len(weights))
            self._adam.update(weights, outputs.T @ features)
        return goodness

    def arrays(self) -> dict[str, NDArray[np.floating]]:
        """Return the optimiser's state."""
        return self._adam.arrays()

    def restore(self, arrays: Mapping[str, NDArray[np.floating]]) -> None:
        """Take over arrays saved by `arrays`."""
        self._adam.restore(arrays)


class ForwardForward(LabelledPasses):
    """The rule with one uniformly drawn wrong label per sample."""

    def __init__(self, settings: ForwardForwardTraining, network: Network, _: Surroundings) -> None:
        loss = ThresholdLoss(settings.theta, settings.threshold)
        super().__init__(
            network,
            epochs=settings.epochs,
            batch=settings.batch,
            theta=settings.theta,
            inner_steps=settings.inner_steps,
            loss=loss,
            negatives=Negatives(network.label.n_classes, 1),
            updates=[LoudnessUpdate(settings, block, loss) for block in network.blocks],
        )

    @override
    def _goodness(self, block: int, outputs: Vectors) -> NDArray[np.floating]:
        return loudness(outputs)

    def _hidden(self, outputs: Vectors) -> Vectors:
        rms = np.sqrt(loudness(outputs))[:, None]
        return outputs / np.where(rms > 0, rms, 1).astype(outputs.dtype)
