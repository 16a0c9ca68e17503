"""Which wrong labels a sample is measured with."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from labctl.contract.errors import InputError
from labctl.network.label import Vectors


class Negatives:
    """Draws `count` different wrong labels per sample, those that look right more often the greater `sharpness` is.

    A wrong label is drawn with odds exp(sharpness g), g its goodness (summed over the blocks) when it was last
    measured, 0 before that. Sharpness 0 draws uniformly. Raises `InputError` for more labels than there are.
    """

    def __init__(self, n_classes: int, count: int | Literal["all"], *, sharpness: float = 0.0) -> None:
        self.count = n_classes - 1 if count == "all" else count
        if self.count >= n_classes:
            raise InputError(f"negatives asks for {self.count} wrong labels, but there are only {n_classes - 1}")
        self._sharpness = sharpness
        self._n_classes = n_classes
        self._goodness: NDArray[np.floating] = np.zeros((0, n_classes))

    def draw(
        self, labels: NDArray[np.int64], samples: NDArray[np.int64], generator: np.random.Generator
    ) -> NDArray[np.int64]:
        """Return wrong labels (n, count) for samples (n,) with true `labels` (n,)."""
        if self.count == 1 and not self._sharpness:
            return ((labels + generator.integers(1, self._n_classes, size=len(labels))) % self._n_classes)[:, None]
        # The largest of log-odds plus Gumbel noise are a draw without replacement (Kool et al., ICML 2019).
        keys = generator.gumbel(size=(len(labels), self._n_classes))
        if self._sharpness:
            keys += self._sharpness * self._known(samples)[samples]
        keys[np.arange(len(labels)), labels] = -np.inf
        return np.argsort(-keys, axis=1)[:, : self.count]

    def remember(self, samples: NDArray[np.int64], labels: NDArray[np.int64], goodness: Vectors) -> None:
        """Take over the goodness (n, k) just measured of `labels` (n, k)."""
        if self._sharpness:
            self._known(samples)[samples[:, None], labels] = goodness

    def arrays(self) -> dict[str, NDArray[np.floating]]:
        """Return what has been remembered."""
        return {"goodness": self._goodness} if self._sharpness else {}

    def restore(self, arrays: Mapping[str, NDArray[np.floating]]) -> None:
        """Take over arrays saved by `arrays`."""
        if "goodness" in arrays:
            self._goodness = arrays["goodness"].copy()

    def _known(self, samples: NDArray[np.int64]) -> NDArray[np.floating]:
        """Return the table (n_samples, n_classes), grown to hold `samples`."""
        missing = int(samples.max()) + 1 - len(self._goodness)
        if missing > 0:
            self._goodness = np.concatenate([self._goodness, np.zeros((missing, self._n_classes))])
        return self._goodness
