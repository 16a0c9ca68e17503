"""Rows of a block on their way: what is to be measured, and what has come of it."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from labctl.contract.layer import Drives, ResponseValues, RowIds
from labctl.learning.requests import Purpose


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one block in the order of measurement: ids `first_id`, `first_id` + 1, ..."""

    block: int
    purpose: Purpose
    first_id: int
    step: int
    samples: NDArray[np.int64]
    labels: NDArray[np.int64]
    drives: Drives

    @property
    def ids(self) -> RowIds:
        """Ids (n,) in the order of measurement."""
        return np.arange(self.first_id, self.first_id + len(self.samples))


@dataclass(eq=False)
class Answer:
    """Rows with their responses `values` (n, n_outputs) as far as they are `done` (n,), and the attempt at the rest.

    `pending` are the indices of the rows sent last, `repeat` counts attempts from 0, `last_repeat` is allowed.
    """

    rows: Rows
    values: ResponseValues
    done: NDArray[np.bool_]
    repeat: int = 0
    last_repeat: int = 0
    pending: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    _n_received: int = 0

    @property
    def complete(self) -> bool:
        """Whether every row is done."""
        return bool(np.count_nonzero(self.done) == len(self.done))

    @property
    def first_missing(self) -> int:
        """The id of the first row that is not done."""
        return self.rows.first_id + int(np.argmin(self.done))

    def send_missing(self) -> None:
        """Have all rows on their way that are not done."""
        (self.pending,) = (~self.done).nonzero()
        self._n_received = 0

    def received(self, n: int) -> NDArray[np.int64]:
        """Return the indices of the next `n` rows on their way."""
        where = self.pending[self._n_received : self._n_received + n]
        self._n_received += n
        return where
