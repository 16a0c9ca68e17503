"""A labelled table of samples, and what must hold for it before any of it is sent to hardware."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labctl.contract.errors import InputError

Features = NDArray[Any]
"""(n, d) real numbers in the type they were stored in."""
Labels = NDArray[np.int64]

ImageShape = tuple[int, int]
"""Rows and columns of pixels."""

Place = Callable[[int, int | None], str]
"""Says where in a file row i stands: its feature j, or its label for None."""


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Samples as they were found, checked and never normalised. Its arrays are read-only.

    `features` (n, d), `labels` (n,) in 0 to C-1 naming entries of `class_names` (C). `feature_names` has d names, or
    none where the source gives its features no name; `image_shape` is (rows, columns) where a sample is an image, row
    by row. `groups` (n,) numbers what must not be split (a speaker, a session). `official_test` holds the sorted rows
    of the test part when the source brings its own. `fingerprint` is the SHA-256 of all of that but `image_shape` in a
    fixed byte order; `name` is not part of it.
    """

    name: str
    features: Features
    labels: Labels
    class_names: tuple[str, ...]
    feature_names: tuple[str, ...]
    groups: Labels | None
    official_test: Labels | None
    fingerprint: str
    image_shape: ImageShape | None = None

    @property
    def n_features(self) -> int:
        """Number of features of a sample."""
        return int(self.features.shape[1])

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)


def build_dataset(
    name: str,
    features: Features,
    labels: NDArray[Any],
    class_names: Sequence[str],
    *,
    place: Place,
    feature_names: Sequence[str] = (),
    groups: NDArray[Any] | None = None,
    official_test: NDArray[Any] | None = None,
    image_shape: ImageShape | None = None,
) -> Dataset:
    """Return the dataset of these arrays, or raise `InputError` naming file, row and column of what is wrong.

    `name` is the file's name and starts every message about the whole table; `place` starts those about one value.
    """
    check_features(name, features, feature_names, place)
    _check_labels(name, features, labels, class_names, place)
    for what, array in (("groups", groups), ("labels", labels)):
        if array is not None and array.shape != (len(features),):
            raise InputError(f"{name}: {len(features)} rows of features but {what} of shape {array.shape}")
    parts = (
        _read_only(features, features.dtype.newbyteorder("=")),
        _read_only(labels, np.int64),
        tuple(class_names),
        tuple(feature_names),
        None if groups is None else _read_only(groups, np.int64),
        None if official_test is None else _read_only(np.sort(official_test), np.int64),
    )
    return Dataset(name, *parts, fingerprint=_fingerprint(*parts), image_shape=image_shape)


def check_features(name: str, features: Features, feature_names: Sequence[str], place: Place) -> None:
    """Raise `InputError` unless `features` is (n, d) of finite real numbers with n and d above zero."""
    if features.dtype.kind not in "iuf" or features.dtype.itemsize > 8:
        raise InputError(f"{name}: features are {features.dtype}, not real numbers of at most 64 bits")
    if features.ndim != 2:
        raise InputError(f"{name}: features have shape {features.shape}, not (samples, features)")
    if len(features) == 0:
        raise InputError(f"{name}: has no rows")
    if features.shape[1] == 0:
        raise InputError(f"{name}: has no features")
    if feature_names and len(feature_names) != features.shape[1]:
        raise InputError(f"{name}: {features.shape[1]} features but {len(feature_names)} feature names")
    if features.dtype.kind == "f":
        _check_finite(features, place)


def _check_finite(features: Features, place: Place) -> None:
    finite = np.isfinite(features)
    if finite.all():
        return
    row, column = (int(index) for index in np.argwhere(~finite)[0])
    what = "NaN" if np.isnan(features[row, column]) else "infinite"
    raise InputError(f"{place(row, column)}: is {what}; {np.count_nonzero(~finite)} such value(s) in all")


def _check_labels(
    name: str, features: Features, labels: NDArray[Any], class_names: Sequence[str], place: Place
) -> None:
    if labels.shape != (len(features),):
        raise InputError(f"{name}: {len(features)} rows of features but labels of shape {labels.shape}")
    if len(class_names) < 2:
        raise InputError(f"{name}: has {len(class_names)} class; a classifier needs at least 2")
    outside = np.flatnonzero((labels < 0) | (labels >= len(class_names)))
    if len(outside):
        row = int(outside[0])
        raise InputError(
            f"{place(row, None)}: label {labels[row]} is outside 0 to {len(class_names) - 1}; "
            "class numbers start at 0 and leave no gap"
        )
    counts = np.bincount(labels.astype(np.int64), minlength=len(class_names))
    if not counts.all():
        raise InputError(f'{name}: class "{class_names[int(np.argmin(counts))]}" has no row')


def _read_only(array: NDArray[Any], dtype: Any) -> NDArray[Any]:
    frozen = np.ascontiguousarray(array, dtype=dtype).view()
    frozen.flags.writeable = False
    return frozen


def _fingerprint(*parts: NDArray[Any] | tuple[str, ...] | None) -> str:
    """Hash each part with its type and shape; arrays in little-endian row order, names as JSON."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            little = np.ascontiguousarray(part, dtype=part.dtype.newbyteorder("<"))
            digest.update(f"{little.dtype.str}{little.shape}".encode())
            digest.update(little.data)
        else:
            digest.update(json.dumps(part).encode())
    return digest.hexdigest()
