"""A small model with a derivative in closed form: one hidden layer of tanh units beside a linear map.

a = tanh(U [x ; 1]),  y = V [a ; x ; 1]
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from labctl.config.training import Adam as AdamSettings
from labctl.learning.adam import Adam
from labctl.network.label import Vectors


class Perceptron:
    """Maps x (n, n_inputs) to y (n, n_outputs) and learns by Adam on the mean squared error.

    `inner` is U (hidden, n_inputs + 1), `outer` V (n_outputs, hidden + n_inputs + 1), which begins at zero.
    """

    def __init__(
        self, n_inputs: int, hidden: int, n_outputs: int, optimizer: AdamSettings, generator: np.random.Generator
    ) -> None:
        self.inner: Vectors = generator.standard_normal((hidden, n_inputs + 1)) / np.sqrt(n_inputs + 1)
        self.outer: Vectors = np.zeros((n_outputs, hidden + n_inputs + 1))
        self._adams = Adam(optimizer, self.inner), Adam(optimizer, self.outer)

    @property
    def forward_macs(self) -> int:
        """Multiply-accumulates of an output per row."""
        return self.inner.size + self.outer.size

    @property
    def training_macs(self) -> int:
        """Multiply-accumulates of an update per row: forward, back to the hidden units, both gradients."""
        return 2 * self.forward_macs + len(self.outer) * len(self.inner)

    @property
    def pull_back_macs(self) -> int:
        """Multiply-accumulates of a derivative per row: to the hidden units, and back to the inputs."""
        hidden, width = self.inner.shape
        return self.inner.size + len(self.outer) * (hidden + width - 1) + hidden * (width - 1)

    def __call__(self, x: Vectors) -> Vectors:
        """Return y (n, n_outputs)."""
        return self._features(x) @ self.outer.T

    def pull_back(self, x: Vectors, upstream: Vectors) -> Vectors:
        """Return the gradient (n, n_inputs) of sum(upstream * y) at `x`, `upstream` (n, n_outputs)."""
        hidden = len(self.inner)
        active = np.tanh(_with_constant(x) @ self.inner.T)
        back = (upstream @ self.outer[:, :hidden]) * (1 - active * active)
        return back @ self.inner[:, :-1] + upstream @ self.outer[:, hidden:-1]

    def train(self, x: Vectors, y: Vectors, progress: float = 0.0) -> float:
        """Take one step towards `y` (n, n_outputs) and return the mean squared error before it."""
        features, hidden = self._features(x), len(self.inner)
        error = features @ self.outer.T - y
        slope = error * (2 / error.size)
        active = features[:, :hidden]
        back = (slope @ self.outer[:, :hidden]) * (1 - active * active)
        gradients = back.T @ _with_constant(x), slope.T @ features
        for adam, weights, gradient in zip(self._adams, (self.inner, self.outer), gradients, strict=True):
            adam.set_progress(progress)
            adam.update(weights, gradient)
        return float((error * error).mean())

    def arrays(self) -> dict[str, NDArray[np.floating]]:
        """Return the weights and the optimisers' state."""
        state = {f"{name}_{key}": a for name, adam in self._named() for key, a in adam.arrays().items()}
        return {"inner": self.inner, "outer": self.outer, **state}

    def restore(self, arrays: Mapping[str, NDArray[np.floating]]) -> None:
        """Take over arrays saved by `arrays`."""
        self.inner, self.outer = arrays["inner"].copy(), arrays["outer"].copy()
        for name, adam in self._named():
            adam.restore({key: arrays[f"{name}_{key}"] for key in adam.arrays()})

    def _named(self) -> tuple[tuple[str, Adam], tuple[str, Adam]]:
        return ("adam_inner", self._adams[0]), ("adam_outer", self._adams[1])

    def _features(self, x: Vectors) -> Vectors:
        return np.concatenate([np.tanh(_with_constant(x) @ self.inner.T), _with_constant(x)], axis=1)


def _with_constant(x: Vectors) -> Vectors:
    return np.concatenate([x, np.ones((len(x), 1), x.dtype)], axis=1)
