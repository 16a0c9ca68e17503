"""Small random shifts of training images: a digit is the same digit one pixel further."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labctl.contract.errors import InputError
from labctl.data.dataset import ImageShape


@dataclass(frozen=True)
class Shifts:
    """Shifts each image by up to `pixels` rows and columns, every offset as likely; what moves in from outside is 0."""

    pixels: int
    shape: ImageShape

    def __call__(self, images: NDArray[Any], generator: np.random.Generator) -> NDArray[Any]:
        """Return shifted copies of `images` (n, rows x columns)."""
        reach, (rows, columns) = self.pixels, self.shape
        padded = np.zeros((len(images), rows + 2 * reach, columns + 2 * reach), images.dtype)
        padded[:, reach : reach + rows, reach : reach + columns] = images.reshape(-1, rows, columns)
        down, right = generator.integers(2 * reach + 1, size=(2, len(images), 1, 1))
        at = np.arange(len(images))[:, None, None], np.arange(rows)[:, None] + down, np.arange(columns) + right
        return padded[at].reshape(images.shape)


def make_shifts(pixels: int, shape: ImageShape | None) -> Shifts | None:
    """Return the shifts an experiment asks for, if any. Raises `InputError` when its samples are no such images."""
    if not pixels:
        return None
    if shape is None:
        raise InputError("these samples are no images of rows and columns; expected shifts: 0")
    if pixels >= min(shape):
        raise InputError(f"shifts of {pixels} pixels move images of {shape[0]} x {shape[1]} pixels out of sight")
    return Shifts(pixels, shape)
