"""Keeps some of the rows of a layer, evenly spread over all that were measured, to measure them again one day."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labctl.contract.layer import Drives, ResponseValues


@dataclass(frozen=True)
class SentDrives:
    """Drives (n, n_inputs), and the samples and labels (n,) they were made from."""

    samples: NDArray[np.int64]
    labels: NDArray[np.int64]
    drives: Drives

    def __len__(self) -> int:
        return len(self.samples)

    def at(self, rows: NDArray[np.int64]) -> "SentDrives":
        """Return some of them, copied."""
        return SentDrives(self.samples[rows], self.labels[rows], self.drives[rows])

    def times(self, repeats: int) -> "SentDrives":
        """Return all of them, `repeats` times over."""
        return self.at(np.tile(np.arange(len(self)), repeats))

    def equal(self, other: "SentDrives") -> bool:
        """Return whether `other` is the same."""
        return np.array_equal(self.drives, other.drives) and np.array_equal(self.labels, other.labels)


class StoredRows:
    """Of all rows added every first, second, fourth, ...: at most 2 `n`, and at least `n` once there are so many."""

    def __init__(self, n: int) -> None:
        self._n = n
        self._every = 1
        self._added = 0
        self._parts: list[tuple[SentDrives, ResponseValues]] = []

    def __len__(self) -> int:
        return sum(len(sent) for sent, _ in self._parts)

    def add(self, sent: SentDrives, values: ResponseValues) -> None:
        """Add rows and their responses `values` (n, n_outputs)."""
        kept = np.arange(-self._added % self._every, len(sent), self._every)
        self._added += len(sent)
        if len(kept):
            self._parts.append((sent.at(kept), values[kept]))
        while len(self) > 2 * self._n:
            sent, values = self._joined()
            kept = np.arange(0, len(sent), 2)
            self._every *= 2
            self._parts = [(sent.at(kept), values[kept])]

    def chosen(self) -> tuple[SentDrives, ResponseValues]:
        """Return `n` rows evenly spread over what was added, or all there are."""
        sent, values = self._joined()
        rows = np.linspace(0, len(sent) - 1, min(self._n, len(sent))).round().astype(np.int64)
        return sent.at(rows), values[rows]

    def _joined(self) -> tuple[SentDrives, ResponseValues]:
        sent = [each for each, _ in self._parts]
        together = SentDrives(
            np.concatenate([each.samples for each in sent]),
            np.concatenate([each.labels for each in sent]),
            np.concatenate([each.drives for each in sent]),
        )
        return together, np.concatenate([values for _, values in self._parts])
