"""Rules that send every sample with labels: blocks learn locally to tell the true one from wrong ones."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from labctl.learning.loss import Goodness, LocalLoss, softmax
from labctl.learning.negatives import Negatives
from labctl.learning.requests import Measure, Purpose, Requests
from labctl.learning.rule import Batch, Demand, LearningRule, Metrics, Part
from labctl.learning.update import BlockUpdate
from labctl.network.label import Vectors
from labctl.network.network import Network


class LabelledPasses(LearningRule):
    """Positive and negative passes of each sample; `updates`, one per block, move weights by their goodness."""

    def __init__(
        self,
        network: Network,
        *,
        epochs: int,
        batch: int,
        theta: float,
        inner_steps: int,
        loss: LocalLoss,
        negatives: Negatives,
        updates: Sequence[BlockUpdate],
    ) -> None:
        parts: Mapping[str, Part] = {"negatives": negatives} | {f"adam{i}": update for i, update in enumerate(updates)}
        super().__init__(network, epochs=epochs, batch=batch, parts=parts)
        self._theta = theta
        self._inner_steps = inner_steps
        self._loss = loss
        self._negatives = negatives
        self._updates = updates

    @override
    def demand(self, block: int) -> Demand:
        """Return one positive and the negative rows per sample and epoch."""
        return Demand(kept=self.epochs * (1 + self._negatives.count))

    def step(self, batch: Batch, generator: np.random.Generator, progress: float, blocks: range) -> Requests[Metrics]:
        """Measure a positive and the negative passes per sample and block; update each block from its own."""
        wrong = self._negatives.draw(batch.labels, batch.samples, generator)
        labels = np.concatenate([batch.labels[:, None], wrong], axis=1)
        inputs = first = self.network.label.embed(batch.features, labels)
        metrics: dict[str, float] = {}
        total = np.zeros(labels.shape, self.network.dtype)
        for index, block in enumerate(self.network.blocks[: blocks.stop]):
            responses = yield Measure(index, inputs, batch.samples, labels, "train")
            features = block.features(*(rows.reshape(labels.size, -1) for rows in (inputs, responses, first)))
            if index in blocks:
                found = self._train(index, features, progress)
                metrics |= self._block_metrics(found, index)
                total = total + found
            if index + 1 < blocks.stop:
                inputs = self._hidden(self._outputs(index, features)).reshape(*labels.shape, -1)
        self._negatives.remember(batch.samples, labels, total)
        return metrics

    def scores(self, features: Vectors, samples: NDArray[np.int64], purpose: Purpose) -> Requests[NDArray[np.floating]]:
        """Send every candidate label through the network and return the goodness summed over its blocks."""
        candidates = np.broadcast_to(self.network.label.candidates, (len(features), self.network.label.n_classes))
        inputs = first = self.network.label.embed(features, candidates)
        total = np.zeros(candidates.shape, dtype=self.network.dtype)
        for index, block in enumerate(self.network.blocks):
            responses = yield Measure(index, inputs, samples, candidates, purpose)
            flat = block.features(*(rows.reshape(candidates.size, -1) for rows in (inputs, responses, first)))
            outputs = self._outputs(index, flat, scoring=True)
            total += self._goodness(index, outputs).reshape(candidates.shape)
            inputs = self._hidden(outputs).reshape(*candidates.shape, -1)
        return total

    def confidence(self, scores: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return the softmax of theta times the goodness: the odds the training loss gives to label pairs."""
        return softmax(self._theta * scores)

    @abstractmethod
    def _goodness(self, block: int, outputs: Vectors) -> NDArray[np.floating]:
        """Return the goodness (n,) of a block's `outputs` (n, units)."""

    def _train(self, block: int, features: Vectors, progress: float) -> Goodness:
        """Take the inner steps of one block on `features` (n k, n_features + 1); return the goodness (n, k)."""
        self.work.update += self._inner_steps * 2 * len(features) * self.network.blocks[block].weights.size
        return self._updates[block].train(features, progress)

    def _block_metrics(self, found: Goodness, index: int) -> dict[str, float]:
        positive, negative = found[:, 0], found[:, 1:]
        name = f"block{index + 1}"
        return {
            f"{name}.loss": self._loss.value(found),
            f"{name}.goodness_positive": float(positive.sum()) / positive.size,
            f"{name}.goodness_negative": float(negative.sum()) / negative.size,
            f"{name}.pairs_right": float(np.count_nonzero(positive[:, None] > negative)) / negative.size,
        }
