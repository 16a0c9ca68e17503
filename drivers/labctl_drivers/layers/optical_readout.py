"""How a picture becomes a response: blocks of it, less what they show in the dark, unless too much is saturated."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from labctl.contract.errors import blaming
from labctl.contract.layer import RawSignal, ResponseValues, RowStatus
from labctl.contract.optics import Image
from labctl_drivers.layers.optical_settings import OpticalSettings

READ_OUT = ("outputs", "dark", "max_saturated")
"""Settings that a picture can be read out by in another way, `dark` as far as it was taken."""

Means = NDArray[np.float32]
DarkSum = NDArray[np.unsignedinteger]
"""Counts (rows, columns) of all pictures of one look into the dark together."""


class OpticalReadout:
    """What `settings` make of pictures (`shape`: rows, columns) of `bits` that `camera` has taken."""

    def __init__(self, settings: OpticalSettings, shape: tuple[int, int], bits: int, camera: str) -> None:
        """Raise `SettingError` for blocks that are not in the picture."""
        with blaming("outputs"):
            self.outputs = settings.outputs.blocks(shape, camera)
        self.full_scale = 2**bits - 1
        self._dark = settings.dark
        self._max_saturated = settings.max_saturated
        self._shape = shape
        self._image_dtype = np.dtype("u1" if bits <= 8 else "<u2")
        self._counts = self.outputs.pixels == 1 and settings.dark is None

    @property
    def response_dtype(self) -> str:
        """Return the number type of responses: single pixels stay counts."""
        return self._image_dtype.name if self._counts else "float32"

    @property
    def low(self) -> float:
        """Return the smallest response there can be."""
        return 0.0 if self._dark is None else -float(self.full_scale)

    @property
    def raw_dtype(self) -> np.dtype[Any]:
        """Return the type of what a response is read out of.

        `picture` (rows, columns) in counts; with `dark` the sum of the dark pictures that hold for it; `fault`, the
        status of a row whose picture is not that of its pattern, else 0.
        """
        fields: list[tuple[Any, ...]] = [("picture", self._image_dtype, self._shape)]
        if self._dark is not None:
            smallest = np.min_scalar_type(self._dark.frames * self.full_scale).newbyteorder("<")
            fields.append(("dark", smallest, self._shape))
        return np.dtype([*fields, ("fault", "u1")])

    def blocks(self, image: Image) -> Means:
        """Return the means (n_outputs,) of a picture's blocks."""
        return self.outputs.mean(image)

    def dark_blocks(self, dark: DarkSum) -> Means:
        """Return the mean (n_outputs,) of the blocks of the dark pictures that add up to `dark`."""
        frames = 1 if self._dark is None else self._dark.frames
        return self.outputs.mean(dark) / np.float32(frames)

    def values(self, image: Image, blocks: Means, dark: Means | None) -> ResponseValues:
        """Return the responses (n_outputs,) of a picture with its `blocks`, and those of the dark, if any."""
        if self._counts:
            return self.outputs.cut(image).reshape(-1)
        return blocks if dark is None else blocks - dark

    def status(self, image: Image) -> RowStatus:
        """Return whether too many pixels are saturated."""
        saturated = np.count_nonzero(self.outputs.cut(image) == self.full_scale)
        share = saturated / (self.outputs.n_blocks * self.outputs.pixels**2)
        return RowStatus.OVERLOAD if share > self._max_saturated else RowStatus.OK

    def read_again(self, raw: RawSignal) -> tuple[ResponseValues, NDArray[np.uint8]]:
        """Return the responses (n, n_outputs) and their status (n,) of raw signals (n,), as they were when measured."""
        values = np.zeros((len(raw), self.outputs.n_blocks), self.response_dtype)
        status = raw["fault"].copy()
        for place in (status != int(RowStatus.FAILED)).nonzero()[0].tolist():
            image = raw["picture"][place]
            dark = None if self._dark is None else self.dark_blocks(raw["dark"][place])
            values[place] = self.values(image, self.blocks(image), dark)
            status[place] = status[place] or int(self.status(image))
        return values, status
