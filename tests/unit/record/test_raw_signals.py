"""Raw signals: durable before their passes, within their room, and damaged ones are reported."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from labctl.contract.errors import RecordError
from labctl.contract.layer import RawSignal
from labctl.record.passes import REPEATS_PER_ID, PassRows
from labctl.record.raw import RAW_NAME, RawSummary, give_up_raw, raw_keys, read_raw, summarise_raw
from labctl.record.reader import LogReader
from labctl.record.writer import PassLog

FORM = np.dtype([("samples", "<f4", (2, 30)), ("late", "<f8")])
ROOM = 1e6


def signals(n: int, seed: int = 0) -> RawSignal:
    random, raw = np.random.default_rng(seed), np.zeros(n, FORM)
    raw["samples"], raw["late"] = random.normal(size=(n, 2, 30)), random.normal(size=n)
    return raw


def rows(ids: NDArray[np.int64], raw: RawSignal | None, repeat: int = 0) -> PassRows:
    n = len(ids)
    common: dict[str, Any] = {"step": 0, "block": 0, "purpose": "train", "layer": "cavity", "state_id": "s"}
    return PassRows(
        ids=ids,
        repeat=repeat,
        samples=ids,
        labels=ids,
        status=np.zeros(n, np.uint8),
        time_s=np.zeros(n),
        drives=np.zeros((n, 2), np.float32),
        responses=np.zeros((n, 2), np.float32),
        raw=raw,
        **common,
    )


def new_log(folder: Path, room: float = ROOM) -> PassLog:
    PassLog.create(folder / "run.sqlite", {}).close()
    return PassLog.open_for_append(folder / "run.sqlite", raw_bytes=room)


def test_what_was_kept_comes_back_under_its_passes(tmp_path: Path) -> None:
    first, again = signals(1200), signals(3, seed=1)
    with new_log(tmp_path) as log:
        log.append(rows(np.arange(1200), first))
        log.append(rows(np.array([3, 5, 8]), again, repeat=1))
    path = tmp_path / RAW_NAME
    asked = [8 * REPEATS_PER_ID + 1, 1199 * REPEATS_PER_ID, 0]
    found = read_raw(path, asked)
    assert found.dtype == FORM
    assert found.tobytes() == again[2].tobytes() + first[1199].tobytes() + first[0].tobytes()
    np.testing.assert_array_equal(read_raw(path, [i * REPEATS_PER_ID for i in range(1200)]), first)
    assert summarise_raw(path) == RawSummary(1203, 1203 * FORM.itemsize)
    assert not list(tmp_path.glob("raw.sqlite-*")), "it is left as one plain file"


def test_nothing_is_made_of_passes_without_any(tmp_path: Path) -> None:
    with new_log(tmp_path) as log:
        log.append(rows(np.arange(5), None))
    assert not (tmp_path / RAW_NAME).exists()
    assert summarise_raw(tmp_path / RAW_NAME) is None
    assert give_up_raw(tmp_path / RAW_NAME) == 0
    with pytest.raises(RecordError, match="there are no raw signals"):
        raw_keys(tmp_path / RAW_NAME)


def test_a_durable_pass_has_its_signal_while_the_log_is_open(tmp_path: Path) -> None:
    with new_log(tmp_path) as log:
        for start in range(0, 60, 20):
            log.append(rows(np.arange(start, start + 20), signals(20)))
            log.flush()
            assert len(raw_keys(tmp_path / RAW_NAME)) == start + 20


def test_the_room_is_kept_to_and_said_once(tmp_path: Path) -> None:
    with new_log(tmp_path, room=10.5 * FORM.itemsize) as log:
        for start in range(0, 40, 8):
            log.append(rows(np.arange(start, start + 8), signals(8)))
    assert raw_keys(tmp_path / RAW_NAME).tolist() == [i * REPEATS_PER_ID for i in range(10)]
    with LogReader(tmp_path / "run.sqlite") as reader:
        (full,) = [event for event in reader.events() if event.kind == "raw full"]
        assert reader.next_free_id() == 40
    assert full.detail == {"kept_bytes": 10 * FORM.itemsize, "room_bytes": 10.5 * FORM.itemsize}


def test_a_signal_of_a_pass_that_never_came_is_replaced(tmp_path: Path) -> None:
    """As after a death between the two: whoever goes on measures that pass under the same key."""
    with new_log(tmp_path) as log:
        log.append(rows(np.arange(4), signals(4)))
    with closing(sqlite3.connect(tmp_path / "run.sqlite")) as connection, connection:
        connection.execute("DELETE FROM passes WHERE id > 1")
    anew = signals(2, seed=7)
    with PassLog.open_for_append(tmp_path / "run.sqlite", raw_bytes=ROOM) as log:
        log.append(rows(np.array([2, 3]), anew))
    np.testing.assert_array_equal(read_raw(tmp_path / RAW_NAME, [2 * REPEATS_PER_ID, 3 * REPEATS_PER_ID]), anew)


def test_what_cannot_be_written_stops_the_log_before_its_passes(tmp_path: Path) -> None:
    log = new_log(tmp_path)
    log.append(rows(np.arange(4), signals(4)))
    log.flush()
    with closing(sqlite3.connect(tmp_path / RAW_NAME)) as connection, connection:
        connection.execute("DROP TABLE signals")
    log.append(rows(np.arange(4, 8), signals(4)))
    with pytest.raises(RecordError, match=r"raw\.sqlite cannot be written"):
        log.flush()
    with pytest.raises(RecordError, match=r"raw\.sqlite cannot be written"):
        log.close()
    with LogReader(tmp_path / "run.sqlite") as reader:
        assert reader.next_free_id() == 4


def test_damaged_and_missing_ones_are_reported(tmp_path: Path) -> None:
    with new_log(tmp_path) as log:
        log.append(rows(np.arange(4), signals(4)))
    with pytest.raises(RecordError, match="lacks the raw signals of 1 passes"):
        read_raw(tmp_path / RAW_NAME, [0, 9 * REPEATS_PER_ID])
    (tmp_path / RAW_NAME).write_bytes(b"noise" * 1000)
    with pytest.raises(RecordError, match=r"raw\.sqlite is damaged or cannot be read"):
        summarise_raw(tmp_path / RAW_NAME)
