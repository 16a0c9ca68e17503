"""What a learning rule is: how it prepares, learns from a batch, and scores labels."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from labctl.learning.requests import Purpose, Requests
from labctl.network.label import Vectors
from labctl.network.network import Network

Metrics = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Batch:
    """Training samples: `features` (n, d), `labels` (n,), `samples` (n,) their indices in the data set."""

    features: Vectors
    labels: NDArray[np.int64]
    samples: NDArray[np.int64]


class LearningRule(Protocol):
    """Learns the digital weights of `network` from measurements it asks for."""

    network: Network
    epochs: int
    """Epochs each block is trained for."""
    batch: int
    rows_per_sample: int
    """Rows that one training step asks for per sample and block."""

    def prepare(self, batch: Batch, generator: np.random.Generator, blocks: range) -> Requests[None]:
        """Fit encoders and standardisation of `blocks` on training samples, before the first step that trains them."""
        ...

    def step(self, batch: Batch, generator: np.random.Generator, progress: float, blocks: range) -> Requests[Metrics]:
        """Train `blocks` on one batch, `progress` (0 to 1) through their training; return figures worth watching.

        Blocks before them are fixed, blocks behind them not yet in use.
        """
        ...

    def finish(self) -> None:
        """Conclude training after the last epoch."""
        ...

    def scores(self, features: Vectors, samples: NDArray[np.int64], purpose: Purpose) -> Requests[NDArray[np.floating]]:
        """Return a score (n, n_classes) per sample and class; the largest is the prediction."""
        ...

    def confidence(self, scores: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return how sure the rule is of each class, (n, n_classes), rows summing to 1."""
        ...

    def arrays(self) -> dict[str, NDArray[np.floating]]:
        """Return the whole state: the network's and the rule's own."""
        ...

    def restore(self, arrays: Mapping[str, NDArray[np.floating]]) -> None:
        """Take over arrays saved by `arrays`."""
        ...
