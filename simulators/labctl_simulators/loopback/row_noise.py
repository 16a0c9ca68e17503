"""Random numbers that belong to (seed, row id, repeat), cheap enough for ten thousand rows a second."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


class RowNoise:
    """Gives every (row id, repeat) its own stretch of one counter-based sequence (Philox), 2^128 numbers long."""

    def __init__(self, seed: np.random.SeedSequence) -> None:
        self._bits = np.random.Philox(seed)
        self._generator = np.random.Generator(self._bits)
        self._start = self._bits.state

    def of(self, row_id: int, repeat: int) -> np.random.Generator:
        """Return the generator, set to the start of that stretch; it serves one row at a time."""
        # A row id is any int64; a counter holds unsigned words.
        self._start["state"]["counter"][:] = (0, 0, repeat, row_id % 2**64)
        self._bits.state = self._start
        return self._generator

    def normal(self, row_ids: Sequence[int], repeats: Sequence[int], n: int) -> NDArray[np.float32]:
        """Return `n` standard normal numbers for each (row id, repeat), shape (rows, n)."""
        drawn = np.empty((len(row_ids), n), np.float32)
        for row, row_id, repeat in zip(drawn, row_ids, repeats, strict=True):
            self.of(row_id, repeat).standard_normal(out=row, dtype=np.float32)
        return drawn
