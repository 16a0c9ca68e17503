"""Rows on their way out of a layer: each at once where passes take long, in groups where they fly."""

import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from labctl.contract.errors import InstrumentError
from labctl.contract.layer import RawSignal, Responses, ResponseValues, RowStatus

CHUNK_ROWS = 64
CHUNK_S = 0.05


class Row(NamedTuple):
    """One measured row: `values` (n_outputs,) in the layer's response type, `time_s` POSIX seconds of its reading.

    `raw` () is what the values were read out of: in all rows of a measurement, or in none.
    """

    id: int
    values: ResponseValues
    status: RowStatus
    time_s: float
    raw: RawSignal | None = None


def in_chunks(rows: Iterator[Row]) -> Iterator[Responses]:
    """Yield `rows` in order: when `CHUNK_ROWS` of them wait, or `CHUNK_S` have passed since the last were yielded.

    When `rows` raises `InstrumentError`, what was measured before it is yielded first.
    """
    waiting: list[Row] = []
    flushed_s = time.monotonic()
    try:
        for row in rows:
            waiting.append(row)
            if len(waiting) >= CHUNK_ROWS or time.monotonic() - flushed_s >= CHUNK_S:
                yield _chunk(waiting)
                waiting, flushed_s = [], time.monotonic()
    except InstrumentError:
        if waiting:
            yield _chunk(waiting)
        raise
    if waiting:
        yield _chunk(waiting)


def _chunk(rows: list[Row]) -> Responses:
    return Responses(
        ids=np.array([row.id for row in rows], dtype=np.int64),
        values=np.stack([row.values for row in rows]),
        status=np.array([row.status for row in rows], dtype=np.uint8),
        time_s=np.array([row.time_s for row in rows]),
        raw=None if rows[0].raw is None else np.array([row.raw for row in rows], rows[0].raw.dtype),
    )
