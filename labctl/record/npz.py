"""Named arrays as the bytes of an `.npz` file and back, without pickle."""

import io
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


def to_npz(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Return the arrays as an uncompressed `.npz`. Raises `ValueError` for arrays of objects."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)
    return buffer.getvalue()


def from_npz(data: bytes) -> dict[str, NDArray[Any]]:
    """Return the arrays in `data`. Raises `ValueError` when it is damaged or holds objects."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            return dict(archive)
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, KeyError, AttributeError, TypeError) as error:
        raise ValueError(f"not a whole npz file: {error}") from error
