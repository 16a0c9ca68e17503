"""Unsupervised PhyLL: a sample's reference is its own response to a second view of it. No label is used.

For a batch of n samples x with views x' (shifted and masked) a block takes

    a = relu(W z),  c = a - mean of the batch,  g_ij = cos(c_i, c'_j),
    L = -mean_i log softmax_j(theta g_ij) at j = i

and descends L by its own weights, the other samples of the batch being the negatives. The responses are those of
two forward passes; nothing is propagated back. Afterwards a ridge regression reads the classes out of all blocks'
outputs. A construction of this project's: the published unsupervised variant could not be read.

The two views are measured in acquisitions of their own: were they neighbours, the drift they share would be a clue.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from labctl.config.training import ContrastivePhyllTraining
from labctl.data.dataset import ImageShape
from labctl.data.shifts import make_shifts
from labctl.learning.adam import Adam
from labctl.learning.loss import cross_entropy
from labctl.learning.requests import Measure, Purpose, Requests
from labctl.learning.ridge import Ridge, odds
from labctl.learning.rule import Batch, Demand, LearningRule, Metrics, Part, Surroundings, unlabelled, without_label
from labctl.network.label import Vectors
from labctl.network.network import Network

ROUNDING = 1e-9
"""By what progress, counted in epochs, may miss a whole number."""


class Views:
    """Second views of samples: shifted by up to `shift` pixels, each feature put to 0 with probability `mask`."""

    def __init__(self, shift: int, mask: float, shape: ImageShape | None) -> None:
        self._shifts = make_shifts(shift, shape)
        self._mask = mask

    def __call__(self, features: Vectors, generator: np.random.Generator) -> Vectors:
        """Return views (n, d) of `features` (n, d)."""
        shifted = features if self._shifts is None else self._shifts(features, generator)
        kept = generator.random(features.shape) >= self._mask
        return shifted * kept.astype(features.dtype)


class Contrast(NamedTuple):
    """Loss of a batch, its gradients with respect to both views' outputs, and the share of views told apart."""

    loss: float
    first: Vectors
    second: Vectors
    right: float


def contrast(outputs: Vectors, views: Vectors, theta: float) -> Contrast:
    """Return L and its gradients for `outputs` and `views`, both W z of a batch, (n, units)."""
    first, second = _Branch(outputs), _Branch(views)
    goodness = first.directions @ second.directions.T
    loss, slope = cross_entropy(theta * goodness, np.arange(len(outputs)))
    slope *= theta
    right = float((goodness.argmax(axis=1) == np.arange(len(outputs))).mean())
    return Contrast(loss, first.back(slope @ second.directions), second.back(slope.T @ first.directions), right)


class _Branch:
    """relu, centred by the batch's mean, as unit vectors; and the way back."""

    def __init__(self, outputs: Vectors) -> None:
        self._on = outputs > 0
        centred = outputs * self._on
        centred -= centred.mean(axis=0)
        length = np.sqrt(np.einsum("ij,ij->i", centred, centred))[:, None]
        self._length = np.where(length > 0, length, np.inf).astype(outputs.dtype)
        self.directions: Vectors = centred / self._length

    def back(self, upstream: Vectors) -> Vectors:
        """Return dL/d outputs for dL/d directions."""
        along = np.einsum("ij,ij->i", upstream, self.directions)[:, None]
        slope = (upstream - along * self.directions) / self._length
        slope -= slope.mean(axis=0)
        return slope * self._on


class ContrastivePhyll(LearningRule):
    """Trains the blocks without labels for all epochs but one; in the last, the readout collects its features."""

    def __init__(self, settings: ContrastivePhyllTraining, network: Network, surroundings: Surroundings) -> None:
        """Raises `InputError` when samples that are no images are to be shifted."""
        self._theta = settings.theta
        self._steps = settings.inner_steps
        self._pretraining = settings.epochs
        self._views = Views(settings.view_shift, settings.view_mask, surroundings.image_shape)
        self._adams = [Adam(settings.optimizer, block.weights) for block in network.blocks]
        width = sum(len(block.weights) for block in network.blocks) + 1
        self._ridge = Ridge(width, network.label.n_classes, settings.ridge)
        parts: dict[str, Part] = {"readout": self._ridge}
        parts |= {f"adam{i}": adam for i, adam in enumerate(self._adams)}
        super().__init__(network, epochs=settings.epochs + 1, batch=settings.batch, parts=parts)

    @override
    def demand(self, block: int) -> Demand:
        """Return one row per sample and epoch, and one of another view in all epochs but the last."""
        return Demand(kept=self.epochs, fresh=self._pretraining)

    @override
    def step(self, batch: Batch, generator: np.random.Generator, progress: float, blocks: range) -> Requests[Metrics]:
        """Measure two views of each sample and move each block's weights; or collect features for the readout."""
        epochs_done = progress * self.epochs
        if epochs_done > self._pretraining - ROUNDING:
            features = yield from self._features(batch.features, batch.samples, "train")
            self.work.update += self._ridge.add(features, batch.labels)
            return {}
        labels = unlabelled(len(batch.samples), self.network)
        inputs = first = without_label(batch.features, self.network)
        views = first_view = without_label(self._views(batch.features, generator), self.network)
        metrics: dict[str, float] = {}
        for index, block in enumerate(self.network.blocks):
            responses = yield Measure(index, inputs[:, None], batch.samples, labels, "train")
            features = block.features(inputs, responses[:, 0], first)
            responses = yield Measure(index, views[:, None], batch.samples, labels, "view")
            seen = block.features(views, responses[:, 0], first_view)
            metrics |= self._train(index, features, seen, epochs_done / self._pretraining)
            if index + 1 < len(self.network.blocks):
                inputs, views = (self._hidden(self._outputs(index, z)) for z in (features, seen))
        return metrics

    def finish(self) -> None:
        """Solve the readout."""
        self._ridge.solve()

    def scores(self, features: Vectors, samples: NDArray[np.int64], purpose: Purpose) -> Requests[NDArray[np.floating]]:
        """Return the readout's outputs (n, n_classes), one pass per sample and block."""
        found = yield from self._features(features, samples, purpose, scoring=True)
        self.work.scoring += len(found) * self._ridge.size
        return self._ridge.scores(found)

    def confidence(self, scores: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return the outputs as odds."""
        return odds(scores)

    def _hidden(self, outputs: Vectors) -> Vectors:
        return np.maximum(outputs, 0)

    def _train(self, index: int, features: Vectors, seen: Vectors, progress: float) -> Metrics:
        """Take the inner steps of one block on what it measured of samples and views, both (n, n_features + 1)."""
        weights, adam, n = self.network.blocks[index].weights, self._adams[index], len(features)
        adam.set_progress(progress)
        found = Contrast(0.0, features, seen, 0.0)
        for _ in range(self._steps):
            found = contrast(features @ weights.T, seen @ weights.T, self._theta)
            adam.update(weights, found.first.T @ features + found.second.T @ seen)
        self.work.update += self._steps * (4 * n * weights.size + 3 * n * n * len(weights))
        return {f"block{index + 1}.loss": found.loss, f"block{index + 1}.views_right": found.right}

    def _features(
        self, features: Vectors, samples: NDArray[np.int64], purpose: Purpose, *, scoring: bool = False
    ) -> Requests[NDArray[np.floating]]:
        """Return the rectified outputs of all blocks, (n, sum of units + 1), the last a constant."""
        labels = unlabelled(len(samples), self.network)
        inputs = first = without_label(features, self.network)
        parts: list[Vectors] = []
        for index, block in enumerate(self.network.blocks):
            responses = yield Measure(index, inputs[:, None], samples, labels, purpose)
            inputs = self._hidden(self._outputs(index, block.features(inputs, responses[:, 0], first), scoring=scoring))
            parts.append(inputs)
        return np.concatenate([*parts, np.ones((len(features), 1))], axis=1, dtype=np.float64)
