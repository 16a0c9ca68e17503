"""Recorded rows in place of measurements."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labctl.contract.errors import RecordError
from labctl.contract.layer import ResponseValues
from labctl.orchestrator.rows import Rows
from labctl.record.passes import RecordedPasses
from labctl.record.reader import LogReader

WINDOW_IDS = 8192
"""Rows are read so many ids at a time: a log may be larger than memory."""


class RecordedRows:
    """The good rows of a pass log from `first_id` on, as an acquisition asks for them."""

    def __init__(self, reader: LogReader, blocks: int, first_id: int = 0) -> None:
        self._reader = reader
        self._windows = [_Window(first_id, first_id, reader.rows(0, -1)) for _ in range(blocks)]
        rejected = [part for status in reader.rejected() for part in reader.passes(first_id, status=status)]
        self._rejected_ids = np.array([row for part in rejected for row in part.ids], np.int64)
        self._rejected_repeats = np.array([repeat for part in rejected for repeat in part.repeats], np.int64)
        self._last_id = reader.next_free_id() - 1

    def fill(self, acquisition: Rows, values: ResponseValues) -> NDArray[np.bool_]:
        """Write recorded responses into `values` and return which rows they are.

        Raises `RecordError` when a recorded row is of another sample or label than the one asked for.
        """
        done = np.zeros(len(values), np.bool_)
        if acquisition.first_id > self._last_id:
            return done
        stored = self._rows(acquisition.block, acquisition.first_id, acquisition.first_id + len(values))
        first, last = np.searchsorted(stored.ids, [acquisition.first_id, acquisition.first_id + len(values)])
        if first == last:
            return done
        found = stored.ids[first:last] - acquisition.first_id
        same = (stored.samples[first:last] == acquisition.samples[found]) & (
            stored.labels[first:last] == acquisition.labels[found]
        )
        if not same.all():
            raise RecordError(
                f"pass {stored.ids[first:last][~same][0]} was measured for another sample or label than this "
                "experiment asks for; the log does not belong to this configuration, data or version"
            )
        values[found] = stored.values[first:last]
        done[found] = True
        return done

    def purpose_of(self, row_id: int) -> str | None:
        """Return what a row was measured for; None for one that is not recorded."""
        return None if row_id > self._last_id else self._reader.purpose_of(row_id)

    def _rows(self, block: int, first_id: int, end_id: int) -> RecordedPasses:
        """Return the rows of a block that hold at least the ids `first_id` to below `end_id`."""
        window = self._windows[block]
        if not window.first_id <= first_id <= end_id <= window.end_id:
            end_id = max(end_id, first_id + WINDOW_IDS)
            window = _Window(first_id, end_id, self._reader.rows(first_id, end_id - 1, block=block, drives=False))
            self._windows[block] = window
        return window.rows

    def attempts(self, acquisition: Rows) -> int:
        """Return how often a row of the acquisition has been rejected at most."""
        if acquisition.first_id > self._last_id:
            return 0
        ids = acquisition.ids
        here = (self._rejected_ids >= ids[0]) & (self._rejected_ids <= ids[-1])
        return int((self._rejected_repeats[here] + 1).max(initial=0))


@dataclass(frozen=True)
class _Window:
    """The good rows of one block with ids from `first_id` to below `end_id`."""

    first_id: int
    end_id: int
    rows: RecordedPasses
