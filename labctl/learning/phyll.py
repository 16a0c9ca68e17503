"""PhyLL, physical local learning: a second forward pass instead of a backward one.

    g(y) = cos(|y|, xi),  D = g(y+) - g(y-),  L = mean log(1 + exp(-theta D))

The positive pass carries the true label, the negative a wrong one. Each block descends its own L by its own digital
weights, with the measured responses held fixed; nothing is propagated back. Source: Momeni et al., Science 382:1297
(2023) and the authors' public code (MomeniAli/PhyLL). More than one wrong label, wrong labels that look right, and a
softmax over the labels measured are this project's options.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from labctl.config.experiment import PhyllTraining
from labctl.learning.loss import Goodness, make_loss
from labctl.learning.negatives import Negatives
from labctl.learning.requests import Measure, Purpose, Requests
from labctl.learning.rule import Batch, Metrics
from labctl.learning.update import make_update
from labctl.network.goodness import goodness
from labctl.network.label import Vectors
from labctl.network.network import Network


class Phyll:
    """The rule with its options; by default as published: one uniform wrong label, `inner_steps` Adam steps on it."""

    def __init__(self, settings: PhyllTraining, network: Network) -> None:
        self.network = network
        self.epochs = settings.epochs
        self.batch = settings.batch
        self._settings = settings
        self._loss = make_loss(settings)
        self._negatives = Negatives(settings, network.label.n_classes)
        self.rows_per_sample = 1 + self._negatives.count
        self._updates = [make_update(settings, block, self.rows_per_sample) for block in network.blocks]

    def prepare(self, batch: Batch, generator: np.random.Generator, blocks: range) -> Requests[None]:
        """Fit encoders and standardisation block by block, on samples that carry uniformly drawn labels."""
        labels = generator.integers(self.network.label.n_classes, size=(len(batch.labels), 1))
        inputs = self.network.label.embed(batch.features, labels)
        for index, block in enumerate(self.network.blocks[: blocks.stop]):
            flat = inputs[:, 0]
            if index in blocks:
                block.encoder.fit(flat)
            responses = yield Measure(index, inputs, batch.samples, labels, "statistics")
            if index in blocks and block.standardise:
                block.standardiser = block.standardiser.fitted(responses[:, 0])
            inputs = block.outputs(block.features(flat, responses[:, 0]))[:, None]

    def step(self, batch: Batch, generator: np.random.Generator, progress: float, blocks: range) -> Requests[Metrics]:
        """Measure a positive and the negative passes per sample and block; update each block from its own."""
        wrong = self._negatives.draw(batch.labels, batch.samples, generator)
        labels = np.concatenate([batch.labels[:, None], wrong], axis=1)
        inputs = self.network.label.embed(batch.features, labels)
        metrics: dict[str, float] = {}
        total = np.zeros(labels.shape, self.network.dtype)
        for index, block in enumerate(self.network.blocks[: blocks.stop]):
            responses = yield Measure(index, inputs, batch.samples, labels, "train")
            features = block.features(inputs.reshape(labels.size, -1), responses.reshape(labels.size, -1))
            if index in blocks:
                found = self._updates[index].train(features, progress)
                metrics |= self._block_metrics(found, index)
                total = total + found
            if index + 1 < blocks.stop:
                inputs = block.outputs(features).reshape(*labels.shape, -1)
        self._negatives.remember(batch.samples, labels, total)
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
        """Return weights, encoders, statistics, the optimiser's moments and what the draw of negatives remembers."""
        owners = [("negatives", self._negatives), *((f"adam{i}", update) for i, update in enumerate(self._updates))]
        own = {f"{owner_name}.{name}": array for owner_name, owner in owners for name, array in owner.arrays().items()}
        return self.network.arrays() | own

    def restore(self, arrays: Mapping[str, NDArray[np.floating]]) -> None:
        """Take over arrays saved by `arrays`."""
        self.network.restore(arrays)
        owners = [("negatives.", self._negatives), *((f"adam{i}.", update) for i, update in enumerate(self._updates))]
        for prefix, owner in owners:
            owner.restore({n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)})

    def _block_metrics(self, found: Goodness, index: int) -> dict[str, float]:
        positive, negative = found[:, 0], found[:, 1:]
        name = f"block{index + 1}"
        return {
            f"{name}.loss": self._loss.value(found),
            f"{name}.goodness_positive": float(positive.sum()) / positive.size,
            f"{name}.goodness_negative": float(negative.sum()) / negative.size,
            f"{name}.pairs_right": float(np.count_nonzero(positive[:, None] > negative)) / negative.size,
        }
