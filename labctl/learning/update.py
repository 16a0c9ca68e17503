"""The update of one block: gradient of its local loss and Adam, in the arithmetic the experiment asks for."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from labctl.config.training import PhyllOptions
from labctl.learning.adam import Adam
from labctl.learning.gradient import GoodnessGradient
from labctl.learning.loss import Goodness, make_loss
from labctl.network.block import Block
from labctl.network.label import Vectors


class BlockUpdate(Protocol):
    """Moves the weights of one block down its local loss and keeps the optimiser's state."""

    def train(self, features: Vectors, progress: float) -> Goodness:
        """Take `inner_steps` steps on `features` (n candidates, d), each sample's true label before its wrong ones.

        `progress` (0 to 1) through training sets the learning rate. Returns the goodness (n, candidates) that the last
        step found, valid until the next call.
        """
        ...

    def arrays(self) -> dict[str, NDArray[np.floating]]:
        """Return the optimiser's state."""
        ...

    def restore(self, arrays: Mapping[str, NDArray[np.floating]]) -> None:
        """Take over arrays saved by `arrays`."""
        ...


class NumpyUpdate:
    """The update as NumPy computes it, one operation after the other."""

    def __init__(self, settings: PhyllOptions, block: Block, candidates: int) -> None:
        self._block = block
        self._candidates = candidates
        self._steps = settings.inner_steps
        self._loss = make_loss(settings)
        self._adam = Adam(settings.optimizer, block.weights)

    def train(self, features: Vectors, progress: float) -> Goodness:
        """Take `inner_steps` steps; return the goodness that the last one found."""
        weights = self._block.weights
        gradient = GoodnessGradient(self._block.reference, self._loss, self._candidates)
        self._adam.set_progress(progress)
        for _ in range(self._steps):
            self._adam.update(weights, gradient(weights, features))
        return gradient.goodness

    def arrays(self) -> dict[str, NDArray[np.floating]]:
        """Return the optimiser's state."""
        return self._adam.arrays()

    def restore(self, arrays: Mapping[str, NDArray[np.floating]]) -> None:
        """Take over arrays saved by `arrays`."""
        self._adam.restore(arrays)


def make_update(settings: PhyllOptions, block: Block, candidates: int) -> BlockUpdate:
    """Return the update an experiment asks for; `candidates` labels are measured with each sample."""
    if settings.arithmetic == "fused":
        from labctl.learning.fused import FusedUpdate  # needs a package that not everybody has

        return FusedUpdate(settings, block, candidates)
    return NumpyUpdate(settings, block, candidates)
