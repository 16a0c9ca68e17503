"""A linear readout by ridge regression, from normal equations that grow batch by batch."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from labctl.network.label import Vectors


class Ridge:
    """Solves (Z^T Z + ridge tr(Z^T Z)/d I) R = Z^T T for features Z (n, width) and one-hot targets T (n, n_classes)."""

    def __init__(self, width: int, n_classes: int, ridge: float) -> None:
        self._ridge = ridge
        self._gram: NDArray[np.floating] = np.zeros((width, width))
        self._moments: NDArray[np.floating] = np.zeros((width, n_classes))
        self._weights: NDArray[np.floating] = np.zeros((width, n_classes))

    @property
    def size(self) -> int:
        """Multiply-accumulates per sample of a prediction."""
        return self._weights.size

    def add(self, features: Vectors, labels: NDArray[np.int64]) -> int:
        """Add samples `features` (n, width) of classes `labels` (n,); return the multiply-accumulates it took."""
        precise = features.astype(np.float64)
        self._gram += precise.T @ precise
        self._moments += precise.T @ np.eye(self._moments.shape[1])[labels]
        return len(features) * (self._gram.size + self._moments.size)

    def solve(self) -> None:
        """Fit the readout; a constant feature counts in the penalty like any other."""
        penalty = self._ridge * np.trace(self._gram) / len(self._gram)
        self._weights = np.linalg.solve(self._gram + penalty * np.eye(len(self._gram)), self._moments)

    def scores(self, features: Vectors) -> NDArray[np.floating]:
        """Return the outputs (n, n_classes) for `features` (n, width)."""
        return features.astype(np.float64) @ self._weights

    def arrays(self) -> dict[str, NDArray[np.floating]]:
        """Return normal equations and readout."""
        return {"gram": self._gram, "moments": self._moments, "weights": self._weights}

    def restore(self, arrays: Mapping[str, NDArray[np.floating]]) -> None:
        """Take over arrays saved by `arrays`."""
        self._gram = arrays["gram"].copy()
        self._moments = arrays["moments"].copy()
        self._weights = arrays["weights"]


def odds(scores: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return `scores` (n, n_classes) cut to [0, 1] and normalised: least squares on one-hot targets estimates odds."""
    cut = np.clip(scores, 1e-6, 1)
    return cut / cut.sum(axis=1, keepdims=True)
