"""Normalisation of features, fitted on the training part alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from labctl.contract.errors import InputError
from labctl.data.dataset import Features

NormalisationKind = Literal["none", "standard", "min-max", "max"]

_ROWS_AT_ONCE = 4096


@dataclass(frozen=True, slots=True, eq=False)
class Normalisation:
    """The map x -> (x - offset) * scale per feature; `offset` and `scale` are (d,).

    A feature that is constant in the training part has scale 0 and so becomes 0 everywhere. Values are never clipped:
    a test sample may fall outside the range of the training part.
    """

    kind: NormalisationKind
    offset: NDArray[np.float64]
    scale: NDArray[np.float64]

    def apply(self, features: Features) -> NDArray[np.float32]:
        """Return normalised features (n, d); raises `InputError` for another d or a result beyond float32."""
        if features.ndim != 2 or features.shape[1] != len(self.scale):
            raise InputError(f"expected samples of {len(self.scale)} features, got an array of shape {features.shape}")
        normalised = np.empty(features.shape, dtype=np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            for start in range(0, len(features), _ROWS_AT_ONCE):
                rows = slice(start, start + _ROWS_AT_ONCE)
                normalised[rows] = (features[rows].astype(np.float64) - self.offset) * self.scale
        finite = np.isfinite(normalised)
        if not finite.all():
            row, column = (int(index) for index in np.argwhere(~finite)[0])
            raise InputError(f"row {row}, feature {column}: {features[row, column]:g} does not fit normalised data")
        return normalised

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays `kind`, `offset` and `scale`, none of them of Python objects."""
        return {"kind": np.array(self.kind), "offset": self.offset, "scale": self.scale}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> "Normalisation":
        """Return the normalisation that `to_arrays` took apart; raises `InputError`."""
        missing = [name for name in ("kind", "offset", "scale") if name not in arrays]
        if missing:
            raise InputError(f"a normalisation lacks {', '.join(missing)}")
        offset, scale = (np.asarray(arrays[name], dtype=np.float64) for name in ("offset", "scale"))
        for kind in get_args(NormalisationKind):
            if kind == str(arrays["kind"]) and offset.ndim == 1 and offset.shape == scale.shape:
                return cls(kind, offset, scale)
        raise InputError(f"not a normalisation: kind {arrays['kind']}, shapes {offset.shape} and {scale.shape}")


def fit_normalisation(train: Features, kind: NormalisationKind) -> Normalisation:
    """Return the normalisation of the training features (n, d).

    `standard`: mean 0 and standard deviation 1 (divisor n). `min-max`: each feature from 0 to 1. `max`: everything
    divided by the largest magnitude of all features, which keeps the proportions of an image. `none`: as it is.
    Raises `InputError` for a feature whose spread is no ordinary number.
    """
    offset, spread = np.zeros(train.shape[1]), np.ones(train.shape[1])
    lowest, highest = train.min(axis=0).astype(np.float64), train.max(axis=0).astype(np.float64)
    with np.errstate(all="ignore"):
        if kind == "standard":
            offset = train.mean(axis=0, dtype=np.float64)
            spread = train.std(axis=0, dtype=np.float64)
        elif kind == "min-max":
            offset, spread = lowest, highest - lowest
        elif kind == "max":
            spread[:] = max(float(highest.max()), -float(lowest.min()))
        scale = 1.0 / spread
    constant = lowest == highest if kind in ("standard", "min-max") else spread == 0
    broken = np.flatnonzero(~constant & ~(np.isfinite(scale) & (scale > 0)))
    if len(broken):
        feature = int(broken[0])
        raise InputError(
            f"feature {feature} runs from {lowest[feature]:g} to {highest[feature]:g}, which cannot be normalised"
        )
    return Normalisation(kind, offset, np.where(constant, 0.0, scale))
