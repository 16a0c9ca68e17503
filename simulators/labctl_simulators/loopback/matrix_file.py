"""Reads a measured transmission matrix from an .npz file, and refuses one that cannot be what it is said to be."""

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labctl.contract.errors import SettingError
from labctl_simulators.physics.scattering import TOLERANCE, Complex, Property, departure


def load_matrix(path: Path, key: str, deformation: int | None) -> Complex:
    """Return the matrix (n_outputs, n_inputs), or number `deformation` of a stack (n, n_outputs, n_inputs) of them.

    Raises `SettingError` at `path`, `key` or `deformation` for what cannot be used.
    """
    array = _load_array(path, key)
    if array.dtype.kind not in "fiuc" or array.ndim not in (2, 3) or not array.size:
        raise SettingError(
            ("key",),
            f"{path}: '{key}' must be a matrix of outputs x inputs, or a stack of them, "
            f"not {array.dtype} of shape {array.shape}",
        )
    matrix = _pick(path, key, array, deformation)
    if not np.isfinite(matrix).all():
        row, column = np.argwhere(~np.isfinite(matrix))[0].tolist()
        raise SettingError(
            ("path",), f"{path}: '{key}' is not a finite number at output {row}, input {column}; measure it again"
        )
    if not matrix.any():
        raise SettingError(
            ("path",), f"{path}: '{key}' is zero everywhere; a medium that lets no light through is no medium"
        )
    return matrix.astype(np.complex128)


def check_declared(path: Path, matrix: Complex, declared: Sequence[Property]) -> None:
    """Raise `SettingError` at the one of `declared` that `matrix` does not have."""
    for place, each in enumerate(declared):
        by = departure(matrix, each)
        if by > TOLERANCE:
            what = f"{path}: the matrix is declared {each}, but {_said(each, by)}; correct the file or the declaration"
            raise SettingError(("declared", place), what)


def _said(declared: Property, by: float) -> str:
    """Say what a departure `by` from a property is."""
    if not np.isfinite(by):
        return "it is not even square"
    if declared == "passive":
        return f"its largest singular value is {1 + by:.4g}, above 1 by more than {TOLERANCE:g}"
    norm = "‖T - Tᵀ‖ / ‖T‖" if declared == "reciprocal" else "‖T†T - 1‖ / √n"
    return f"{norm} is {by:.3g}, more than {TOLERANCE:g}"


def _pick(path: Path, key: str, array: NDArray[Any], deformation: int | None) -> NDArray[Any]:
    if array.ndim == 2:
        if deformation is not None:
            raise SettingError(("deformation",), f"{path}: '{key}' is a single matrix; leave out `deformation`")
        return array
    if deformation is None or not 0 <= deformation < len(array):
        named = "none is chosen" if deformation is None else f"there is no number {deformation}"
        raise SettingError(
            ("deformation",),
            f"{path}: '{key}' holds {len(array)} deformations and {named}; write `deformation: 0` to "
            f"{len(array) - 1}. Between them nothing was measured",
        )
    return array[deformation]


def _load_array(path: Path, key: str) -> NDArray[Any]:
    try:
        with path.open("rb") as file, np.load(file) as archive:
            present = ", ".join(archive) or "nothing"
            array = np.asarray(archive[key]) if key in archive else None
    except FileNotFoundError as error:
        raise SettingError(("path",), f"{path}: no such file; name the .npz file of the matrix as `path`") from error
    except (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise SettingError(("path",), f"{path}: not a readable .npz file ({error}); copy it again") from error
    if array is None:
        raise SettingError(("key",), f"{path}: there is no array '{key}'; the file holds {present}")
    return array
