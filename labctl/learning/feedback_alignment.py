"""Augmented direct feedback alignment: no derivative of the physics, and no twin of it.

The signal at the outputs of block b is (B_b e) ⊙ g(y_b): the error e at the logits, fed back through a fixed random
matrix B_b (units, n_classes) that takes the place of all that lies behind the block, times any nonlinear function g in
place of the derivative. Source: Nakajima et al., Nature Communications 13:7847 (2022); `augment: none` is direct
feedback alignment (Nøkland, arXiv:1609.01596) for linear outputs.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from labctl.config.training import FeedbackAlignmentTraining
from labctl.learning.end_to_end import Course, Signalled
from labctl.learning.requests import Requests
from labctl.learning.rule import Part, Surroundings
from labctl.network.label import Vectors
from labctl.network.network import Network
from labctl.network.randomness import named_generator

AUGMENTS: Mapping[str, Callable[[Vectors], Vectors]] = {"cos": np.cos, "sin": np.sin, "none": np.ones_like}


class Feedback:
    """The fixed matrix B (units, n_classes) of one block, its entries N(0, 1/n_classes)."""

    def __init__(
        self, units: int, n_classes: int, generator: np.random.Generator, dtype: np.dtype[np.floating]
    ) -> None:
        self.matrix: Vectors = (generator.standard_normal((units, n_classes)) / np.sqrt(n_classes)).astype(dtype)

    def arrays(self) -> dict[str, NDArray[np.floating]]:
        """Return the matrix."""
        return {"matrix": self.matrix}

    def restore(self, arrays: Mapping[str, NDArray[np.floating]]) -> None:
        """Take over a matrix saved by `arrays`."""
        self.matrix = arrays["matrix"]


class FeedbackAlignment(Signalled):
    """The rule: one pass per sample and step."""

    def __init__(self, settings: FeedbackAlignmentTraining, network: Network, surroundings: Surroundings) -> None:
        self._augment = AUGMENTS[settings.augment]
        self._feedback = [
            Feedback(
                len(block.weights),
                network.label.n_classes,
                named_generator(surroundings.seed, "feedback", n),
                network.dtype,
            )
            for n, block in enumerate(network.blocks, start=1)
        ]
        parts: dict[str, Part] = {f"feedback{i}": feedback for i, feedback in enumerate(self._feedback)}
        super().__init__(
            network,
            settings,
            surroundings.seed,
            parts=parts,
        )

    def _signals(self, course: Course, error: Vectors) -> Requests[Sequence[Vectors]]:
        yield from ()  # nothing more has to be measured
        self.work.update += len(error) * sum(feedback.matrix.size for feedback in self._feedback)
        return [
            (error @ feedback.matrix.T) * self._augment(outputs)
            for feedback, outputs in zip(self._feedback, course.outputs, strict=True)
        ]
