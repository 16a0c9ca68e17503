"""PhyLL with class-wise references: the label stays outside the hardware, one pass per sample and block.

Each block has a fixed random unit vector xi_c per class. With p the softmax over the classes c of
theta cos(|y|, xi_c), a block descends L = mean -log p(true) by its own digital weights, the measured responses held
fixed. A sample is of the class whose goodness, summed over the blocks, is largest: one pass per block instead of one
per class. A variant of this project's, not of the published rule.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from labctl.config.training import ReferencePhyllTraining
from labctl.learning.adam import Adam
from labctl.learning.loss import cross_entropy, softmax
from labctl.learning.requests import Measure, Purpose, Requests
from labctl.learning.rule import Batch, Demand, LearningRule, Metrics, Part, Surroundings, unlabelled
from labctl.network.goodness import reference_direction
from labctl.network.label import Vectors
from labctl.network.network import Network
from labctl.network.randomness import named_generator


class References:
    """The fixed directions `xi` (n_classes, units) of one block; random, or as saved."""

    def __init__(
        self, n_classes: int, units: int, generator: np.random.Generator, dtype: np.dtype[np.floating]
    ) -> None:
        self.xi: Vectors = np.stack([reference_direction(units, generator, dtype) for _ in range(n_classes)])

    def goodness(self, outputs: Vectors) -> Vectors:
        """Return cos(|y|, xi_c) (n, n_classes) for `outputs` (n, units); 0 for a vector of zeros."""
        magnitude = np.abs(outputs)
        return magnitude @ self.xi.T / _length(outputs)

    def gradient(self, outputs: Vectors, goodness: Vectors, pull: Vectors) -> Vectors:
        """Return dL/dy (n, units) for `pull` = dL/dg (n, n_classes), g the `goodness` of the same `outputs`.

        dg_c/dy = sign(y) (xi_c - g_c |y|/|y|_2)/|y|_2
        """
        length = _length(outputs)
        along = (pull * goodness).sum(axis=1, keepdims=True) / length
        return (np.sign(outputs) * (pull @ self.xi) - along * outputs) / length

    def arrays(self) -> dict[str, NDArray[np.floating]]:
        """Return the directions."""
        return {"xi": self.xi}

    def restore(self, arrays: Mapping[str, NDArray[np.floating]]) -> None:
        """Take over directions saved by `arrays`."""
        self.xi = arrays["xi"]


class ReferencePhyll(LearningRule):
    """Every block learns to point its response's magnitude along its reference of the sample's class."""

    def __init__(self, settings: ReferencePhyllTraining, network: Network, surroundings: Surroundings) -> None:
        n_classes, dtype = network.label.n_classes, network.dtype
        self._theta = settings.theta
        self._inner_steps = settings.inner_steps
        self._references = [
            References(n_classes, len(block.weights), named_generator(surroundings.seed, "references", number), dtype)
            for number, block in enumerate(network.blocks, start=1)
        ]
        self._adams = [Adam(settings.optimizer, block.weights) for block in network.blocks]
        parts: dict[str, Part] = {f"references{i}": references for i, references in enumerate(self._references)}
        parts |= {f"adam{i}": adam for i, adam in enumerate(self._adams)}
        super().__init__(network, epochs=settings.epochs, batch=settings.batch, parts=parts)

    @override
    def demand(self, block: int) -> Demand:
        """Return one row per sample and epoch."""
        return Demand(kept=self.epochs)

    @override
    def step(self, batch: Batch, generator: np.random.Generator, progress: float, blocks: range) -> Requests[Metrics]:
        """Measure one pass per sample and block; update each block from its own."""
        labels = unlabelled(len(batch.samples), self.network)
        inputs = first = self.network.label.embed(batch.features, labels)
        metrics: dict[str, float] = {}
        for index, block in enumerate(self.network.blocks[: blocks.stop]):
            responses = yield Measure(index, inputs, batch.samples, labels, "train")
            features = block.features(inputs[:, 0], responses[:, 0], first[:, 0])
            if index in blocks:
                metrics |= self._train(index, features, batch.labels, progress)
            if index + 1 < blocks.stop:
                inputs = self._outputs(index, features)[:, None]
        return metrics

    def scores(self, features: Vectors, samples: NDArray[np.int64], purpose: Purpose) -> Requests[NDArray[np.floating]]:
        """Send each sample once and return the goodness along every class's reference, summed over the blocks."""
        labels = unlabelled(len(samples), self.network)
        inputs = first = self.network.label.embed(features, labels)
        total = np.zeros((len(samples), self.network.label.n_classes), self.network.dtype)
        for index, block in enumerate(self.network.blocks):
            responses = yield Measure(index, inputs, samples, labels, purpose)
            outputs = self._outputs(index, block.features(inputs[:, 0], responses[:, 0], first[:, 0]), scoring=True)
            total += self._references[index].goodness(outputs)
            self.work.scoring += len(samples) * self._references[index].xi.size
            inputs = outputs[:, None]
        return total

    def confidence(self, scores: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return the softmax of theta times the summed goodness."""
        return softmax(self._theta * scores)

    def _train(self, index: int, features: Vectors, labels: NDArray[np.int64], progress: float) -> Metrics:
        """Take the inner steps of one block on measured `features` (n, n_features + 1)."""
        weights, references, adam = self.network.blocks[index].weights, self._references[index], self._adams[index]
        adam.set_progress(progress)
        loss, goodness = 0.0, np.empty((0, 0), weights.dtype)
        for _ in range(self._inner_steps):
            outputs = features @ weights.T
            goodness = references.goodness(outputs)
            loss, slope = cross_entropy(self._theta * goodness, labels)
            adam.update(weights, references.gradient(outputs, goodness, self._theta * slope).T @ features)
        self.work.update += self._inner_steps * 2 * len(labels) * (weights.size + references.xi.size)
        name = f"block{index + 1}"
        return {
            f"{name}.loss": loss,
            f"{name}.right": float((goodness.argmax(axis=1) == labels).mean()),
        }


def _length(outputs: Vectors) -> Vectors:
    """Return |y|_2 (n, 1), infinite for vectors of zeros, which point nowhere."""
    length = np.sqrt(np.einsum("ij,ij->i", outputs, outputs))[:, None]
    return np.where(length > 0, length, np.inf).astype(outputs.dtype)
