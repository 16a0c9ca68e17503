"""Rules with one loss at the end of the network: every sample is sent once, without its label.

    o = R [y_L ; 1],  p = softmax(o),  L = mean -log p(true),  e = dL/do = (p - t)/n

R (n_classes, units + 1), digital, reads the last block's outputs and learns by its own gradient e^T [y_L ; 1]. Most
rules say by what signal dL/dy_b, or what in its place, the outputs of every block should move; then
dL/dW_b = signal^T z_b, and Adam.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from labctl.config.training import Gradual
from labctl.contract.layer import ResponseValues
from labctl.learning.adam import Adam
from labctl.learning.loss import cross_entropy, softmax
from labctl.learning.requests import Measure, Purpose, Requests
from labctl.learning.rule import Batch, Demand, LearningRule, Metrics, Part, unlabelled, without_label
from labctl.network.label import Vectors
from labctl.network.network import Network
from labctl.network.randomness import named_generator


@dataclass(frozen=True)
class Course:
    """What samples went through, by block: `inputs` h (n, width), `responses`, `features` z and `outputs` y."""

    inputs: list[Vectors] = field(default_factory=list[Vectors])
    responses: list[ResponseValues] = field(default_factory=list[ResponseValues])
    features: list[Vectors] = field(default_factory=list[Vectors])
    outputs: list[Vectors] = field(default_factory=list[Vectors])


class Head:
    """The digital output layer R (n_classes, units + 1), its last column the bias."""

    def __init__(
        self, n_classes: int, units: int, generator: np.random.Generator, dtype: np.dtype[np.floating]
    ) -> None:
        bound = 1 / np.sqrt(units)
        self.weights: Vectors = generator.uniform(-bound, bound, (n_classes, units + 1)).astype(dtype)

    def arrays(self) -> dict[str, NDArray[np.floating]]:
        """Return the weights."""
        return {"weights": self.weights}

    def restore(self, arrays: Mapping[str, NDArray[np.floating]]) -> None:
        """Take over weights saved by `arrays`."""
        self.weights = arrays["weights"].copy()


class EndToEnd(LearningRule):
    """Forward pass, output layer and optimisers. All blocks are trained together."""

    def __init__(
        self,
        network: Network,
        settings: Gradual,
        seed: int,
        parts: Mapping[str, Part] | None = None,
    ) -> None:
        units = len(network.blocks[-1].weights)
        self._head = Head(network.label.n_classes, units, named_generator(seed, "head"), network.dtype)
        self._adams = [
            Adam(settings.optimizer, weights) for weights in (*(b.weights for b in network.blocks), self._head.weights)
        ]
        own: dict[str, Part] = {"head": self._head}
        own |= {f"adam{i}": adam for i, adam in enumerate(self._adams)}
        super().__init__(network, epochs=settings.epochs, batch=settings.batch, parts={**own, **(parts or {})})

    @override
    def demand(self, block: int) -> Demand:
        """Return one row per sample and epoch."""
        return Demand(kept=self.epochs)

    def scores(self, features: Vectors, samples: NDArray[np.int64], purpose: Purpose) -> Requests[NDArray[np.floating]]:
        """Return the logits (n, n_classes), one pass per sample and block."""
        course = yield from self._forward(features, samples, purpose, scoring=True)
        return self._logits(course.outputs[-1], scoring=True)

    def confidence(self, scores: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return the softmax of the logits."""
        return softmax(scores)

    @property
    def _weights(self) -> list[Vectors]:
        """All that learns, in the order of the optimisers."""
        return [*(block.weights for block in self.network.blocks), self._head.weights]

    def _update(self, gradients: Sequence[Vectors], progress: float) -> None:
        for adam, weights, gradient in zip(self._adams, self._weights, gradients, strict=True):
            adam.set_progress(progress)
            adam.update(weights, gradient)

    def _forward(
        self, features: Vectors, samples: NDArray[np.int64], purpose: Purpose, *, scoring: bool = False
    ) -> Requests[Course]:
        """Send samples (n, d) through all blocks."""
        course = Course()
        inputs = first = without_label(features, self.network)
        for index, block in enumerate(self.network.blocks):
            responses = yield from self._respond(index, inputs, samples, purpose)
            course.inputs.append(inputs)
            course.responses.append(responses)
            course.features.append(block.features(inputs, responses, first))
            inputs = self._outputs(index, course.features[-1], scoring=scoring)
            course.outputs.append(inputs)
        return course

    def _respond(
        self, block: int, inputs: Vectors, samples: NDArray[np.int64], purpose: Purpose
    ) -> Requests[ResponseValues]:
        """Return responses (n, n_outputs) of `block` to `inputs` (n, width)."""
        responses = yield Measure(block, inputs[:, None], samples, unlabelled(len(samples), self.network), purpose)
        return responses[:, 0]

    def _logits(self, outputs: Vectors, *, scoring: bool = False) -> Vectors:
        self._count(len(outputs) * self._head.weights.size, scoring=scoring)
        return _with_constant(outputs) @ self._head.weights.T


class Signalled(EndToEnd):
    """Weights follow the signals at the outputs of their blocks; rules differ in where they get these from."""

    @override
    def step(self, batch: Batch, generator: np.random.Generator, progress: float, blocks: range) -> Requests[Metrics]:
        """Measure one pass per sample and block; update every block and the output layer from one loss."""
        course = yield from self._forward(batch.features, batch.samples, "train")
        logits = self._logits(course.outputs[-1])
        loss, error = cross_entropy(logits, batch.labels)
        signals = yield from self._signals(course, error)
        gradients = [signal.T @ features for signal, features in zip(signals, course.features, strict=True)]
        gradients.append(error.T @ _with_constant(course.outputs[-1]))
        self._update(gradients, progress)
        self.work.update += len(batch.labels) * sum(gradient.size for gradient in gradients)
        return {"loss": loss, "right": float((logits.argmax(axis=1) == batch.labels).mean())}

    @abstractmethod
    def _signals(self, course: Course, error: Vectors) -> Requests[Sequence[Vectors]]:
        """Return the signal (n, units) at the outputs of each block for `error` e (n, n_classes) at the logits."""


def _with_constant(outputs: Vectors) -> Vectors:
    return np.concatenate([outputs, np.ones((len(outputs), 1), outputs.dtype)], axis=1)
