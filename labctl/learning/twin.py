"""A twin: a digital model of one block's physics, fitted to passes, for rules that need a derivative."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from labctl.config.training import Adam as AdamSettings
from labctl.config.training import Twin as TwinSettings
from labctl.contract.layer import Drives, ResponseValues
from labctl.learning.perceptron import Perceptron
from labctl.network.label import Vectors

HELD_OUT = 0.1
"""Share of the rows that the fit never sees and that say how good it is."""

BATCH = 100


class Twin:
    """The model of a layer with `n_inputs` and `n_outputs`, drives and responses standardised by the rows of the fit.

    `r2` is the share of the held-out responses' variance that it explains, all channels together; NaN before the fit.
    """

    def __init__(self, settings: TwinSettings, n_inputs: int, n_outputs: int, generator: np.random.Generator) -> None:
        self._settings = settings
        optimizer = AdamSettings(lr=settings.lr, decay="cosine")
        self._model = Perceptron(n_inputs, settings.hidden, n_outputs, optimizer, generator)
        self._drive_mean, self._drive_scale = np.zeros(n_inputs), np.ones(n_inputs)
        self._mean, self._scale = np.zeros(n_outputs), np.ones(n_outputs)
        self.r2 = float("nan")

    @property
    def forward_macs(self) -> int:
        """Multiply-accumulates of a response."""
        return self._model.forward_macs

    @property
    def pull_back_macs(self) -> int:
        """Multiply-accumulates of a derivative."""
        return self._model.pull_back_macs

    def fit(self, drives: Drives, responses: ResponseValues, generator: np.random.Generator) -> int:
        """Fit to `drives` (n, n_inputs) and `responses` (n, n_outputs); return the multiply-accumulates it took."""
        x, y = drives.astype(np.float64), responses.astype(np.float64)
        self._drive_mean, self._drive_scale = x.mean(axis=0), _scale(x)
        self._mean, self._scale = y.mean(axis=0), _scale(y)
        x, y = self.standard_drives(drives), (y - self._mean) / self._scale
        order = generator.permutation(len(x))
        held, used = np.split(order, [max(1, round(HELD_OUT * len(x)))])
        epochs = self._settings.epochs
        for epoch in range(epochs):
            shuffled = used[generator.permutation(len(used))]
            for start in range(0, len(used), BATCH):
                rows = shuffled[start : start + BATCH]
                self._model.train(x[rows], y[rows], (epoch + start / len(used)) / epochs)
        error = self._model(x[held]) - y[held]
        spread = y[held] - y[held].mean(axis=0)
        self.r2 = 1 - float((error**2).sum()) / max(float((spread**2).sum()), np.finfo(float).tiny)
        return epochs * len(used) * self._model.training_macs + len(held) * self._model.forward_macs

    def respond(self, drives: Drives) -> Vectors:
        """Return modelled responses (n, n_outputs)."""
        return self._model(self.standard_drives(drives)) * self._scale + self._mean

    def pull_back(self, drives: Drives, upstream: Vectors) -> Vectors:
        """Return the gradient (n, n_inputs) of sum(upstream * response), `upstream` (n, n_outputs)."""
        return self.through(self._model, drives, upstream)

    def error_network(self, hidden: int, optimizer: AdamSettings, generator: np.random.Generator) -> Perceptron:
        """Return a model from standardised drives to what the twin misses of standardised responses; at first 0."""
        return Perceptron(len(self._drive_mean), hidden, len(self._mean), optimizer, generator)

    def residual(self, drives: Drives, responses: ResponseValues) -> Vectors:
        """Return what the twin misses (n, n_outputs) of measured `responses`, standardised."""
        return (responses.astype(np.float64) - self._mean) / self._scale - self._model(self.standard_drives(drives))

    def through(self, model: Perceptron, drives: Drives, upstream: Vectors) -> Vectors:
        """Return the gradient (n, n_inputs) of sum(upstream * response) of a `model` between standardised values."""
        return model.pull_back(self.standard_drives(drives), upstream * self._scale) / self._drive_scale

    def standard_drives(self, drives: Drives) -> Vectors:
        """Return `drives` (n, n_inputs) as the fit standardised them."""
        return (drives.astype(np.float64) - self._drive_mean) / self._drive_scale

    def arrays(self) -> dict[str, NDArray[np.floating]]:
        """Return the model and its scales."""
        scales = {
            "drive_mean": self._drive_mean,
            "drive_scale": self._drive_scale,
            "response_mean": self._mean,
            "response_scale": self._scale,
        }
        return {"r2": np.array([self.r2]), **scales, "inner": self._model.inner, "outer": self._model.outer}

    def restore(self, arrays: Mapping[str, NDArray[np.floating]]) -> None:
        """Take over arrays saved by `arrays`."""
        self.r2 = float(arrays["r2"][0])
        self._drive_mean, self._drive_scale = arrays["drive_mean"], arrays["drive_scale"]
        self._mean, self._scale = arrays["response_mean"], arrays["response_scale"]
        self._model.inner, self._model.outer = arrays["inner"].copy(), arrays["outer"].copy()


def crossed(inputs: Vectors, n: int, generator: np.random.Generator) -> tuple[Vectors, NDArray[np.int64]]:
    """Return `n` vectors like `inputs` (m, width) but more varied, and the row each began as.

    Each is one of the inputs with a random share of its values taken, place by place, from another: no value leaves
    the range or the levels that its place has in the inputs.
    """
    first, second = generator.integers(len(inputs), size=(2, n))
    taken = generator.random((n, inputs.shape[1])) < generator.random((n, 1))
    return np.where(taken, inputs[second], inputs[first]), first


def _scale(values: NDArray[np.float64]) -> NDArray[np.float64]:
    spread = values.std(axis=0)
    return np.where(spread > 0, spread, 1.0)
