"""Adam (Kingma and Ba, 2015, algorithm 1) on one array."""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from labctl.config.training import Adam as AdamSettings
from labctl.network.label import Vectors


class Adam:
    """Updates an array in place; keeps the moments `first` and `second` and the number of updates."""

    def __init__(self, settings: AdamSettings, like: Vectors) -> None:
        self._settings = settings
        self.first = np.zeros_like(like)
        self.second = np.zeros_like(like)
        self._work = np.empty_like(like)
        self._updates = 0
        self._lr = settings.lr

    def set_progress(self, progress: float) -> None:
        """Set the learning rate for `progress` (0 to 1) through training; cosine: lr (1 + cos(pi progress))/2."""
        if self._settings.decay == "cosine":
            self._lr = self._settings.lr * (1 + math.cos(math.pi * progress)) / 2

    def advance(self) -> tuple[float, np.floating]:
        """Count one more update, the t-th; return lr/(1 - beta1^t) and sqrt(1 - beta2^t)."""
        self._updates += 1
        settings = self._settings
        return self._lr / (1 - settings.beta1**self._updates), np.sqrt(1 - settings.beta2**self._updates)

    def update(self, weights: Vectors, gradient: Vectors) -> None:
        """Apply one update of `gradient` to `weights`, both of the shape given at construction."""
        settings, first, second, work = self._settings, self.first, self.second, self._work
        rate, root = self.advance()
        np.subtract(gradient, first, out=work)
        work *= 1 - settings.beta1
        first += work
        np.multiply(gradient, gradient, out=work)
        work -= second
        work *= 1 - settings.beta2
        second += work
        np.sqrt(second, out=work)
        work /= root
        work += settings.epsilon
        np.divide(first, work, out=work)
        work *= rate
        weights -= work

    def arrays(self) -> dict[str, NDArray[np.floating]]:
        """Return the optimiser's state."""
        return {"first": self.first, "second": self.second, "updates": np.array([float(self._updates)])}

    def restore(self, arrays: Mapping[str, NDArray[np.floating]]) -> None:
        """Take over arrays saved by `arrays`."""
        self.first = arrays["first"].copy()
        self.second = arrays["second"].copy()
        self._updates = int(arrays["updates"][0])
