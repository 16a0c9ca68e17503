"""Simultaneous perturbation stochastic approximation of the digital weights: no gradient, no model, no feedback.

All weights w are moved by c along a random direction D of signs, there and back; the two losses L+ and L- of a batch
give the estimate (L+ - L-)/(2 c) D of the gradient, averaged over the directions of a step, and Adam takes it. The
first block's responses depend on no weight and serve all directions; blocks behind it take two passes per direction.
Source: Spall, IEEE Trans. Automatic Control 37:332 (1992).
"""

from collections.abc import Sequence

import numpy as np
from typing_extensions import override

from labctl.config.training import SpsaTraining
from labctl.learning.end_to_end import EndToEnd
from labctl.learning.loss import cross_entropy
from labctl.learning.requests import Measure, Requests
from labctl.learning.rule import Batch, Demand, Metrics, Surroundings, without_label
from labctl.network.label import NO_LABEL, Vectors
from labctl.network.network import Network


class Spsa(EndToEnd):
    """The rule. There and back of all directions of a sample are measured next to one another."""

    def __init__(self, settings: SpsaTraining, network: Network, surroundings: Surroundings) -> None:
        super().__init__(network, settings, surroundings.seed)
        self._directions = settings.directions
        self._length = settings.perturbation

    def demand(self, block: int) -> Demand:
        """Return one row per sample and epoch of the first block, two per direction of the others."""
        return Demand(kept=self.epochs * (1 if block == 0 else 2 * self._directions))

    @override
    def step(self, batch: Batch, generator: np.random.Generator, progress: float, blocks: range) -> Requests[Metrics]:
        """Measure the loss there and back along every direction and move all weights."""
        directions = [
            [generator.choice(np.array([-1.0, 1.0], w.dtype), size=w.shape) for w in self._weights]
            for _ in range(self._directions)
        ]
        tried = [
            [w + way * self._length * d for w, d in zip(self._weights, direction, strict=True)]
            for direction in directions
            for way in (1, -1)
        ]
        losses = yield from self._losses(batch, tried)
        slopes = (losses[0::2] - losses[1::2]) / (2 * self._length * self._directions)
        gradients = [
            np.tensordot(slopes.astype(w.dtype), np.stack(along), axes=1)
            for w, along in zip(self._weights, zip(*directions, strict=True), strict=True)
        ]
        self._update(gradients, progress)
        self.work.update += self._directions * sum(gradient.size for gradient in gradients)
        return {"loss": float(losses.mean())}

    def _losses(self, batch: Batch, tried: Sequence[Sequence[Vectors]]) -> Requests[Vectors]:
        """Return the loss of a batch under each of the weights `tried`."""
        n, k = len(batch.labels), len(tried)
        inputs = first = without_label(batch.features, self.network)[:, None]
        for index, block in enumerate(self.network.blocks):
            labels = np.full(inputs.shape[:2], NO_LABEL)
            responses = yield Measure(index, inputs, batch.samples, labels, "train")
            same = np.broadcast_to(first, (*labels.shape, first.shape[2]))
            flat = block.features(*(rows.reshape(labels.size, -1) for rows in (inputs, responses, same)))
            features = np.broadcast_to(flat.reshape(n, -1, flat.shape[1]), (n, k, flat.shape[1]))
            inputs = np.stack([features[:, i] @ weights[index].T for i, weights in enumerate(tried)], axis=1)
        self._count(n * sum(w.size for weights in tried for w in weights), scoring=False)
        constant = np.ones((n, 1), inputs.dtype)
        logits = [np.concatenate([inputs[:, i], constant], axis=1) @ weights[-1].T for i, weights in enumerate(tried)]
        return np.array([cross_entropy(scores, batch.labels)[0] for scores in logits])
