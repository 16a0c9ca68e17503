"""A network: a label embedding and blocks in a row, built from an experiment and the layers it names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labctl.config.network import Block as BlockSettings
from labctl.config.network import Network as NetworkSettings
from labctl.contract.errors import InputError
from labctl.contract.layer import LayerInfo
from labctl.network.block import Block
from labctl.network.encoder import DirectEncoder, check_levels, make_encoder
from labctl.network.goodness import reference_direction
from labctl.network.label import LabelEmbedding
from labctl.network.randomness import named_generator
from labctl.network.standardise import Standardiser


class MisfitError(InputError):
    """What is sent to a block, counted from 0, does not fit its layer."""

    def __init__(self, block: int, message: str) -> None:
        self.block = block
        super().__init__(message)


@dataclass(frozen=True)
class Network:
    """Digital state of a physical network; the physics lives in the layers its blocks name."""

    label: LabelEmbedding
    blocks: tuple[Block, ...]
    dtype: np.dtype[np.floating]

    def arrays(self) -> dict[str, NDArray[np.floating]]:
        """Return the arrays of the label and of every block under `label.fields`, `block0.weights` and so on."""
        return {f"{part}.{name}": array for part, _, owner in self._parts() for name, array in owner.arrays().items()}

    def restore(self, arrays: Mapping[str, NDArray[np.floating]]) -> None:
        """Take over arrays saved by `arrays`. Raises `InputError` when they belong to another network."""
        for part, title, owner in self._parts():
            prefix = f"{part}."
            own = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
            for name, array in owner.arrays().items():
                saved = own.get(name)
                if saved is None or saved.shape != array.shape:
                    found = "nothing" if saved is None else f"shape {saved.shape}"
                    raise InputError(f"{title}: expected {name} of shape {array.shape}, found {found}")
            owner.restore(own)

    def _parts(self) -> list[tuple[str, str, LabelEmbedding | Block]]:
        """Return what has arrays, with its name in saved arrays and its name for people."""
        blocks = [(f"block{index}", f"block {index + 1}", block) for index, block in enumerate(self.blocks)]
        return [("label", "label", self.label), *blocks]


def build_network(
    settings: NetworkSettings,
    layers: Sequence[LayerInfo],
    *,
    n_features: int,
    n_classes: int,
    seed: int,
    precision: str,
) -> Network:
    """Return a network with freshly drawn weights; `layers` has one entry per block.

    Raises `MisfitError` when a block's vector does not fit its layer.
    """
    dtype = np.dtype(precision)
    label = LabelEmbedding.from_settings(settings.label, n_classes, n_features, named_generator(seed, "label"))
    first = width = label.label_width + n_features
    blocks: list[Block] = []
    for number, (block, layer) in enumerate(zip(settings.blocks, layers, strict=True), start=1):
        try:
            blocks.append(_build_block(block, layer, width, first, dtype, seed=seed, number=number))
        except InputError as error:
            raise MisfitError(number - 1, f"block {number} on layer '{block.layer}': {error}") from error
        width = block.units
    return Network(label, tuple(blocks), dtype)


def _build_block(
    settings: BlockSettings,
    layer: LayerInfo,
    width: int,
    first: int,
    dtype: np.dtype[np.floating],
    *,
    seed: int,
    number: int,
) -> Block:
    """Return a block that is sent `width` values, in a network that is sent `first`."""
    encoder = make_encoder(settings.encoder, width, layer.inputs, named_generator(seed, "mixing", number))
    # What the first block sends directly are the data, which may well be levels.
    if number > 1 or not isinstance(encoder, DirectEncoder):
        check_levels(settings.encoder.kind, encoder, layer.inputs)
    n_skipped = first if settings.skip == "input" else width if settings.skip else 0
    n_features = layer.n_outputs + n_skipped
    return Block(
        layer=settings.layer,
        encoder=encoder,
        standardise=settings.standardise,
        standardiser=Standardiser.neutral(layer.n_outputs, dtype, settings.response_scale),
        skip=settings.skip,
        reads=settings.reads,
        weights=_initial_weights(settings.units, n_features, dtype, named_generator(seed, "weights", number)),
        reference=reference_direction(settings.units, named_generator(seed, "reference", number), dtype),
    )


def _initial_weights(
    units: int, n_features: int, dtype: np.dtype[np.floating], generator: np.random.Generator
) -> NDArray[np.floating]:
    """Draw weights and bias uniformly within 1/sqrt(n_features), as the authors' code does."""
    bound = 1 / np.sqrt(n_features)
    return generator.uniform(-bound, bound, (units, n_features + 1)).astype(dtype)
