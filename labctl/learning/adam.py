"""Adam (Kingma and Ba, 2015, algorithm 1) on one array."""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from labctl.config.experiment import Adam as AdamSettings
from labctl.network.label import Vectors


class Adam:
    """Updates an array in place; keeps the moments and the number of updates."""

    def __init__(self, settings: AdamSettings, like: Vectors) -> None:
        self._settings = settings
        self._first = np.zeros_like(like)
        self._second = np.zeros_like(like)
        self._work = np.empty_like(like)
        self._updates = 0
        self._lr = settings.lr

    def set_progress(self, progress: float) -> None:
        """Set the learning rate for `progress` (0 to 1) through training; cosine: lr (1 + cos(pi progress))/2."""
        if self._settings.decay == "cosine":
            self._lr = self._settings.lr * (1 + math.cos(math.pi * progress)) / 2

    def update(self, weights: Vectors, gradient: Vectors) -> None:
        """Apply one update of `gradient` to `weights`, both of the shape given at construction."""
        settings, first, second, work = self._settings, self._first, self._second, self._work
        self._updates += 1
        np.subtract(gradient, first, out=work)
        work *= 1 - settings.beta1
        first += work
        np.multiply(gradient, gradient, out=work)
        work -= second
        work *= 1 - settings.beta2
        second += work
        np.sqrt(second, out=work)
        work /= np.sqrt(1 - settings.beta2**self._updates)
        work += settings.epsilon
        np.divide(first, work, out=work)
        work *= self._lr / (1 - settings.beta1**self._updates)
        weights -= work

    def arrays(self) -> dict[str, NDArray[np.floating]]:
        """Return the optimiser's state."""
        return {"first": self._first, "second": self._second, "updates": np.array([float(self._updates)])}

    def restore(self, arrays: Mapping[str, NDArray[np.floating]]) -> None:
        """Take over arrays saved by `arrays`."""
        self._first = arrays["first"].copy()
        self._second = arrays["second"].copy()
        self._updates = int(arrays["updates"][0])
