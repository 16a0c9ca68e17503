"""Readout only: the physics as random features, a ridge regression behind it, one pass per sample.

Blocks after the first are driven by the untrained random weights of the block before; the readout sees the features
of every block. What PhyLL must beat.
"""

# ruff: noqa: ARG002 - all rules share their methods' arguments; this one draws nothing and trains no block

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from labctl.config.experiment import ReadoutTraining
from labctl.learning.requests import Measure, Purpose, Requests
from labctl.learning.rule import Batch, Metrics
from labctl.network.label import Vectors
from labctl.network.network import Network


class Readout:
    """Accumulates normal equations batch by batch and solves them once."""

    rows_per_sample = 1
    epochs = 1
    batch = 100

    def __init__(self, settings: ReadoutTraining, network: Network) -> None:
        self.network = network
        self._ridge = settings.ridge
        width = sum(block.weights.shape[1] for block in network.blocks)
        self._gram: NDArray[np.floating] = np.zeros((width, width))
        self._moments: NDArray[np.floating] = np.zeros((width, network.label.n_classes))
        self._readout: NDArray[np.floating] = np.zeros((width, network.label.n_classes))

    def prepare(self, batch: Batch, generator: np.random.Generator, blocks: range) -> Requests[None]:
        """Fit encoders and standardisation block by block."""
        labels = self._no_labels(len(batch.samples))
        inputs = self.network.label.embed(batch.features, labels)
        for index, block in enumerate(self.network.blocks):
            block.encoder.fit(inputs[:, 0])
            responses = yield Measure(index, inputs, batch.samples, labels, "statistics")
            if block.standardise:
                block.standardiser = block.standardiser.fitted(responses[:, 0])
            inputs = block.outputs(block.features(inputs[:, 0], responses[:, 0]))[:, None]

    def step(
        self,
        batch: Batch,
        generator: np.random.Generator,
        progress: float,
        blocks: range,
    ) -> Requests[Metrics]:
        """Measure one pass per sample and block and add the batch to the normal equations."""
        features = yield from self._features(batch.features, batch.samples, "train")
        targets = np.eye(self.network.label.n_classes)[batch.labels]
        self._gram += features.T @ features
        self._moments += features.T @ targets
        return {"samples": float(len(batch.labels))}

    def finish(self) -> None:
        """Solve (Z^T Z + ridge n I) R = Z^T T, the constant features included in the penalty's trace alone."""
        penalty = self._ridge * np.trace(self._gram) / len(self._gram)
        self._readout = np.linalg.solve(self._gram + penalty * np.eye(len(self._gram)), self._moments)

    def scores(self, features: Vectors, samples: NDArray[np.int64], purpose: Purpose) -> Requests[NDArray[np.floating]]:
        """Return the readout's outputs (n, n_classes), one pass per sample and block."""
        measured = yield from self._features(features, samples, purpose)
        return measured @ self._readout

    def confidence(self, scores: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return the outputs cut to [0, 1] and normalised: least squares on one-hot targets estimates odds."""
        odds = np.clip(scores, 1e-6, 1)
        return odds / odds.sum(axis=1, keepdims=True)

    def arrays(self) -> dict[str, NDArray[np.floating]]:
        """Return the network's arrays, the normal equations and the readout."""
        own = {"gram": self._gram, "moments": self._moments, "weights": self._readout}
        return self.network.arrays() | {f"readout.{name}": array for name, array in own.items()}

    def restore(self, arrays: Mapping[str, NDArray[np.floating]]) -> None:
        """Take over arrays saved by `arrays`."""
        self.network.restore(arrays)
        self._gram = arrays["readout.gram"].copy()
        self._moments = arrays["readout.moments"].copy()
        self._readout = arrays["readout.weights"].copy()

    def _features(
        self, features: Vectors, samples: NDArray[np.int64], purpose: Purpose
    ) -> Requests[NDArray[np.floating]]:
        labels = self._no_labels(len(samples))
        inputs = self.network.label.embed(features, labels)
        parts: list[Vectors] = []
        for index, block in enumerate(self.network.blocks):
            responses = yield Measure(index, inputs, samples, labels, purpose)
            parts.append(block.features(inputs[:, 0], responses[:, 0]))
            inputs = block.outputs(parts[-1])[:, None]
        return np.concatenate(parts, axis=1, dtype=np.float64)

    def _no_labels(self, n: int) -> NDArray[np.int64]:
        return np.repeat(self.network.label.candidates[None, :], n, axis=0)
