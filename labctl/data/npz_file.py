"""Arrays in NumPy's `.npz` format. Pickled arrays are refused: reading them could run code."""

import io
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labctl.contract.errors import InputError
from labctl.data.data_file import absent, read_data_file
from labctl.data.dataset import Dataset, Place, build_dataset
from labctl.data.labels import number_array

# What the zip and array readers raise for content that is damaged, made up or too large.
_DAMAGE = (ValueError, OSError, EOFError, KeyError, RuntimeError, SyntaxError, MemoryError, OverflowError, TypeError)


def load_npz(path: Path, features: str = "x", labels: str = "y", groups: str | None = None) -> Dataset:
    """Return the dataset of three arrays: features (n, d), labels (n,) and, if named, groups (n,).

    Labels are class numbers without a gap, or text; groups are integers or text. Raises `InputError`.
    """
    arrays = read_npz_arrays(path, [features, labels, *([] if groups is None else [groups])])
    numbers, class_names = number_array(f"{path.name}: {labels}", arrays[labels])
    return build_dataset(
        path.name,
        arrays[features],
        numbers,
        class_names,
        place=npz_place(path, features, labels),
        groups=None if groups is None else _group_numbers(f"{path.name}: {groups}", arrays[groups]),
    )


def npz_place(path: Path, features: str, labels: str) -> Place:
    """Return what names the array and index of a value."""

    def place(row: int, column: int | None) -> str:
        return f"{path.name}: {labels}[{row}]" if column is None else f"{path.name}: {features}[{row}, {column}]"

    return place


def read_npz_arrays(path: Path, names: list[str]) -> dict[str, NDArray[Any]]:
    """Return the named arrays of a file; raises `InputError`."""
    content = read_data_file(path)
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
    except (zipfile.BadZipFile, *_DAMAGE) as error:
        raise InputError(f"{path.name}: is not an npz file, or is truncated: {error}") from None
    with archive:
        present = [member.removesuffix(".npy") for member in archive.namelist() if member.endswith(".npy")]
        for name in names:
            if name not in present:
                raise InputError(f"{path.name}: has no array {absent(name, present)}")
        return {name: _read_array(archive, path.name, name) for name in names}


def _read_array(archive: zipfile.ZipFile, file: str, name: str) -> NDArray[Any]:
    try:
        member = archive.getinfo(f"{name}.npy")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError("NumPy neither stores arrays in this compression nor reads it here")
        with archive.open(member) as stream, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # headers in a spelling NumPy no longer writes mean the same
            return np.lib.format.read_array(stream, allow_pickle=False)
    except (zipfile.BadZipFile, zlib.error, *_DAMAGE) as error:
        if "allow_pickle" in str(error):
            raise InputError(f"{file}: {name} holds Python objects; save it as numbers or text") from None
        raise InputError(f"{file}: {name} is damaged: {error}") from None


def _group_numbers(where: str, groups: NDArray[Any]) -> NDArray[np.int64]:
    if groups.dtype.kind not in "iuU" or groups.ndim != 1:
        raise InputError(
            f"{where}: is {groups.dtype} of shape {groups.shape}; groups are one integer or text per sample"
        )
    return np.unique(groups, return_inverse=True)[1].astype(np.int64)
