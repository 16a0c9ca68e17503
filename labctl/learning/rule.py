"""What a learning rule is: how it prepares, learns from a batch, and scores labels."""

# ruff: noqa: ARG002 - what rules may do is declared here with arguments that not all of them use

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from labctl.contract.layer import LayerInfo
from labctl.data.dataset import ImageShape
from labctl.learning.offers import Offer
from labctl.learning.requests import Measure, Purpose, Requests
from labctl.learning.work import Work
from labctl.network.label import Vectors
from labctl.network.network import Network

Metrics = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Batch:
    """Training samples: `features` (n, d), `labels` (n,), `samples` (n,) their indices in the data set."""

    features: Vectors
    labels: NDArray[np.int64]
    samples: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Demand:
    """Rows that one block's training asks for, statistics apart.

    Over all epochs of a stage, `kept` per training sample are responses to the sample alone, which a schedule may keep
    where no weight changes them; `fresh` per sample are never kept. `once` are measured before the first step.
    """

    kept: int = 0
    fresh: int = 0
    once: int = 0


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a rule is told besides its settings and network: the experiment's `seed`, and by block what the layers are.

    `offers` are what they can do besides measuring, `image_shape` the shape of the samples, if they are images.
    """

    seed: int
    infos: Sequence[LayerInfo]
    offers: Sequence[Offer]
    image_shape: ImageShape | None = None


class Part(Protocol):
    """Something of a rule's own that is saved with it."""

    def arrays(self) -> Mapping[str, NDArray[np.floating]]:
        """Return its state."""
        ...

    def restore(self, arrays: Mapping[str, NDArray[np.floating]]) -> None:
        """Take over arrays saved by `arrays`."""
        ...


class LearningRule(ABC):
    """Learns the digital weights of `network` from measurements it asks for.

    `epochs` are those each block is trained for, `batch` samples make a step, `parts` by name are the rule's own state.
    """

    differentiates = False
    """Whether it asks layers for their derivative, so that its weights follow from log and simulators together."""

    tunes = False
    """Whether it sets parameters of the hardware, so that layers change their state during the run."""

    def __init__(self, network: Network, *, epochs: int, batch: int, parts: Mapping[str, Part]) -> None:
        self.network = network
        self.epochs = epochs
        self.batch = batch
        self.work = Work()
        self._parts: Mapping[str, Part] = {"work": self.work, **parts}

    @abstractmethod
    def demand(self, block: int) -> Demand:
        """Return what training asks of `block`, counted from 0."""

    def prepare(self, batch: Batch, generator: np.random.Generator, blocks: range) -> Requests[None]:
        """Fit encoders and standardisation of `blocks` on training samples, before the first step that trains them.

        Where labels enter with the samples, these carry uniformly drawn ones.
        """
        candidates = self.network.label.candidates
        labels = candidates[generator.integers(len(candidates), size=(len(batch.labels), 1))]
        inputs = first = self.network.label.embed(batch.features, labels)
        for index, block in enumerate(self.network.blocks[: blocks.stop]):
            flat = inputs[:, 0]
            if index in blocks:
                block.encoder.fit(flat)
            responses = yield Measure(index, inputs, batch.samples, labels, "statistics")
            if index in blocks and block.standardise:
                block.standardiser = block.standardiser.fitted(responses[:, 0])
            if index in blocks:
                yield from self._study(index, flat, batch.samples, generator)
            if index + 1 < blocks.stop:
                features = block.features(flat, responses[:, 0], first[:, 0])
                inputs = self._hidden(self._outputs(index, features))[:, None]

    @abstractmethod
    def step(self, batch: Batch, generator: np.random.Generator, progress: float, blocks: range) -> Requests[Metrics]:
        """Train `blocks` on one batch, `progress` (0 to 1) through their training; return figures worth watching.

        Blocks before them are fixed, blocks behind them not yet in use.
        """

    def finish(self) -> None:  # noqa: B027 - most rules have nothing left to do
        """Conclude training after the last epoch."""

    @abstractmethod
    def scores(self, features: Vectors, samples: NDArray[np.int64], purpose: Purpose) -> Requests[NDArray[np.floating]]:
        """Return a score (n, n_classes) per sample and class; the largest is the prediction."""

    @abstractmethod
    def confidence(self, scores: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return how sure the rule is of each class, (n, n_classes), rows summing to 1."""

    def arrays(self) -> dict[str, NDArray[np.floating]]:
        """Return the whole state: the network's and the rule's own."""
        own = {f"{part}.{name}": array for part, owner in self._parts.items() for name, array in owner.arrays().items()}
        return self.network.arrays() | own

    def restore(self, arrays: Mapping[str, NDArray[np.floating]]) -> None:
        """Take over arrays saved by `arrays`."""
        self.network.restore(arrays)
        for part, owner in self._parts.items():
            prefix = f"{part}."
            owner.restore({n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)})

    def _study(
        self, block: int, inputs: Vectors, samples: NDArray[np.int64], generator: np.random.Generator
    ) -> Requests[None]:
        """Learn what there is to know of a block before training, from `inputs` (n, width) like those to come."""
        yield from ()

    def _outputs(self, block: int, features: Vectors, *, scoring: bool = False) -> Vectors:
        """Return y (n, units) of `block` for z (n, n_features + 1), and count it."""
        weights = self.network.blocks[block].weights
        self._count(len(features) * weights.size, scoring=scoring)
        return self.network.blocks[block].outputs(features)

    def _count(self, macs: int, *, scoring: bool) -> None:
        """Count forward work."""
        if scoring:
            self.work.scoring += macs
        else:
            self.work.forward += macs

    def _hidden(self, outputs: Vectors) -> Vectors:
        """Return what the next block is given of a block's `outputs` (n, units)."""
        return outputs


def unlabelled(n: int, network: Network) -> NDArray[np.int64]:
    """Return the labels (n, 1) of passes that carry none."""
    return np.repeat(network.label.candidates[None, :], n, axis=0)


def without_label(features: Vectors, network: Network) -> Vectors:
    """Return what enters the first block (n, width) for `features` (n, d) that carry no label."""
    return network.label.embed(features, unlabelled(len(features), network))[:, 0]
