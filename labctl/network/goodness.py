"""Goodness of a block's output: how well its magnitude points along the block's fixed reference direction."""

import numpy as np
from numpy.typing import NDArray

from labctl.network.label import Vectors


def reference_direction(units: int, generator: np.random.Generator, dtype: np.dtype[np.floating]) -> Vectors:
    """Return xi (units,): a random unit vector, N(0, I) normalised."""
    direction = generator.standard_normal(units)
    return (direction / np.linalg.norm(direction)).astype(dtype)


def goodness(outputs: Vectors, reference: Vectors) -> NDArray[np.floating]:
    """Return g(y) = cos(|y|, xi) for `outputs` (..., units) and unit vector `reference` (units,).

    Source: the authors' public code (MomeniAli/PhyLL). A vector of zeros has goodness 0.
    """
    magnitude = np.abs(outputs)
    norm = np.sqrt(np.einsum("...i,...i->...", magnitude, magnitude))
    return magnitude @ reference / np.where(norm > 0, norm, np.inf)
