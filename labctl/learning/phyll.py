"""PhyLL, physical local learning: a second forward pass instead of a backward one.

    g(y) = cos(|y|, xi),  D = g(y+) - g(y-),  L = mean log(1 + exp(-theta D))

The positive pass carries the true label, the negative a wrong one. Each block descends its own L by its own digital
weights, with the measured responses held fixed; nothing is propagated back. Source: Momeni et al., Science 382:1297
(2023) and the authors' public code (MomeniAli/PhyLL).
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from labctl.config.experiment import PhyllTraining
from labctl.learning.adam import Adam
from labctl.learning.requests import Measure, Purpose, Requests
from labctl.learning.rule import Batch, Metrics
from labctl.network.goodness import goodness
from labctl.network.label import Vectors
from labctl.network.network import Network


class PairGradient:
    """The local loss of positive/negative pairs and its gradient.

    With a = |y|, u(y) = sign(y) (xi - g a/|a|)/|a|, w_i = -theta sigma(-theta D_i)/B, sigma(-x) = (1 - tanh(x/2))/2:
    dL/dW = sum_i w_i [u(y_i+) z_i+^T - u(y_i-) z_i-^T]. The bias is the weight of the constant last feature.
    """

    def __init__(self, reference: Vectors, theta: float) -> None:
        self._reference = reference
        self._reference_signs = np.sign(reference)
        self._pair_signs = np.array([1, -1], reference.dtype)
        self._theta = theta
        self.margins: Vectors = np.empty(0, reference.dtype)
        self.goodness: Vectors = np.empty((0, 2), reference.dtype)

    def __call__(self, weights: Vectors, features: Vectors) -> Vectors:
        """Return dL/dW for `features` (2 B, d), rows alternating positive and negative; keeps the margins D (B,)."""
        y = features @ weights.T
        norm = np.sqrt(np.einsum("ij,ij->i", y, y))
        norm[norm == 0] = np.inf  # a vector of zeros points nowhere: goodness 0, gradient 0
        aligned = np.copysign(self._reference, y)
        aligned *= self._reference_signs
        g = np.einsum("ij,ij->i", y, aligned) / norm
        self.goodness = g.reshape(-1, 2)
        self.margins = self.goodness[:, 0] - self.goodness[:, 1]
        pull = (np.tanh(self._theta / 2 * self.margins) - 1) * (self._theta / 2 / len(self.margins))
        scale = ((pull[:, None] * self._pair_signs).ravel() / norm)[:, None]
        aligned *= scale
        y *= scale * (g / norm)[:, None]
        aligned -= y
        return aligned.T @ features

    def loss(self) -> float:
        """Return L of the features last seen."""
        return float(np.logaddexp(0, -self._theta * self.margins).sum() / len(self.margins))


class Phyll:
    """The published rule: uniform wrong label, `inner_steps` Adam steps on each pair of measurements."""

    rows_per_sample = 2

    def __init__(self, settings: PhyllTraining, network: Network) -> None:
        self.network = network
        self.epochs = settings.epochs
        self.batch = settings.batch
        self._settings = settings
        self._adam = [Adam(settings.optimizer, block.weights) for block in network.blocks]

    def prepare(self, batch: Batch, generator: np.random.Generator) -> Requests[None]:
        """Fit encoders and standardisation block by block, on samples that carry uniformly drawn labels."""
        labels = generator.integers(self.network.label.n_classes, size=(len(batch.labels), 1))
        inputs = self.network.label.embed(batch.features, labels)
        for index, block in enumerate(self.network.blocks):
            flat = inputs[:, 0]
            block.encoder.fit(flat)
            responses = yield Measure(index, inputs, batch.samples, labels, "statistics")
            if block.standardise:
                block.standardiser = block.standardiser.fitted(responses[:, 0], self.network.dtype)
            inputs = block.outputs(block.features(flat, responses[:, 0]))[:, None]

    def step(self, batch: Batch, generator: np.random.Generator, progress: float) -> Requests[Metrics]:
        """Measure a positive and a negative pass per sample and block, and update each block from its own pair."""
        labels = np.array([batch.labels, self._wrong_labels(batch.labels, generator)]).T
        inputs = self.network.label.embed(batch.features, labels)
        metrics: dict[str, float] = {}
        for index, block in enumerate(self.network.blocks):
            responses = yield Measure(index, inputs, batch.samples, labels, "train")
            features = block.features(inputs.reshape(labels.size, -1), responses.reshape(labels.size, -1))
            gradient = PairGradient(block.reference, self._settings.theta)
            self._adam[index].set_progress(progress)
            for _ in range(self._settings.inner_steps):
                self._adam[index].update(block.weights, gradient(block.weights, features))
            metrics |= _pair_metrics(gradient, index)
            inputs = block.outputs(features).reshape(*labels.shape, -1)
        return metrics

    def finish(self) -> None:
        """Nothing remains to be done: every step has already updated the weights."""

    def scores(self, features: Vectors, samples: NDArray[np.int64], purpose: Purpose) -> Requests[NDArray[np.floating]]:
        """Send every candidate label through the network and return the goodness summed over its blocks."""
        candidates = np.broadcast_to(self.network.label.candidates, (len(features), self.network.label.n_classes))
        inputs = self.network.label.embed(features, candidates)
        total = np.zeros(candidates.shape, dtype=self.network.dtype)
        for index, block in enumerate(self.network.blocks):
            responses = yield Measure(index, inputs, samples, candidates, purpose)
            flat = block.features(inputs.reshape(candidates.size, -1), responses.reshape(candidates.size, -1))
            inputs = block.outputs(flat).reshape(*candidates.shape, -1)
            total += goodness(inputs, block.reference)
        return total

    def confidence(self, scores: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return the softmax of theta times the goodness: the odds the training loss gives to label pairs."""
        weights = np.exp(self._settings.theta * (scores - scores.max(axis=1, keepdims=True)))
        return weights / weights.sum(axis=1, keepdims=True)

    def arrays(self) -> dict[str, NDArray[np.floating]]:
        """Return weights, encoders, statistics and the optimiser's moments."""
        moments = {
            f"adam{i}.{name}": array for i, adam in enumerate(self._adam) for name, array in adam.arrays().items()
        }
        return self.network.arrays() | moments

    def restore(self, arrays: Mapping[str, NDArray[np.floating]]) -> None:
        """Take over arrays saved by `arrays`."""
        self.network.restore(arrays)
        for index, adam in enumerate(self._adam):
            prefix = f"adam{index}."
            adam.restore({n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)})

    def _wrong_labels(self, labels: NDArray[np.int64], generator: np.random.Generator) -> NDArray[np.int64]:
        n_classes = self.network.label.n_classes
        return (labels + generator.integers(1, n_classes, size=len(labels))) % n_classes


def _pair_metrics(gradient: PairGradient, index: int) -> dict[str, float]:
    positive, negative = gradient.goodness.sum(axis=0) / len(gradient.goodness)
    name = f"block{index + 1}"
    return {
        f"{name}.loss": gradient.loss(),
        f"{name}.goodness_positive": float(positive),
        f"{name}.goodness_negative": float(negative),
        f"{name}.pairs_right": float(np.count_nonzero(gradient.margins > 0)) / len(gradient.margins),
    }
