"""Reads a measured transmission matrix from an .npz file, and refuses one that cannot be what it is said to be."""

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labctl.contract.errors import InputError
from labctl_simulators.physics.scattering import TOLERANCE, Complex, Property, departure


def load_matrix(path: Path, key: str, deformation: int | None) -> Complex:
    """Return the matrix (n_outputs, n_inputs), or number `deformation` of a stack (n, n_outputs, n_inputs) of them.

    Raises `InputError` for a file, an array, a number or a value that cannot be used.
    """
    array = _load_array(path, key)
    if array.dtype.kind not in "fiuc" or array.ndim not in (2, 3) or not array.size:
        raise InputError(
            f"{path}: '{key}' must be a matrix of outputs x inputs, or a stack of them, "
            f"not {array.dtype} of shape {array.shape}"
        )
    matrix = _pick(path, key, array, deformation)
    if not np.isfinite(matrix).all():
        row, column = np.argwhere(~np.isfinite(matrix))[0].tolist()
        raise InputError(f"{path}: '{key}' is not a finite number at output {row}, input {column}; measure it again")
    if not matrix.any():
        raise InputError(f"{path}: '{key}' is zero everywhere; a medium that lets no light through is no medium")
    return matrix.astype(np.complex128)


def check_declared(path: Path, matrix: Complex, declared: Sequence[Property]) -> None:
    """Raise `InputError` unless `matrix` has every property that it is declared to have."""
    for each in declared:
        by = departure(matrix, each)
        if by > TOLERANCE:
            much = f"departs from it by {by:.3g} (at most {TOLERANCE:g})" if np.isfinite(by) else "is not even square"
            raise InputError(f"{path}: the matrix is declared {each} but {much}; correct the file or the declaration")


def _pick(path: Path, key: str, array: NDArray[Any], deformation: int | None) -> NDArray[Any]:
    if array.ndim == 2:
        if deformation is not None:
            raise InputError(f"{path}: '{key}' is a single matrix; leave out `deformation`")
        return array
    if deformation is None or not 0 <= deformation < len(array):
        named = "none is chosen" if deformation is None else f"there is no number {deformation}"
        raise InputError(
            f"{path}: '{key}' holds {len(array)} deformations and {named}; write `deformation: 0` to "
            f"{len(array) - 1}. Between them nothing was measured"
        )
    return array[deformation]


def _load_array(path: Path, key: str) -> NDArray[Any]:
    try:
        with path.open("rb") as file, np.load(file) as archive:
            if key not in archive:
                raise InputError(f"{path}: there is no array '{key}'; the file holds {', '.join(archive) or 'nothing'}")
            return np.asarray(archive[key])
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; name the .npz file of the matrix as `path`") from error
    except (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path}: not a readable .npz file ({error}); copy it again") from error
