"""Rows leave a layer in order and whole, and none that was measured is lost."""

from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labctl.contract.chunks import CHUNK_ROWS, CHUNK_S, Row, in_chunks
from labctl.contract.errors import InstrumentError
from labctl.contract.layer import Responses, RowStatus


def rows(n: int) -> Iterator[Row]:
    for index in range(n):
        yield Row(index - 3, np.array([index, 3 * index], np.uint16), RowStatus(index % 6), 1e9 + index)


def rows_then_failure(n: int) -> Iterator[Row]:
    yield from rows(n)
    raise InstrumentError("amplifier", "it is on fire")


def together(received: list[Responses]) -> list[tuple[int, list[int], int, float]]:
    return [
        (row_id, values, status, time_s)
        for chunk in received
        for row_id, values, status, time_s in zip(
            chunk.ids.tolist(), chunk.values.tolist(), chunk.status.tolist(), chunk.time_s.tolist(), strict=True
        )
    ]


def expected(n: int) -> list[tuple[int, list[int], int, float]]:
    return [(row.id, row.values.tolist(), int(row.status), row.time_s) for row in rows(n)]


@given(st.integers(0, 3 * CHUNK_ROWS))
def test_rows_come_in_order_as_they_were_measured(n: int) -> None:
    received = list(in_chunks(rows(n)))
    assert together(received) == expected(n)
    assert all(0 < len(chunk.ids) <= CHUNK_ROWS for chunk in received)
    assert all(chunk.values.dtype == np.uint16 and chunk.status.dtype == np.uint8 for chunk in received)


@given(st.integers(0, 3 * CHUNK_ROWS))
def test_what_was_measured_before_a_failure_comes_first(n: int) -> None:
    received: list[Responses] = []
    with pytest.raises(InstrumentError, match="on fire"):
        received.extend(in_chunks(rows_then_failure(n)))
    assert together(received) == expected(n)


@pytest.mark.parametrize(("pass_s", "sizes"), [(0.0, [64, 36]), (CHUNK_S / 9.5, [10] * 10), (2 * CHUNK_S, [1] * 100)])
def test_rows_are_grouped_only_where_they_fly(monkeypatch: pytest.MonkeyPatch, pass_s: float, sizes: list[int]) -> None:
    passed = [0.0]

    def measured() -> Iterator[Row]:
        for row in rows(100):
            passed[0] += pass_s
            yield row

    monkeypatch.setattr("labctl.contract.chunks.time", SimpleNamespace(monotonic=lambda: passed[0]))
    assert [len(chunk.ids) for chunk in in_chunks(measured())] == sizes
