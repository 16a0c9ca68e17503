"""Encoders: how a vector becomes the drive of a physical layer.

An encoder is fitted once, on training inputs, before the block's first measurement. It returns drives within the
layer's ranges together with the number of values it had to clip, or leaves refusing them to the layer.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from labctl.config.network import Encoder as EncoderSettings
from labctl.config.network import FittedRangeEncoder, QuantileEncoder
from labctl.contract.errors import InputError
from labctl.contract.layer import Channel, Drives, Levels, levels_of
from labctl.network.label import Vectors

QUANTILE_POINTS = 256
"""Training values kept per place to rank others by; 256 tell the bins of eight cells apart."""


@dataclass(frozen=True)
class Encoded:
    """Drives (n, n_inputs) and how many of their values were clipped into the layer's range."""

    drives: Drives
    clipped: int


class Encoder(ABC):
    """Maps vectors (n, width) to drives. `mixing` (n_inputs, width), if any, is applied first.

    One that is `bounded` never leaves the inputs' ranges, and rounds to the nearest level of inputs that have levels;
    one that is `on_off` sends nothing but the ends of each range.
    """

    on_off = False
    bounded = True
    smooth = False
    """Whether it has a derivative; rounding to levels is taken to have that of the identity."""

    def __init__(self, channels: Sequence[Channel], mixing: Vectors | None) -> None:
        self._low = np.array([channel.low for channel in channels])
        self._span = np.array([channel.high - channel.low for channel in channels])
        self._lowest = np.array([channel.low for channel in channels], np.float32)
        self._highest = np.array([channel.high for channel in channels], np.float32)
        self._levels = Levels(channels)
        self.mixing = mixing

    def fit(self, inputs: Vectors) -> None:
        """Fit to training inputs (n, width)."""
        self._fit(self._mixed(inputs))

    def encode(self, inputs: Vectors) -> Encoded:
        """Return the drives for `inputs` (n, width)."""
        return self._encode(self._mixed(inputs))

    def pull_back(self, inputs: Vectors, upstream: Vectors) -> Vectors:
        """Return the gradient (n, width) of sum(upstream * drives) at `inputs` (n, width), `upstream` (n, n_inputs).

        Raises `TypeError` for an encoder that is not `smooth`.
        """
        slope = self._pull_back(self._mixed(inputs), upstream)
        return slope if self.mixing is None else slope @ self.mixing

    def arrays(self) -> Mapping[str, NDArray[np.floating]]:
        """Return what must be saved to encode the same way again."""
        return {} if self.mixing is None else {"mixing": self.mixing}

    def restore(self, arrays: Mapping[str, NDArray[np.floating]]) -> None:
        """Take over arrays saved by `arrays`."""
        self.mixing = arrays.get("mixing")

    def _drives(self, share: NDArray[np.floating] | NDArray[np.bool_]) -> Drives:
        """Return the drives at `share` (n, n_inputs), 0 to 1, of each channel's range, or the nearest levels.

        Rounding to float32 does not step over a range's end.
        """
        drives = (self._low + self._span * share).astype(np.float32)
        np.maximum(drives, self._lowest, out=drives)
        return self._levels.nearest(np.minimum(drives, self._highest, out=drives))

    def _mixed(self, inputs: Vectors) -> Vectors:
        return inputs if self.mixing is None else inputs @ self.mixing.T

    def _fit(self, inputs: Vectors) -> None:  # noqa: B027 - most encoders need no fit
        """Fit to mixed training inputs."""

    @abstractmethod
    def _encode(self, inputs: Vectors) -> Encoded: ...

    def _pull_back(self, inputs: Vectors, upstream: Vectors) -> Vectors:  # noqa: ARG002 - for those that are smooth
        """Return the gradient (n, width) with respect to mixed `inputs`."""
        raise TypeError(f"{type(self).__name__} has no derivative")


class DirectEncoder(Encoder):
    """The vector is the drive; the layer refuses what lies outside its range."""

    bounded = False
    smooth = True

    def _encode(self, inputs: Vectors) -> Encoded:
        return Encoded(inputs.astype(np.float32), 0)

    @override
    def _pull_back(self, inputs: Vectors, upstream: Vectors) -> Vectors:
        return upstream


class FittedRange(Encoder):
    """One affine map per block that spreads the training inputs over the layer's range.

    The given quantiles of all training values land on the ends of the range; values beyond them are clipped and
    counted. Keeps the order, and so the sign, of the values.
    """

    smooth = True

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

    def _pull_back(self, inputs: Vectors, upstream: Vectors) -> Vectors:
        low, high = self._bounds
        within = (inputs >= low) & (inputs <= high)
        return upstream * within * (self._span / (high - low))

    def arrays(self) -> Mapping[str, NDArray[np.floating]]:
        """Return the mixing matrix and the fitted bounds."""
        return {**super().arrays(), "bounds": self._bounds}

    def restore(self, arrays: Mapping[str, NDArray[np.floating]]) -> None:
        """Take over arrays saved by `arrays`."""
        super().restore(arrays)
        self._bounds = arrays["bounds"]


class Quantile(Encoder):
    """Each value becomes its rank among the training values at the same place of the vector.

    The rank is below / (below + above), the numbers of kept training values that lie below and above it: 0 at the
    smallest, 1 at the largest, (i - 1)/(n - 1) at the i-th of n that all differ. Of a place that takes two values, as
    that of a label does, one is 0 and the other 1, however often each occurs. A place that never changes is 0. Kept are
    `QUANTILE_POINTS` order statistics per place; values beyond the first and the last are clipped and counted.

    With one cell the rank fills the channel's range. With k cells the rank falls into one of 2^k equal bins, whose
    number in binary, highest digit first, switches k channels on (top of their range) or off.
    """

    def __init__(self, channels: Sequence[Channel], mixing: Vectors | None, *, cells: int) -> None:
        super().__init__(channels, mixing)
        self._cells = cells
        self.on_off = cells > 1
        self._points: Vectors = np.zeros((len(channels) // cells, QUANTILE_POINTS))

    def _fit(self, inputs: Vectors) -> None:
        kept = np.rint(np.linspace(0, len(inputs) - 1, QUANTILE_POINTS)).astype(np.int64)
        self._points = np.sort(inputs, axis=0)[kept].T

    def _encode(self, inputs: Vectors) -> Encoded:
        below, above = np.empty(inputs.shape, np.int64), np.empty(inputs.shape, np.int64)
        for place, points in enumerate(self._points):
            below[:, place] = np.searchsorted(points, inputs[:, place], side="left")
            above[:, place] = QUANTILE_POINTS - np.searchsorted(points, inputs[:, place], side="right")
        rank = below / np.maximum(below + above, 1)
        beyond = (inputs < self._points[:, 0]) | (inputs > self._points[:, -1])
        return Encoded(self._drives(rank if self._cells == 1 else self._code(rank)), int(np.count_nonzero(beyond)))

    def _code(self, rank: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return the binary digits (n, width * cells) of the bin that each rank (n, width) falls into."""
        bins = 2**self._cells
        number = np.minimum((rank * bins).astype(np.int64), bins - 1)
        digits = number[:, :, None] >> np.arange(self._cells)[::-1]
        return (digits % 2 == 1).reshape(len(rank), -1)

    def arrays(self) -> Mapping[str, NDArray[np.floating]]:
        """Return the mixing matrix and the kept training values, (width, `QUANTILE_POINTS`), ascending."""
        return {**super().arrays(), "points": self._points}

    def restore(self, arrays: Mapping[str, NDArray[np.floating]]) -> None:
        """Take over arrays saved by `arrays`."""
        super().restore(arrays)
        self._points = arrays["points"]


class UnitEnergy(Encoder):
    """Tone amplitudes |h| / (|h|_2 + 1e-6), as in the authors' acoustic code: every drive has unit energy.

    An amplitude of 0 is rest, also on inputs that take either sign.
    """

    smooth = True

    def __init__(self, channels: Sequence[Channel], mixing: Vectors | None) -> None:
        super().__init__(channels, mixing)
        rest = np.clip(0.0, self._low, self._low + self._span)
        self._low, self._span = rest, self._low + self._span - rest

    def _encode(self, inputs: Vectors) -> Encoded:
        magnitude = np.abs(inputs)
        share = magnitude / (np.linalg.norm(magnitude, axis=1, keepdims=True) + 1e-6)
        return Encoded(self._drives(share), 0)

    def _pull_back(self, inputs: Vectors, upstream: Vectors) -> Vectors:
        length = np.linalg.norm(inputs, axis=1, keepdims=True) + 1e-6
        share, slope = np.abs(inputs) / length, upstream * self._span
        along = (share * slope).sum(axis=1, keepdims=True)
        # |h|/length and not 1 beside it: the length in the denominator has a small constant added.
        return np.sign(inputs) * (slope - share * along * (length / (length - 1e-6))) / length


class TwoBit(Encoder):
    """Two on/off cells per value, as in the authors' microwave code.

    With the row's minimum m, maximum M and r = M - m: value <= m is 00, <= m + r/4 is 01, <= M - r/4 is 10, above
    is 11. On is the top of the channel's range, off its bottom.
    """

    on_off = True

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
    cells = _cells_per_value(settings)
    values, remainder = divmod(len(channels), cells)
    mixing = None
    if settings.mix == "orthogonal":
        mixing = _orthogonal(values, width, generator)
    elif width != values or remainder:
        raise InputError(_misfit(settings, width, cells, len(channels)))
    match settings:
        case FittedRangeEncoder(low_quantile=low, high_quantile=high):
            return FittedRange(channels, mixing, low_quantile=low, high_quantile=high)
        case QuantileEncoder():
            return Quantile(channels, mixing, cells=cells)
        case _:
            kinds = {"direct": DirectEncoder, "unit-energy": UnitEnergy, "two-bit": TwoBit}
            return kinds[settings.kind](channels, mixing)


def _cells_per_value(settings: EncoderSettings) -> int:
    if isinstance(settings, QuantileEncoder):
        return settings.cells
    return 2 if settings.kind == "two-bit" else 1


def check_levels(kind: str, encoder: Encoder, channels: Sequence[Channel]) -> None:
    """Raise `InputError` when `encoder` sends values between the levels of an input, or any value to an on/off one.

    Rounding to many levels loses little; rounding to two would lose nearly everything without a word.
    """
    for channel in channels:
        on_off = channel.levels == 2
        if channel.levels is None or encoder.on_off or (encoder.bounded and not on_off):
            continue
        write = (
            "`encoder: {kind: two-bit, mix: orthogonal}` or `{kind: quantile, cells: 2, mix: orthogonal}`, which send "
            "cells"
            if on_off
            else "`encoder: fitted-range`, which sends the nearest level"
        )
        raise InputError(
            f"encoder {kind} sends any values, but input {channel.name} takes {levels_of(channel)} alone: write {write}"
        )


def _misfit(settings: EncoderSettings, width: int, cells: int, n_inputs: int) -> str:
    kind = settings.kind
    written = f"{kind}, cells: {cells}" if kind == "quantile" and cells > 1 else kind
    missing = n_inputs // cells - width
    pad = (
        f"set `network.label.pad: {missing}` to leave inputs at rest, or "
        if missing > 0 and not n_inputs % cells
        else ""
    )
    times = f" x {cells} cells" if cells > 1 else ""
    return (
        f"encoder {kind} sends {width} values{times}, but the layer has {n_inputs} inputs: "
        f"{pad}write `encoder: {{kind: {written}, mix: orthogonal}}` to spread the values over the inputs"
    )


def _orthogonal(rows: int, columns: int, generator: np.random.Generator) -> Vectors:
    """Return a (rows, columns) matrix with orthonormal columns or rows, whichever are fewer."""
    tall = generator.standard_normal((max(rows, columns), min(rows, columns)))
    basis, triangle = np.linalg.qr(tall)
    basis = basis * np.sign(np.diag(triangle))
    return basis if rows >= columns else basis.T
