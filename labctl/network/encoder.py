"""Encoders: how a vector becomes the drive of a physical layer.

An encoder is fitted once, on training inputs, before the block's first measurement. It returns drives within the
layer's ranges together with the number of values it had to clip, or leaves refusing them to the layer.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from labctl.config.experiment import Encoder as EncoderSettings
from labctl.config.experiment import FittedRangeEncoder
from labctl.contract.errors import InputError
from labctl.contract.layer import Channel, Drives, levels_of
from labctl.network.label import Vectors


@dataclass(frozen=True)
class Encoded:
    """Drives (n, n_inputs) and how many of their values were clipped into the layer's range."""

    drives: Drives
    clipped: int


class Encoder(ABC):
    """Maps vectors (n, width) to drives. `mixing` (n_inputs, width), if any, is applied first.

    It sends `levels` equidistant values of each input's range, or any (None); one that is `bounded` never leaves it.
    """

    cells_per_value = 1
    levels: ClassVar[int | None] = None
    bounded = True

    def __init__(self, channels: Sequence[Channel], mixing: Vectors | None) -> None:
        self._low = np.array([channel.low for channel in channels])
        self._span = np.array([channel.high - channel.low for channel in channels])
        self._lowest = np.array([channel.low for channel in channels], np.float32)
        self._highest = np.array([channel.high for channel in channels], np.float32)
        self.mixing = mixing

    def fit(self, inputs: Vectors) -> None:
        """Fit to training inputs (n, width)."""
        self._fit(self._mixed(inputs))

    def encode(self, inputs: Vectors) -> Encoded:
        """Return the drives for `inputs` (n, width)."""
        return self._encode(self._mixed(inputs))

    def arrays(self) -> Mapping[str, NDArray[np.floating]]:
        """Return what must be saved to encode the same way again."""
        return {} if self.mixing is None else {"mixing": self.mixing}

    def restore(self, arrays: Mapping[str, NDArray[np.floating]]) -> None:
        """Take over arrays saved by `arrays`."""
        self.mixing = arrays.get("mixing")

    def _drives(self, share: NDArray[np.floating] | NDArray[np.bool_]) -> Drives:
        """Return the drives at `share` (n, n_inputs), 0 to 1, of each channel's range.

        Rounding to float32 does not step over a range's end.
        """
        drives = (self._low + self._span * share).astype(np.float32)
        np.maximum(drives, self._lowest, out=drives)
        return np.minimum(drives, self._highest, out=drives)

    def _mixed(self, inputs: Vectors) -> Vectors:
        return inputs if self.mixing is None else inputs @ self.mixing.T

    def _fit(self, inputs: Vectors) -> None:  # noqa: B027 - most encoders need no fit
        """Fit to mixed training inputs."""

    @abstractmethod
    def _encode(self, inputs: Vectors) -> Encoded: ...


class DirectEncoder(Encoder):
    """The vector is the drive; the layer refuses what lies outside its range."""

    bounded = False

    def _encode(self, inputs: Vectors) -> Encoded:
        return Encoded(inputs.astype(np.float32), 0)


class FittedRange(Encoder):
    """One affine map per block that spreads the training inputs over the layer's range.

    The given quantiles of all training values land on the ends of the range; values beyond them are clipped and
    counted. Keeps the order, and so the sign, of the values.
    """

    def __init__(
        self, channels: Sequence[Channel], mixing: Vectors | None, *, low_quantile: float, high_quantile: float
    ) -> None:
        super().__init__(channels, mixing)
        self._quantiles = (low_quantile, high_quantile)
        self._bounds = np.array([0.0, 1.0])

    def _fit(self, inputs: Vectors) -> None:
        low, high = np.quantile(inputs.astype(np.float64), self._quantiles)
        if not high > low:
            low, high = float(inputs.min()), float(inputs.max())
        if not high > low:
            raise InputError(f"encoder fitted-range: every training input is {low:g}; there is no range to fit")
        self._bounds = np.array([low, high])

    def _encode(self, inputs: Vectors) -> Encoded:
        low, high = self._bounds
        share = inputs - low
        share /= high - low
        within = np.minimum(np.maximum(share, 0), 1)
        return Encoded(self._drives(within), int(np.count_nonzero(within != share)))

    def arrays(self) -> Mapping[str, NDArray[np.floating]]:
        """Return the mixing matrix and the fitted bounds."""
        return {**super().arrays(), "bounds": self._bounds}

    def restore(self, arrays: Mapping[str, NDArray[np.floating]]) -> None:
        """Take over arrays saved by `arrays`."""
        super().restore(arrays)
        self._bounds = arrays["bounds"]


class UnitEnergy(Encoder):
    """Tone amplitudes |h| / (|h|_2 + 1e-6), as in the authors' acoustic code: every drive has unit energy.

    An amplitude of 0 is rest, also on inputs that take either sign.
    """

    def __init__(self, channels: Sequence[Channel], mixing: Vectors | None) -> None:
        super().__init__(channels, mixing)
        rest = np.clip(0.0, self._low, self._low + self._span)
        self._low, self._span = rest, self._low + self._span - rest

    def _encode(self, inputs: Vectors) -> Encoded:
        magnitude = np.abs(inputs)
        share = magnitude / (np.linalg.norm(magnitude, axis=1, keepdims=True) + 1e-6)
        return Encoded(self._drives(share), 0)


class TwoBit(Encoder):
    """Two on/off cells per value, as in the authors' microwave code.

    With the row's minimum m, maximum M and r = M - m: value <= m is 00, <= m + r/4 is 01, <= M - r/4 is 10, above
    is 11. On is the top of the channel's range, off its bottom.
    """

    cells_per_value = 2
    levels = 2

    def _encode(self, inputs: Vectors) -> Encoded:
        low = inputs.min(axis=1, keepdims=True)
        high = inputs.max(axis=1, keepdims=True)
        quarter = (high - low) / 4
        code = (inputs > low).astype(np.int8) + (inputs > low + quarter) + (inputs > high - quarter)
        cells = np.stack([code >= 2, code % 2 == 1], axis=2).reshape(len(inputs), -1)
        return Encoded(self._drives(cells), 0)


def make_encoder(
    settings: EncoderSettings, width: int, channels: Sequence[Channel], generator: np.random.Generator
) -> Encoder:
    """Return the encoder for vectors of `width` values onto a layer's input `channels`.

    Raises `InputError` when the vector does not fit the layer.
    """
    kinds: dict[str, type[Encoder]] = {"direct": DirectEncoder, "unit-energy": UnitEnergy, "two-bit": TwoBit}
    cells = (
        FittedRange.cells_per_value
        if isinstance(settings, FittedRangeEncoder)
        else kinds[settings.kind].cells_per_value
    )
    values, remainder = divmod(len(channels), cells)
    mixing = None
    if settings.mix == "orthogonal":
        mixing = _orthogonal(values, width, generator)
    elif width != values or remainder:
        raise InputError(_misfit(settings.kind, width, cells, len(channels)))
    if isinstance(settings, FittedRangeEncoder):
        return FittedRange(channels, mixing, low_quantile=settings.low_quantile, high_quantile=settings.high_quantile)
    return kinds[settings.kind](channels, mixing)


def check_levels(kind: str, encoder: Encoder, channels: Sequence[Channel]) -> None:
    """Raise `InputError` when `encoder` sends values that an input with levels cannot be set to."""
    for channel in channels:
        if channel.levels is None or (encoder.levels and (channel.levels - 1) % (encoder.levels - 1) == 0):
            continue
        raise InputError(
            f"encoder {kind} sends {encoder.levels or 'any'} values, but input {channel.name} takes "
            f"{levels_of(channel)} alone: write `encoder: {{kind: two-bit, mix: orthogonal}}`, which sends the lowest "
            "and the highest"
        )


def _misfit(kind: str, width: int, cells: int, n_inputs: int) -> str:
    missing = n_inputs // cells - width
    pad = (
        f"set `network.label.pad: {missing}` to leave inputs at rest, or "
        if missing > 0 and not n_inputs % cells
        else ""
    )
    times = f" x {cells} cells" if cells > 1 else ""
    return (
        f"encoder {kind} sends {width} values{times}, but the layer has {n_inputs} inputs: "
        f"{pad}write `encoder: {{kind: {kind}, mix: orthogonal}}` to spread the values over the inputs"
    )


def _orthogonal(rows: int, columns: int, generator: np.random.Generator) -> Vectors:
    """Return a (rows, columns) matrix with orthonormal columns or rows, whichever are fewer."""
    tall = generator.standard_normal((max(rows, columns), min(rows, columns)))
    basis, triangle = np.linalg.qr(tall)
    basis = basis * np.sign(np.diag(triangle))
    return basis if rows >= columns else basis.T
