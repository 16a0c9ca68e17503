"""The pass log: what goes in comes out, in order, once, by one writer."""

import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from labctl.contract.errors import RecordError
from labctl.contract.layer import RowStatus
from labctl.record.passes import MAX_ID, PassRows
from labctl.record.reader import LogReader
from labctl.record.writer import PassLog

MakeRows = Callable[..., PassRows]


@st.composite
def chunks(draw: st.DrawFn) -> PassRows:
    n, n_in, n_out = (draw(st.integers(1, 6)) for _ in range(3))
    dtype = draw(st.sampled_from(["f4", "f8", "u1", "u2", "c8", ">u2", ">f8"]))
    ids = draw(hnp.arrays(np.int64, n, elements=st.integers(0, MAX_ID), unique=True))
    integers = st.integers(-(2**63), 2**63 - 1)
    return PassRows(
        ids=np.sort(ids),
        repeat=draw(st.integers(0, 255)),
        step=draw(st.integers(0, 2**40)),
        block=draw(st.integers(0, 20)),
        purpose=draw(st.sampled_from(["train", "statistics", "test"])),
        samples=draw(hnp.arrays(np.int64, n, elements=integers)),
        labels=draw(hnp.arrays(np.int64, n, elements=integers)),
        layer=draw(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8)),
        state_id=draw(st.sampled_from(["a", "βeta"])),
        status=np.zeros(n, dtype=np.uint8),
        time_s=draw(hnp.arrays(np.float64, n, elements=st.floats(0, 1e10))),
        drives=draw(hnp.arrays(np.float32, (n, n_in))),
        responses=draw(hnp.arrays(np.dtype(dtype), (n, n_out))),
    )


def test_the_last_repeat_of_the_last_id_comes_out(make_rows: MakeRows, tmp_path: Path) -> None:
    rows = make_rows(MAX_ID, 1, repeat=255, samples=np.zeros(1, np.int64))
    with PassLog.create(tmp_path / "run.sqlite", {}) as log:
        log.append(rows)
    with LogReader(tmp_path / "run.sqlite") as reader:
        assert reader.rows(0, MAX_ID).ids.tolist() == [MAX_ID]


@settings(deadline=None, max_examples=40)
@given(chunks())
def test_what_goes_in_comes_out(rows: PassRows) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.sqlite"
        with PassLog.create(path, {}) as log:
            log.append(rows)
        with LogReader(path) as reader:
            found = reader.rows(0, MAX_ID)
    for name, column in (("ids", found.ids), ("samples", found.samples), ("labels", found.labels)):
        np.testing.assert_array_equal(column, getattr(rows, name))
    np.testing.assert_array_equal(found.time_s, rows.time_s)
    np.testing.assert_array_equal(found.status, rows.status)
    assert found.drives.tobytes() == rows.drives.tobytes()
    assert found.values.dtype == rows.responses.dtype.newbyteorder("<")
    np.testing.assert_array_equal(found.values, rows.responses)
    for column, value in (
        (found.repeats, rows.repeat),
        (found.steps, rows.step),
        (found.blocks, rows.block),
        (found.purposes, rows.purpose),
        (found.layers, rows.layer),
        (found.state_ids, rows.state_id),
    ):
        assert set(column.tolist()) == {value}


def test_the_caller_may_reuse_its_arrays(tmp_path: Path, make_rows: MakeRows) -> None:
    path = tmp_path / "run.sqlite"
    weights = np.ones(3)
    with PassLog.create(path, {}, commit_every_s=60) as log:
        rows = make_rows(5, 2)
        log.append(rows)
        log.append_checkpoint(0, 7, {"W": weights})
        for array in (rows.ids, rows.samples, rows.labels, rows.status, rows.time_s, rows.drives, rows.responses):
            array[:] = 99
        weights[:] = 99
    with LogReader(path) as reader:
        found, checkpoint = reader.rows(0, 10), reader.latest_checkpoint()
    assert checkpoint is not None
    expected = make_rows(5, 2)
    np.testing.assert_array_equal(found.ids, expected.ids)
    np.testing.assert_array_equal(found.samples, expected.samples)
    np.testing.assert_array_equal(found.time_s, expected.time_s)
    np.testing.assert_array_equal(found.drives, expected.drives)
    np.testing.assert_array_equal(found.values, expected.responses)
    np.testing.assert_array_equal(checkpoint.arrays["W"], np.ones(3))


def test_a_group_is_committed_together_and_on_demand(tmp_path: Path, make_rows: MakeRows) -> None:
    path = tmp_path / "run.sqlite"
    with PassLog.create(path, {}, commit_every_s=60) as log, LogReader(path) as reader:
        for first in range(0, 50, 5):
            log.append(make_rows(first, 5))
            log.append_step(first, 0, {})
        assert reader.next_free_id() == 0
        log.flush()
        assert reader.next_free_id() == 50
        assert len(reader.steps()) == 10


def test_time_alone_commits(tmp_path: Path, make_rows: MakeRows) -> None:
    path = tmp_path / "run.sqlite"
    with PassLog.create(path, {}, commit_every_s=0.01) as log, LogReader(path) as reader:
        log.append(make_rows(0, 5))
        arrived = threading.Event()
        while not arrived.wait(0.01):  # pytest-timeout ends this if it never happens
            if reader.next_free_id() == 5:
                arrived.set()
        assert arrived.is_set()


def test_much_data_is_committed_before_its_time_and_all_of_it_arrives(tmp_path: Path, make_rows: MakeRows) -> None:
    path = tmp_path / "run.sqlite"
    wide = [make_rows(first, 500, n_in=2000, n_out=2000) for first in range(0, 10_000, 500)]
    with PassLog.create(path, {}, commit_every_s=3600) as log:
        for rows in wide:  # 160 MB, more than may be pending
            log.append(rows)
        log.flush()
        with LogReader(path) as reader:
            assert reader.count_by_purpose() == {"train": 10_000}


def test_no_reader_ever_sees_a_step_before_its_passes(tmp_path: Path, make_rows: MakeRows) -> None:
    path = tmp_path / "run.sqlite"
    with PassLog.create(path, {}, commit_every_s=0.001) as log, LogReader(path) as reader:
        for step in range(300):
            log.append(make_rows(step * 3, 3))
            log.append_step(step, 0, {})
            if step % 10 == 0:
                with reader.snapshot():
                    assert reader.next_free_id() >= 3 * len(reader.steps())


def test_several_threads_may_append(tmp_path: Path, make_rows: MakeRows) -> None:
    path = tmp_path / "run.sqlite"

    def append(block: int) -> None:
        for first in range(block * 1000, block * 1000 + 100, 2):
            log.append(make_rows(first, 2, block=block, n_out=block + 1, state_id=f"s{block}", layer=f"l{block}"))

    with PassLog.create(path, {}) as log:
        threads = [threading.Thread(target=append, args=(block,)) for block in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    with LogReader(path) as reader:
        assert reader.blocks() == [0, 1, 2, 3]
        for block in range(4):
            rows = reader.rows(0, MAX_ID, block=block)
            assert len(rows) == 100
            assert rows.values.shape == (100, block + 1)
            assert set(rows.state_ids.tolist()) == {f"s{block}"}


def test_rows_are_read_without_their_drives_too(tmp_path: Path, make_rows: MakeRows) -> None:
    path = tmp_path / "run.sqlite"
    with PassLog.create(path, {}) as log:
        log.append(make_rows(0, 4))
    with LogReader(path) as reader:
        whole, light = reader.rows(0, MAX_ID), reader.rows(0, MAX_ID, drives=False)
    assert light.drives.shape == (4, 0)
    assert np.array_equal(light.values, whole.values)
    assert light.ids.tolist() == whole.ids.tolist()


def test_the_last_accepted_repeat_wins_and_rejected_passes_are_counted(tmp_path: Path, make_rows: MakeRows) -> None:
    path = tmp_path / "run.sqlite"
    clipped = np.array([0, RowStatus.CLIPPED, 0, RowStatus.XRUN], dtype=np.uint8)
    with PassLog.create(path, {}) as log:
        log.append(make_rows(0, 4, status=clipped))
        log.append(make_rows(1, 1, repeat=1, responses=np.array([[7, 8]], dtype=np.float32)))
        log.append(make_rows(3, 1, repeat=1, status=np.array([RowStatus.XRUN], dtype=np.uint8)))
        log.append(make_rows(0, 1, repeat=1, responses=np.array([[5, 6]], dtype=np.float32)))
    with LogReader(path) as reader:
        rows = reader.rows(0, 100)
        np.testing.assert_array_equal(rows.ids, [0, 1, 2])
        np.testing.assert_array_equal(rows.values, [[5, 6], [7, 8], [4, 5]])
        np.testing.assert_array_equal(rows.repeats, [1, 1, 0])
        np.testing.assert_array_equal(reader.rows(1, 2).ids, [1, 2])
        assert len(reader.rows(3, 3)) == 0
        assert reader.rejected() == {RowStatus.CLIPPED: 1, RowStatus.XRUN: 2}
        assert reader.count_by_purpose() == {"train": 7}
        assert sum(len(part) for part in reader.passes()) == 7


def test_blocks_that_differ_in_form_are_read_one_at_a_time(tmp_path: Path, make_rows: MakeRows) -> None:
    path = tmp_path / "run.sqlite"
    with PassLog.create(path, {}) as log:
        log.append(make_rows(0, 3, block=0))
        log.append(make_rows(3, 3, block=1, n_out=5, dtype="c8"))
    with LogReader(path) as reader:
        with pytest.raises(ValueError, match="one block at a time"):
            reader.rows(0, 5)
        assert reader.rows(0, 5, block=1).values.shape == (3, 5)
        assert reader.rows(0, 2).values.dtype == np.float32
        assert [(state.n_outputs, state.response_dtype) for state in reader.states()] == [(2, "<f4"), (5, "<c8")]


def test_long_runs_are_read_in_parts(tmp_path: Path, make_rows: MakeRows) -> None:
    path = tmp_path / "run.sqlite"
    with PassLog.create(path, {}) as log:
        log.append(make_rows(0, 20_000))
    with LogReader(path) as reader:
        assert [len(part) for part in reader.passes()] == [8192, 8192, 3616]
        np.testing.assert_array_equal(reader.rows(0, 19_999).values, make_rows(0, 20_000).responses)


def test_steps_events_checkpoints_and_meta(tmp_path: Path, make_rows: MakeRows) -> None:
    path = tmp_path / "run.sqlite"
    meta: dict[str, Any] = {
        "seed": 7,
        "config": {"name": "übung", "rates": (1.5, float("inf"))},
        "layers": {"a": {"inputs": []}},
    }
    with PassLog.create(path, meta) as log:
        log.append(make_rows(0, 3))
        log.append_step(0, 0, {"loss": float("nan"), "accuracy": np.float32(0.5)})
        log.append_step(1, 1, {"loss": float("-inf")})
        log.append_event("drift", {"block": np.int64(1), "limits": np.array([1.0, 2.0])})
        log.append_checkpoint(0, 2, {"W": np.zeros((2, 0))})
        log.append_checkpoint(1, 3, {"W": np.eye(2, dtype=np.float32), "n": np.array(3)})
    with LogReader(path) as reader:
        assert reader.meta() == {
            "seed": 7,
            "config": {"name": "übung", "rates": [1.5, "inf"]},
            "layers": {"a": {"inputs": []}},
        }
        first, second = reader.steps()
        assert np.isnan(first.metrics["loss"])
        assert first.metrics["accuracy"] == 0.5
        assert second.metrics == {"loss": float("-inf")}
        assert reader.steps(after=0) == [second]
        assert reader.last_step() == second
        opened, drift, closed = reader.events()
        assert (opened.kind, drift.kind, closed.kind) == ("opened", "drift", "closed")
        assert drift.detail == {"block": 1, "limits": [1.0, 2.0]}
        assert opened.detail["pid"] == os.getpid()
        latest = reader.latest_checkpoint()
        assert latest is not None
        assert (latest.epoch, latest.next_id, latest.arrays["W"].dtype) == (1, 3, np.float32)
        np.testing.assert_array_equal(latest.arrays["W"], np.eye(2))
        assert reader.time_range() == (1.7e9, 1.7e9 + 0.5)


def test_the_last_two_checkpoints_are_kept_and_take_no_more_room(tmp_path: Path) -> None:
    path = tmp_path / "run.sqlite"
    arrays = np.random.default_rng(0).random((30, 10_000))
    PassLog.create(path, {}).close()
    sizes: list[int] = []
    for session in range(3):
        with PassLog.open_for_append(path) as log:
            for epoch in range(10 * session, 10 * session + 10):
                log.append_checkpoint(epoch, epoch, {"W": arrays[epoch]})
                log.flush()
        sizes.append(path.stat().st_size)
        with closing(sqlite3.connect(path)) as connection:
            kept = connection.execute("SELECT epoch FROM checkpoints ORDER BY number").fetchall()
        assert kept == [(10 * session + 8,), (10 * session + 9,)]
    with LogReader(path) as reader:
        latest = reader.latest_checkpoint()
        assert latest is not None
        np.testing.assert_array_equal(latest.arrays["W"], arrays[29])
        reader.check_integrity()
    assert sizes[2] < 4 * arrays[0].nbytes
    assert sizes[2] - sizes[0] < arrays[0].nbytes


def test_checkpoints_written_in_one_group_leave_two(tmp_path: Path) -> None:
    path = tmp_path / "run.sqlite"
    with PassLog.create(path, {}, commit_every_s=60.0) as log:
        for epoch in range(50):
            log.append_checkpoint(epoch, epoch, {"W": np.full(3, epoch)})
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT epoch FROM checkpoints").fetchall() == [(48,), (49,)]


def test_an_empty_run_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "run.sqlite"
    PassLog.create(path, {}).close()
    with LogReader(path) as reader:
        assert len(reader.rows(0, 10)) == 0
        assert reader.time_range() is None
        assert reader.latest_checkpoint() is None
        assert reader.last_step() is None
        assert reader.next_free_id() == 0
        assert reader.blocks() == []
        reader.check_integrity()


def test_a_resumed_run_continues(tmp_path: Path, make_rows: MakeRows) -> None:
    path = tmp_path / "run.sqlite"
    for first in (0, 4, 8):
        with PassLog.open_for_append(path) if first else PassLog.create(path, {}) as log:
            log.append(make_rows(first, 4, state_id=f"s{first % 8}"))
    with LogReader(path) as reader:
        rows = reader.rows(0, 100)
        np.testing.assert_array_equal(rows.ids, np.arange(12))
        assert rows.state_ids.tolist() == ["s0"] * 4 + ["s4"] * 4 + ["s0"] * 4
        assert len(reader.states()) == 2
        assert [event.kind for event in reader.events()] == ["opened", "closed"] * 3


def test_a_pass_is_recorded_once(tmp_path: Path, make_rows: MakeRows) -> None:
    path = tmp_path / "run.sqlite"
    log = PassLog.create(path, {})
    log.append(make_rows(0, 4))
    log.flush()
    log.append(make_rows(3, 1))
    for call in (log.flush, lambda: log.append(make_rows(10, 1)), lambda: log.append_event("x", None), log.close):
        with pytest.raises(RecordError, match=r"cannot be written: UNIQUE constraint failed: passes\.key"):
            call()
    log.close()
    with PassLog.open_for_append(path), LogReader(path) as reader:
        assert reader.next_free_id() == 4


def test_a_step_repeated_by_a_replay_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "run.sqlite"
    with PassLog.create(path, {}) as log:
        log.append_step(4, 1, {"loss": 1.0})
    with PassLog.open_for_append(path) as log:
        log.append_step(4, 1, {"loss": 2.0})
        log.append_step(5, 1, {"loss": 3.0})
    with LogReader(path) as reader:
        assert [(step.step, step.metrics["loss"]) for step in reader.steps()] == [(4, 1.0), (5, 3.0)]


def test_a_closed_log_refuses(tmp_path: Path, make_rows: MakeRows) -> None:
    log = PassLog.create(tmp_path / "run.sqlite", {})
    log.close()
    log.close()
    with pytest.raises(RecordError, match="it has been closed"):
        log.append(make_rows(0, 1))
    with pytest.raises(RecordError, match="it has been closed"):
        log.append_event("late", {})


def test_a_second_writer_is_told_who_the_first_is(tmp_path: Path) -> None:
    path = tmp_path / "run.sqlite"
    script = (
        "import sys; from pathlib import Path; from labctl.record.writer import PassLog\n"
        "with PassLog.create(Path(sys.argv[1]), {}): print('open', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "open\n"
        with pytest.raises(RecordError, match=f"is being written by process {first.pid} on {os.uname().nodename}"):
            PassLog.open_for_append(path)
        assert first.stdin is not None
        first.stdin.close()
    with (
        PassLog.open_for_append(path),
        pytest.raises(RecordError, match=f"is being written by process {os.getpid()} on"),
    ):
        PassLog.open_for_append(path)


def test_a_log_is_never_overwritten(tmp_path: Path, make_rows: MakeRows) -> None:
    path = tmp_path / "run.sqlite"
    with PassLog.create(path, {}) as log:
        log.append(make_rows(0, 4))
    with pytest.raises(RecordError, match="exists already"):
        PassLog.create(path, {})
    with LogReader(path) as reader:
        assert reader.next_free_id() == 4


@pytest.mark.parametrize("meta", [{"bad": object()}, {"bad": {"deep": b"bytes"}}])
def test_meta_without_json_form_leaves_nothing(tmp_path: Path, meta: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        PassLog.create(tmp_path / "run.sqlite", meta)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"samples": np.arange(3)}, "samples of 4 passes have shape"),
        ({"drives": np.zeros((3, 2), np.float32)}, "drives of 4 passes have shape"),
        ({"drives": np.zeros((4, 2))}, "drives of passes are float32, got float64"),
        ({"responses": np.zeros(4)}, "responses of 4 passes have shape"),
        ({"responses": np.zeros((4, 0))}, "responses of 4 passes have shape"),
        ({"responses": np.array([["a"]] * 4)}, "responses are numbers"),
        ({"repeat": 256}, "repeated at most 255 times"),
        ({"ids": np.arange(-1, 3)}, "ids lie within 0"),
        ({"ids": np.arange(4) + MAX_ID}, "ids lie within 0"),
        ({"status": np.zeros(4, np.int64)}, "status of passes are uint8"),
    ],
)
def test_rows_that_do_not_fit_together_are_refused(make_rows: MakeRows, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_rows(0, 4, **changes)


def test_the_file_explains_itself(tmp_path: Path, make_rows: MakeRows) -> None:
    path = tmp_path / "run.sqlite"
    with PassLog.create(path, {}) as log:
        log.append(make_rows(0, 4, repeat=2, status=np.array([0, 0, 1, 0], dtype=np.uint8)))
    connection = sqlite3.connect(path)
    schema = "\n".join(text for (text,) in connection.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL"))
    assert schema.count("--") > 20
    assert connection.execute("SELECT id, repeat, label, status FROM readable_passes").fetchall() == [
        (0, 2, 0, "ok"),
        (1, 2, 1, "ok"),
        (2, 2, 2, "clipped"),
        (3, 2, 3, "ok"),
    ]
    counts = connection.execute("SELECT block, purpose, status, passes FROM overview ORDER BY status").fetchall()
    assert counts == [(1, "train", "clipped", 1), (1, "train", "ok", 3)]
    connection.close()
