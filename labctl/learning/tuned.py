"""PhyLL with the hardware's own parameters trained in place, by simultaneous perturbation of its local loss.

All parameters p of all layers are moved by c along a random direction of signs, there and back, and written to the
hardware; the same samples with the same labels are measured at both ends. With L the local losses of all blocks, added,

    dL/dp_i is taken to be (L+ - L-) / (p_i+ - p_i-)

p_i+ and p_i- being what the hardware can be set to: a parameter whose levels are too coarse to move is left alone. The
digital weights learn, as in PhyLL, from the responses at both ends. Most of what a parameter does to responses may be
the same for all samples: that tells no label from another and is taken out. Both ends are brought to one mean, and
standardisation follows the mean as the parameters move. Parameters are counted as shares of their ranges and begin in
the middle. Sources: Spall, IEEE Trans. Automatic Control 37:332 (1992), for the estimate; that it descends PhyLL's
loss, of responses brought to one mean, is a construction of this project's.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from labctl.config.training import Adam as AdamSettings
from labctl.config.training import TunedPhyllTraining
from labctl.contract.errors import SettingError
from labctl.contract.layer import Channel, Levels
from labctl.learning.adam import Adam
from labctl.learning.phyll import Phyll
from labctl.learning.requests import Measure, Purpose, Requests, Write
from labctl.learning.rule import Batch, Demand, Metrics, Surroundings
from labctl.network.block import Block
from labctl.network.label import Vectors
from labctl.network.network import Network

MEAN_FOLLOWED = 0.1
"""Part of the way to a batch's mean response that standardisation goes, unless it follows by itself."""


class Parameters:
    """The parameters of all blocks' layers in a row, each a `share` (0 to 1) of its range."""

    def __init__(self, channels: Sequence[Sequence[Channel]], optimizer: AdamSettings) -> None:
        self._channels = channels
        self._ends = np.cumsum([len(of_block) for of_block in channels])
        self.share: NDArray[np.float64] = np.full(int(self._ends[-1]), 0.5)
        self._adam = Adam(optimizer, self.share)

    def moved(self, way: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the shares that the hardware takes when `way` is added: within the ranges, at the nearest levels."""
        wanted = np.clip(self.share + way, 0.0, 1.0)
        of_blocks = [
            Levels([_unit(channel) for channel in channels]).nearest(shares[None].astype(np.float32))[0]
            for channels, shares in zip(self._channels, self._by_block(wanted), strict=True)
        ]
        return np.concatenate(of_blocks, dtype=np.float64)

    def write(self, shares: NDArray[np.float64]) -> Requests[None]:
        """Set the hardware to `shares`, block by block where the layer has parameters."""
        for block, (channels, own) in enumerate(zip(self._channels, self._by_block(shares), strict=True)):
            if channels:
                values = [c.low + s * (c.high - c.low) for c, s in zip(channels, own, strict=True)]
                yield Write(block, np.array(values))

    def descend(self, slope: NDArray[np.float64], progress: float) -> None:
        """Move the parameters down `slope`, `progress` (0 to 1) through training, and keep them in their ranges."""
        self._adam.set_progress(progress)
        self._adam.update(self.share, slope)
        np.clip(self.share, 0.0, 1.0, out=self.share)

    def arrays(self) -> dict[str, NDArray[np.floating]]:
        """Return the shares and the optimiser's state."""
        return {"share": self.share, **{f"adam_{name}": array for name, array in self._adam.arrays().items()}}

    def restore(self, arrays: Mapping[str, NDArray[np.floating]]) -> None:
        """Take over arrays saved by `arrays`."""
        self.share = arrays["share"].astype(np.float64)
        self._adam.restore({name: arrays[f"adam_{name}"] for name in self._adam.arrays()})

    def _by_block(self, values: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        return np.split(values, self._ends[:-1])


class TunedPhyll(Phyll):
    """The rule. Raises `SettingError` when no layer has parameters of its own."""

    tunes = True

    def __init__(self, settings: TunedPhyllTraining, network: Network, surroundings: Surroundings) -> None:
        channels = [offer.parameters for offer in surroundings.offers]
        if not any(channels):
            raise SettingError(
                ("rule",),
                f"rule {settings.rule} trains parameters of the hardware's own, but no layer here has any that can be "
                "set (a microwave layer has, when `driven` leaves elements of its surface over); expected such a "
                "layer, or rule phyll",
            )
        super().__init__(settings, network, surroundings)
        self._length = settings.perturbation
        self._parameters = Parameters(channels, settings.optimizer.model_copy(update={"lr": settings.parameter_lr}))
        self._parts = {**self._parts, "parameters": self._parameters}

    def demand(self, block: int) -> Demand:
        """Return the rows of PhyLL, there and back."""
        return Demand(kept=2 * super().demand(block).kept)

    def prepare(self, batch: Batch, generator: np.random.Generator, blocks: range) -> Requests[None]:
        """Set the parameters to where they begin, then as every rule does."""
        yield from self._parameters.write(self._parameters.moved(np.zeros(1)))
        yield from super().prepare(batch, generator, blocks)

    @override
    def step(self, batch: Batch, generator: np.random.Generator, progress: float, blocks: range) -> Requests[Metrics]:
        """Measure the batch at both ends of a random direction; move parameters and weights."""
        wrong = self._negatives.draw(batch.labels, batch.samples, generator)
        labels = np.concatenate([batch.labels[:, None], wrong], axis=1)
        signs = generator.choice(np.array([-1.0, 1.0]), size=len(self._parameters.share))
        ends = [self._parameters.moved(way * self._length * signs) for way in (1, -1)]
        losses, measured = yield from self._measured_at(ends, batch, labels)
        apart = ends[0] - ends[1]
        slope = np.divide(losses[0] - losses[1], apart, out=np.zeros_like(apart), where=apart != 0)
        self._parameters.descend(slope, progress)
        for block, features in enumerate(measured):
            self._train(block, np.concatenate(features), progress)
        return {"loss": float(losses.mean()), "parameters_moved": float(np.count_nonzero(apart)) / len(apart)}

    def scores(self, features: Vectors, samples: NDArray[np.int64], purpose: Purpose) -> Requests[NDArray[np.floating]]:
        """Set the parameters as trained and score as PhyLL does."""
        yield from self._parameters.write(self._parameters.moved(np.zeros(1)))
        return (yield from super().scores(features, samples, purpose))

    def _measured_at(
        self, ends: Sequence[NDArray[np.float64]], batch: Batch, labels: NDArray[np.int64]
    ) -> Requests[tuple[NDArray[np.float64], list[list[Vectors]]]]:
        """Measure a batch under `labels` (n, k) at both `ends`.

        Returns the local losses (2,) of all blocks, added, and by block the features at either end.
        """
        first = self.network.label.embed(batch.features, labels)
        inputs = [first] * len(ends)
        losses, goodness = np.zeros(len(ends)), np.zeros((len(ends), *labels.shape))
        measured: list[list[Vectors]] = []
        for index, block in enumerate(self.network.blocks):
            responses: list[Vectors] = []
            for shares, entering in zip(ends, inputs, strict=True):
                yield from self._parameters.write(shares)
                responses.append((yield Measure(index, entering, batch.samples, labels, "train")))
            features = [
                block.features(*(rows.reshape(labels.size, -1) for rows in (entering, response, first)))
                for entering, response in zip(inputs, _with_one_mean(block, responses), strict=True)
            ]
            outputs = [self._outputs(index, of_end) for of_end in features]
            found = np.array([self._goodness(index, of_end).reshape(labels.shape) for of_end in outputs])
            losses += [self._loss.value(of_end) for of_end in found]
            goodness += found
            inputs = [self._hidden(of_end).reshape(*labels.shape, -1) for of_end in outputs]
            measured.append(features)
        self._negatives.remember(batch.samples, labels, goodness.mean(axis=0))
        return losses, measured


def _unit(channel: Channel) -> Channel:
    """Return a channel with the same levels over the range 0 to 1."""
    return Channel(channel.name, "1", 0.0, 1.0, channel.levels)


def _with_one_mean(block: Block, responses: Sequence[Vectors]) -> list[Vectors]:
    """Return `responses` (n, k, n_outputs) at both ends moved to the mean they have together; `block` follows it.

    Running statistics have followed already.
    """
    means = [rows.mean(axis=(0, 1), dtype=np.float64) for rows in responses]
    middle = np.mean(means, axis=0)
    if block.standardise is True:
        block.standardiser = block.standardiser.moved_towards(middle, MEAN_FOLLOWED)
    return [rows - (mean - middle) for rows, mean in zip(responses, means, strict=True)]
