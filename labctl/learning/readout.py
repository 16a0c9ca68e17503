"""Readout only: the physics as random features, a ridge regression behind it, one pass per sample.

Blocks after the first are driven by the untrained random weights of the block before; the readout sees the features
of every block. What PhyLL must beat.
"""

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from labctl.config.training import ReadoutTraining
from labctl.learning.requests import Measure, Purpose, Requests
from labctl.learning.ridge import Ridge, odds
from labctl.learning.rule import Batch, Demand, LearningRule, Metrics, Surroundings, unlabelled
from labctl.network.label import Vectors
from labctl.network.network import Network


class Readout(LearningRule):
    """Accumulates normal equations batch by batch and solves them once."""

    def __init__(self, settings: ReadoutTraining, network: Network, _: Surroundings) -> None:
        width = sum(block.weights.shape[1] for block in network.blocks)
        self._ridge = Ridge(width, network.label.n_classes, settings.ridge)
        super().__init__(network, epochs=1, batch=100, parts={"readout": self._ridge})

    @override
    def demand(self, block: int) -> Demand:
        """Return one row per sample."""
        return Demand(kept=1)

    @override
    def step(self, batch: Batch, generator: np.random.Generator, progress: float, blocks: range) -> Requests[Metrics]:
        """Measure one pass per sample and block and add the batch to the normal equations."""
        features = yield from self._features(batch.features, batch.samples, "train")
        self.work.update += self._ridge.add(features, batch.labels)
        return {"samples": float(len(batch.labels))}

    def finish(self) -> None:
        """Solve the normal equations."""
        self._ridge.solve()

    def scores(self, features: Vectors, samples: NDArray[np.int64], purpose: Purpose) -> Requests[NDArray[np.floating]]:
        """Return the readout's outputs (n, n_classes), one pass per sample and block."""
        measured = yield from self._features(features, samples, purpose, scoring=True)
        self.work.scoring += len(measured) * self._ridge.size
        return self._ridge.scores(measured)

    def confidence(self, scores: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return the outputs as odds."""
        return odds(scores)

    def _features(
        self, features: Vectors, samples: NDArray[np.int64], purpose: Purpose, *, scoring: bool = False
    ) -> Requests[NDArray[np.floating]]:
        """Return the features (n, sum of all blocks' widths) of samples in double precision."""
        labels = unlabelled(len(samples), self.network)
        inputs = first = self.network.label.embed(features, labels)
        parts: list[Vectors] = []
        for index, block in enumerate(self.network.blocks):
            responses = yield Measure(index, inputs, samples, labels, purpose)
            parts.append(block.features(inputs[:, 0], responses[:, 0], first[:, 0]))
            if index + 1 < len(self.network.blocks):
                inputs = self._outputs(index, parts[-1], scoring=scoring)[:, None]
        return np.concatenate(parts, axis=1, dtype=np.float64)
