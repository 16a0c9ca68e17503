"""Images and labels in the IDX format of MNIST, plain or compressed with gzip.

Format: two zero bytes, one byte for the number type, one for the number of dimensions, the dimensions as big-endian
32-bit integers, then the values, big-endian in row order (LeCun, Cortes and Burges, "The MNIST database").
"""

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labctl.contract.errors import InputError
from labctl.data.data_file import read_data_file
from labctl.data.dataset import Dataset, Place, build_dataset
from labctl.data.labels import number_array

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MAX_DIMENSIONS = 32
_GZIP_MAGIC = b"\x1f\x8b"


def load_idx(
    images: Path, labels: Path, test_images: Path | None = None, test_labels: Path | None = None, *, crop: int = 0
) -> Dataset:
    """Return the dataset of an image file and a label file, images flattened row by row and scaled not at all.

    `crop` rows and columns are cut off at every edge. With a pair of test files their rows come last and are the
    official test part. Raises `InputError`.
    """
    if (test_images is None) != (test_labels is None):
        raise InputError(f"{images.name}: test images and test labels come as a pair; give both or neither")
    pairs = [(images, labels)]
    if test_images is not None and test_labels is not None:
        pairs.append((test_images, test_labels))
    parts = [_read_pair(*pair) for pair in pairs]
    shapes = [part.shape[1:] for part, _ in parts]
    if len({(part.shape[1:], part.dtype) for part, _ in parts}) > 1:
        raise InputError(
            f"{pairs[1][0].name}: images of {_size(shapes[1])} {parts[1][0].dtype} pixels, "
            f"but {images.name} has {_size(shapes[0])} {parts[0][0].dtype} pixels"
        )
    if crop:
        parts = [(_cropped(images.name, pixels, crop), classes) for pixels, classes in parts]
    n_train = len(parts[0][0])
    shape = parts[0][0].shape[1:]
    numbers, class_names = number_array(labels.name, np.concatenate([part for _, part in parts]))
    return build_dataset(
        images.name,
        np.concatenate([part.reshape(len(part), math.prod(shape)) for part, _ in parts]),
        numbers,
        class_names,
        place=_place(pairs, n_train),
        official_test=np.arange(n_train, len(numbers)) if len(pairs) > 1 else None,
        image_shape=(shape[0], shape[1]) if len(shape) == 2 else None,
    )


def _cropped(name: str, images: NDArray[Any], crop: int) -> NDArray[Any]:
    """Return images (n, rows, columns) without `crop` rows and columns at every edge."""
    if images.ndim != 3 or min(images.shape[1:]) <= 2 * crop:
        raise InputError(f"{name}: crop {crop} leaves nothing of images of {_size(images.shape[1:])} pixels")
    return images[:, crop:-crop, crop:-crop]


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _place(pairs: list[tuple[Path, Path]], n_train: int) -> Place:
    def place(row: int, column: int | None) -> str:
        (images, labels), index = (pairs[0], row) if row < n_train else (pairs[1], row - n_train)
        return f"{labels.name}: label {index}" if column is None else f"{images.name}: image {index}, pixel {column}"

    return place


def _read_pair(images: Path, labels: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return images (n, rows, columns), or of whatever shape they are, and labels (n,)."""
    pixels, classes = read_idx(images), read_idx(labels)
    if pixels.ndim < 2:
        raise InputError(f"{images.name}: has {pixels.ndim} dimension(s); images have at least 2")
    if classes.ndim != 1 or classes.dtype.kind not in "iu":
        raise InputError(
            f"{labels.name}: holds {classes.dtype} of shape {classes.shape}; expected one integer per image"
        )
    if len(pixels) != len(classes):
        raise InputError(f"{images.name}: has {len(pixels)} images but {labels.name} has {len(classes)} labels")
    return pixels, classes


def read_idx(path: Path) -> NDArray[Any]:
    """Return the array of a file, in its own shape and number type; raises `InputError`."""
    content = _decompressed(path)
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _TYPES:
        raise InputError(f"{path.name}: is not an IDX file: it begins with {content[:4].hex(' ') or 'nothing'}")
    n_dimensions = content[3]
    start = 4 + 4 * n_dimensions
    if not 1 <= n_dimensions <= _MAX_DIMENSIONS or len(content) < start:
        raise InputError(f"{path.name}: the header announces {n_dimensions} dimension(s), which do not follow")
    shape = struct.unpack(f">{n_dimensions}I", content[4:start])
    if 0 in shape:
        raise InputError(f"{path.name}: holds no values: its dimensions are {' x '.join(map(str, shape))}")
    dtype = np.dtype(_TYPES[content[2]])
    expected = math.prod(shape) * dtype.itemsize
    if len(content) - start != expected:
        raise InputError(
            f"{path.name}: the header announces {' x '.join(map(str, shape))} values in {expected} bytes, "
            f"but {len(content) - start} follow"
        )
    return np.frombuffer(content, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def _decompressed(path: Path) -> bytes:
    content = read_data_file(path)
    if not content.startswith(_GZIP_MAGIC):
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error, struct.error) as error:
        raise InputError(f"{path.name}: the gzip data are damaged: {error}") from None
