"""What is left of a pass log when its process is killed, its disk is full or its file is damaged."""

import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest

from labctl.contract.errors import InputError, RecordError
from labctl.record.passes import PassRows
from labctl.record.reader import LogReader
from labctl.record.writer import PassLog

WRITER = Path(__file__).with_name("append_until_killed.py")

MakeRows = Callable[..., PassRows]
Protect = Callable[[Path], AbstractContextManager[None]]


def start_writer(path: Path, n_rows: int, n_chunks: int, largest_file: int = 0) -> subprocess.Popen[str]:
    arguments = [sys.executable, str(WRITER), str(path), str(n_rows), str(n_chunks), str(largest_file)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)


def check_whole_until(reader: LogReader, step: int, n_rows: int) -> None:
    """All passes and steps up to `step` are there, once, with the right values; no step precedes its passes."""
    rows = reader.rows(0, 10**9)
    np.testing.assert_array_equal(rows.ids, np.arange(len(rows)))
    np.testing.assert_array_equal(rows.values, rows.ids[:, None] + np.arange(40))
    np.testing.assert_array_equal(rows.drives, rows.values)
    steps = [record.step for record in reader.steps()]
    assert steps == list(range(len(steps)))
    assert len(steps) > step
    assert len(rows) >= len(steps) * n_rows


@pytest.mark.parametrize("seed", range(10))
def test_what_flush_confirmed_survives_a_kill(tmp_path: Path, seed: int) -> None:
    moment = random.Random(seed)
    n_rows, n_chunks = moment.choice([(1, 1), (1, 7), (30, 3), (500, 2)])
    path = tmp_path / "run.sqlite"
    with start_writer(path, n_rows, n_chunks) as process:
        assert process.stdout is not None
        confirmed = [int(process.stdout.readline()) for _ in range(moment.randint(1, 30))]
        time.sleep(moment.uniform(0, 0.03))
        process.kill()
        confirmed += [int(line) for line in process.stdout if line.endswith("\n")]
    with LogReader(path) as reader:
        check_whole_until(reader, confirmed[-1], n_rows)
        assert not reader.is_closed()
        next_id = reader.next_free_id()
    with PassLog.open_for_append(path) as log:
        log.append_event("resumed", {"at": next_id})
    with LogReader(path) as reader:
        check_whole_until(reader, confirmed[-1], n_rows)
        reader.check_integrity()
        assert reader.is_closed()


def test_a_full_disk_is_reported_and_what_was_confirmed_is_safe(tmp_path: Path) -> None:
    path = tmp_path / "run.sqlite"
    with start_writer(path, 10, 5, 400_000) as process:
        assert process.stdout is not None
        *steps, appended, flushed, closed = process.stdout.read().splitlines()
    assert process.returncode == 0
    for line, call in ((appended, "append"), (flushed, "flush"), (closed, "close")):
        assert line.startswith(f"{call}: {path} cannot be written: ")
        assert "full" in line or "disk I/O" in line
    with LogReader(path) as reader:
        check_whole_until(reader, int(steps[-1]), 10)


def test_a_run_is_read_while_it_is_written(tmp_path: Path, make_rows: MakeRows) -> None:
    path = tmp_path / "run.sqlite"
    with PassLog.create(path, {}) as log, LogReader(path) as reader:
        for step in range(3):
            log.append(make_rows(step * 4, 4))
            log.flush()
            assert reader.next_free_id() == (step + 1) * 4
        with reader.snapshot():
            assert len(reader.rows(0, 100)) == 12
            log.append(make_rows(12, 4))
            log.flush()
            assert reader.next_free_id() == 12
        assert reader.next_free_id() == 16
    with LogReader(path) as reader:
        assert reader.next_free_id() == 16


def test_a_closed_run_is_one_plain_file(tmp_path: Path, make_rows: MakeRows) -> None:
    path = tmp_path / "run.sqlite"
    with PassLog.create(path, {}) as log:
        log.append(make_rows(0, 4))
    with LogReader(path) as reader:
        reader.rows(0, 3)
    assert {file.name for file in tmp_path.iterdir()} <= {"run.sqlite", "run.lock"}


def test_a_closed_run_is_read_in_a_read_only_folder(public_path: Path, read_only: Protect, make_rows: MakeRows) -> None:
    path = public_path / "run.sqlite"
    with PassLog.create(path, {}) as log:
        log.append(make_rows(0, 4))
    with read_only(public_path), LogReader(path) as reader:
        assert len(reader.rows(0, 3)) == 4


def test_a_run_closed_beside_a_reader_is_read_in_a_read_only_folder(
    public_path: Path, read_only: Protect, make_rows: MakeRows
) -> None:
    path = public_path / "run.sqlite"
    log = PassLog.create(path, {})
    with LogReader(path):
        log.append(make_rows(0, 4))
        log.close()
    shutil.copy(path, public_path / "copy.sqlite")  # still in write-ahead mode, without a write-ahead log
    with read_only(public_path), LogReader(public_path / "copy.sqlite") as reader:
        assert len(reader.rows(0, 3)) == 4


def test_a_killed_run_in_a_read_only_folder_is_read_or_says_what_to_do(
    public_path: Path, read_only: Protect, tmp_path: Path
) -> None:
    path = tmp_path / "run.sqlite"
    with start_writer(path, 1, 1) as process:
        assert process.stdout is not None
        confirmed = [int(process.stdout.readline()) for _ in range(5)]
        process.kill()
    for file in tmp_path.iterdir():
        shutil.copy(file, public_path)
    path = public_path / "run.sqlite"
    with read_only(public_path), LogReader(path) as reader:
        check_whole_until(reader, confirmed[-1], 1)
    (public_path / "run.sqlite-shm").unlink()
    with read_only(public_path), pytest.raises(RecordError, match="copy the folder"):
        LogReader(path)


def test_a_read_only_folder_cannot_be_written(public_path: Path, read_only: Protect) -> None:
    path = public_path / "run.sqlite"
    PassLog.create(path, {}).close()
    with read_only(public_path):
        with pytest.raises(RecordError, match="cannot be written"):
            PassLog.open_for_append(path)
        with pytest.raises(RecordError, match="cannot be created"):
            PassLog.create(public_path / "other.sqlite", {})
    assert {file.name for file in public_path.iterdir()} <= {"run.sqlite", "run.lock"}


def test_a_truncated_file_says_what_is_whole(tmp_path: Path, make_rows: MakeRows) -> None:
    path = tmp_path / "run.sqlite"
    with PassLog.create(path, {}) as log:
        for first in range(0, 2000, 100):
            log.append(make_rows(first, 100, n_in=80, n_out=80))
    os.truncate(path, path.stat().st_size * 2 // 3)
    for use in (LogReader, PassLog.open_for_append):
        with pytest.raises(RecordError, match=r"is damaged .*: 1\d\d\d passes up to id 1\d\d\d, 2 events$"):
            use(path)


def test_damage_of_the_table_of_states_is_found(tmp_path: Path, make_rows: MakeRows) -> None:
    path = tmp_path / "run.sqlite"
    with PassLog.create(path, {}) as log:
        log.append(make_rows(0, 3))
    connection = sqlite3.connect(path)
    ((page,),) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'states'")
    connection.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xff" * 4096)
    with pytest.raises(RecordError, match=r"is damaged .* still whole: 3 passes up to id 2"):
        PassLog.open_for_append(path)
    with LogReader(path) as reader, pytest.raises(RecordError, match=r"is damaged .* still whole: 3 passes up to id 2"):
        reader.rows(0, 2)


def test_damage_amid_the_file_is_found(tmp_path: Path, make_rows: MakeRows) -> None:
    path = tmp_path / "run.sqlite"
    with PassLog.create(path, {}) as log:
        log.append(make_rows(0, 2000, n_in=80, n_out=80))
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2 // 4096 * 4096)
        file.write(bytes(4096))
    with LogReader(path) as reader:
        with pytest.raises(RecordError, match=r"is damaged .* still whole: \d+ passes up to id \d+"):
            reader.check_integrity()
        with pytest.raises(RecordError, match="is damaged"):
            reader.rows(0, 2000)
        assert len(reader.rows(0, 10)) == 11


@pytest.mark.parametrize("content", [b"", b"not a database at all" * 500, b"SQLite format 3\0"])
def test_what_is_no_pass_log_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "run.sqlite"
    path.write_bytes(content)
    with pytest.raises(RecordError, match=r"run\.sqlite"):
        LogReader(path)
    with pytest.raises(RecordError, match=r"run\.sqlite"):
        PassLog.open_for_append(path)
    assert path.read_bytes() == content


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no pass log at"):
        LogReader(tmp_path / "run.sqlite")
    with pytest.raises(RecordError, match="there is no pass log at"):
        PassLog.open_for_append(tmp_path / "run.sqlite")
    assert not list(tmp_path.iterdir())


def test_another_program_s_database_and_a_newer_format_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.sqlite"
    PassLog.create(path, {}).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 2")
    connection.close()
    for use in (LogReader, PassLog.open_for_append):
        with pytest.raises(RecordError, match="made by a newer labctl"):
            use(path)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA application_id = 1")
    connection.close()
    for use in (LogReader, PassLog.open_for_append):
        with pytest.raises(RecordError, match="is not a labctl pass log"):
            use(path)


def half_written(path: Path) -> None:
    """Leave the log as a process killed in mid-transaction in rollback mode leaves it: changed, with a hot journal."""
    script = (
        "import os, sqlite3, sys;"
        "c = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "c.execute('PRAGMA journal_mode = DELETE'); c.execute('PRAGMA cache_size = 1');"
        "c.execute('BEGIN IMMEDIATE'); c.execute('DELETE FROM passes'); c.execute('DELETE FROM steps');"
        "os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    assert path.with_name("run.sqlite-journal").stat().st_size


def test_what_a_killed_process_left_half_written_is_undone_before_reading(tmp_path: Path, make_rows: MakeRows) -> None:
    path = tmp_path / "run.sqlite"
    with PassLog.create(path, {}) as log:
        log.append(make_rows(0, 500))
    half_written(path)
    with LogReader(path) as reader:
        assert len(reader.rows(0, 10**9)) == 500
        with PassLog.open_for_append(path) as log:
            log.append_event("seen", {})
            log.flush()
            assert "seen" in [event.kind for event in reader.events()]


def test_what_is_half_written_cannot_be_read_where_nothing_can_be_undone(
    public_path: Path, make_rows: MakeRows, read_only: Protect
) -> None:
    path = public_path / "run.sqlite"
    with PassLog.create(path, {}) as log:
        log.append(make_rows(0, 500))
    half_written(path)
    with read_only(public_path), pytest.raises(RecordError, match=r"run.sqlite-journal has to be merged into it"):
        LogReader(path)
