"""Layers without physics, for measuring labctl itself and for testing what it concludes."""

import time
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from labctl.contract.layer import Channel, Drives, LayerInfo, Responses, RowIds, RowStatus, Stop, check_drives

Real = NDArray[np.float64]


class InstantLayer:
    """Answers at once: y = |w₁ x_i + w₂ x_j + w₃ x_k + b| with fixed random weights and three random inputs per output.

    What a run on it costs is what labctl costs. A whole request is one vectorised evaluation and comes back as one
    chunk; it is elementwise, so a row's bits do not depend on the other rows. Drives lie in [0, 1]. `Differentiable`.
    """

    def __init__(self, n_inputs: int, n_outputs: int, *, seed: int = 0, name: str = "instant") -> None:
        rng = np.random.default_rng(np.random.SeedSequence(seed))
        self._picked = rng.integers(n_inputs, size=(3, n_outputs))
        # Every input reaches an output as long as there are no more inputs than outputs.
        self._picked[0] = np.resize(rng.permutation(n_inputs), n_outputs)
        self._weights = rng.standard_normal((3, n_outputs)).astype(np.float32)
        self._offset = rng.standard_normal(n_outputs).astype(np.float32)
        self._state_id = f"instant-{n_inputs}-{n_outputs}-{seed}"
        self._info = _info(name, n_inputs, tuple(Channel(f"y{k}", "1", 0.0, np.inf) for k in range(n_outputs)))

    @property
    def info(self) -> LayerInfo:
        """Describe the layer."""
        return self._info

    @property
    def state_id(self) -> str:
        """Name the weights."""
        return self._state_id

    def open(self) -> None:
        """Do nothing."""

    def measure(self, drives: Drives, ids: RowIds, *, stop: Stop) -> Iterator[Responses]:
        """Yield all rows in one chunk, or none if already stopped. Raises `DriveError`."""
        check_drives(self._info, drives, ids)
        if stop.is_set() or not len(ids):
            return iter(())
        values = self._sums(drives)
        return iter((_good_rows(ids, np.abs(values, out=values)),))

    def differentiate(self, drives: Drives, upstream: NDArray[np.floating]) -> Real:
        """Return the gradient (n, n_inputs) of the sum of upstream times response. Raises `DriveError`."""
        check_drives(self._info, drives, np.arange(len(drives)))
        slopes = upstream * np.sign(self._sums(drives))
        gradient = np.zeros(drives.shape)
        for weights, picked in zip(self._weights, self._picked, strict=True):
            for output, chosen in enumerate(picked):
                gradient[:, chosen] += slopes[:, output] * weights[output]
        return gradient

    def make_safe(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""

    def _sums(self, drives: Drives) -> NDArray[np.float32]:
        """Return the responses (n, n_outputs) before the modulus."""
        values = self._offset + self._weights[0] * drives[:, self._picked[0]]
        for weights, picked in zip(self._weights[1:], self._picked[1:], strict=True):
            values += weights * drives[:, picked]
        return values


class DriftingLayer:
    """Drifts and remembers, and does not listen: no training on it may score better than chance.

    Each output is a slow sine of the row id plus an autoregressive noise, in which a row shares most of its value with
    the rows of the ids just before it. Both depend on (seed, id) alone. If labels were measured in a fixed order, the
    order would be readable from the responses; this layer shows whether it is. Drives lie in [0, 1].
    """

    MEMORY = 0.8
    """What is left of a row's disturbance one row later."""

    MEMORY_ROWS = 16
    PERIOD_ROWS = 500.0

    def __init__(self, n_inputs: int, n_outputs: int, *, seed: int = 0, name: str = "drifting") -> None:
        rng = np.random.default_rng(np.random.SeedSequence(seed))
        self._n_outputs = n_outputs
        self._seed = seed
        self._phase: Real = rng.uniform(0.0, 2.0 * np.pi, size=n_outputs)
        self._state_id = f"drifting-{n_inputs}-{n_outputs}-{seed}"
        self._info = _info(name, n_inputs, tuple(Channel(f"y{k}", "1", -np.inf, np.inf) for k in range(n_outputs)))

    @property
    def info(self) -> LayerInfo:
        """Describe the layer."""
        return self._info

    @property
    def state_id(self) -> str:
        """Name the seed."""
        return self._state_id

    def open(self) -> None:
        """Do nothing."""

    def measure(self, drives: Drives, ids: RowIds, *, stop: Stop) -> Iterator[Responses]:
        """Yield rows one by one. Raises `DriveError`."""
        check_drives(self._info, drives, ids)
        return self._rows(ids, stop)

    def make_safe(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""

    def _rows(self, ids: RowIds, stop: Stop) -> Iterator[Responses]:
        for row in range(len(ids)):
            if stop.is_set():
                return
            values = self._response(int(ids[row]))[None, :]
            yield _good_rows(ids[row : row + 1], values.astype(np.float32))

    def _response(self, row_id: int) -> Real:
        drift = np.sin(2.0 * np.pi * row_id / self.PERIOD_ROWS + self._phase)
        remembered = (
            self.MEMORY**age * _disturbance(self._seed, row_id - age, self._n_outputs)
            for age in range(self.MEMORY_ROWS)
        )
        return np.asarray(drift + sum(remembered), dtype=np.float64)


@lru_cache(maxsize=64)
def _disturbance(seed: int, row_id: int, n_outputs: int) -> Real:
    # A row id is any int64; a spawn key holds unsigned words.
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(row_id % 2**64,)))
    return rng.standard_normal(n_outputs)


def _info(name: str, n_inputs: int, outputs: tuple[Channel, ...]) -> LayerInfo:
    return LayerInfo(
        name=name,
        inputs=tuple(Channel(f"x{k}", "1", 0.0, 1.0) for k in range(n_inputs)),
        outputs=outputs,
        nominal_pass_s=1e-6,
        resources=frozenset({name}),
        simulated=True,
    )


def _good_rows(ids: RowIds, values: NDArray[np.float32]) -> Responses:
    n_rows = len(ids)
    return Responses(ids, values, np.full(n_rows, RowStatus.OK, dtype=np.uint8), np.full(n_rows, time.time()))
