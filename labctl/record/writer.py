"""The pass log as it is written: one writer per run, durable in groups, off the control loop.

SQLite in write-ahead mode with full synchronisation. A step is never durable before its passes.
"""

import logging
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from itertools import repeat
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, Self

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from labctl.contract.errors import LabctlError, RecordError
from labctl.contract.layer import RawSignal
from labctl.record.damage import damaged
from labctl.record.group_commit import GroupCommit
from labctl.record.json_text import to_json
from labctl.record.npz import to_npz
from labctl.record.owner import this_process
from labctl.record.passes import REPEATS_PER_ID, PassRows
from labctl.record.raw import RAW_NAME, RawLog
from labctl.record.reader import LogReader
from labctl.record.schema import connect_to_write, create_file, leave_plain_file

COMMIT_EVERY_S = 0.2

_log = logging.getLogger(__name__)

Note = Callable[[str, Mapping[str, Any]], None]
"""Keeps what happened: a kind of event and its details."""

_INSERT_STATE = (
    "INSERT INTO states (id, layer, state_id, n_inputs, n_outputs, response_dtype) VALUES (?, ?, ?, ?, ?, ?)"
)
_INSERT_PASSES = (
    "INSERT INTO passes (key, step, block, purpose, sample, label, state, status, time_s, drive, response)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_INSERT_STEP = "INSERT OR IGNORE INTO steps (step, epoch, time_s, metrics) VALUES (?, ?, ?, ?)"
_INSERT_EVENT = "INSERT INTO events (time_s, kind, detail) VALUES (?, ?, ?)"
_INSERT_CHECKPOINT = "INSERT INTO checkpoints (epoch, next_id, time_s, data) VALUES (?, ?, ?, ?)"

_BYTES_PER_ROW = 64
"""Rough size of a row besides its blobs."""

_DRIVES = np.dtype("<f4")

_State = tuple[str, str, int, int, np.dtype[Any]]
"""Layer, state id, number of inputs, number of outputs, number type of responses."""


class PassLog:
    """The one writer of a run's pass log; a context manager; usable from several threads.

    Raw signals of passes that come with some go beside it, as long as they take no more than `raw_bytes` of the disk:
    those of a pass are durable before the pass is.

    The `append` methods copy what they are given and return at once, unless the disk lags far behind. When the log
    cannot be written (disk full, disk gone), the next call and every later one raises `RecordError`; what `flush`
    confirmed is safe.
    """

    def __init__(self, path: Path, *, commit_every_s: float = COMMIT_EVERY_S, raw_bytes: float = 0.0) -> None:
        self.path = path
        self._raw: RawLog | None = None
        self._raw_bytes = raw_bytes
        self._commit_every_s = commit_every_s
        with ExitStack() as undo:
            self._lock = acquire(path)
            undo.callback(self._lock.release)
            self._connection = connect_to_write(path)
            undo.callback(self._connection.close)
            self._states = _read_states(self._connection, path)
            undo.pop_all()
        self._new_state = Lock()
        self._commits = GroupCommit(self._connection, path, commit_every_s, self._flush_raw)
        self._closed = False
        try:
            self.append_event("opened", this_process().as_json())
            self.flush()
        except BaseException:
            self._release()
            raise

    @classmethod
    def create(cls, path: Path, meta: Mapping[str, object], *, commit_every_s: float = COMMIT_EVERY_S) -> Self:
        """Create the log of a new run that holds `meta` (JSON values) and open it.

        Raises `RecordError` when it exists or cannot be written.
        """
        create_file(path, meta)
        return cls(path, commit_every_s=commit_every_s)

    @classmethod
    def open_for_append(cls, path: Path, *, commit_every_s: float = COMMIT_EVERY_S, raw_bytes: float = 0.0) -> Self:
        """Open an existing log.

        Raises `RecordError` when it is missing, damaged, made by a newer labctl, not writable, or has a writer already.
        """
        return cls(path, commit_every_s=commit_every_s, raw_bytes=raw_bytes)

    def append(self, rows: PassRows) -> None:
        """Record passes. A pass (id and repeat) can be recorded once."""
        dtype = rows.responses.dtype.newbyteorder("<")
        state = (rows.layer, rows.state_id, rows.drives.shape[1], rows.responses.shape[1], dtype)
        drives = rows.drives.astype(_DRIVES, copy=False).tobytes()
        responses = rows.responses.astype(dtype, copy=False).tobytes()
        keys = rows.ids * REPEATS_PER_ID + rows.repeat
        columns = keys, rows.samples.copy(), rows.labels.copy(), rows.status.copy(), rows.time_s.copy()
        constants = int(rows.step), int(rows.block), rows.purpose, self._number_of(state)
        n_bytes = len(drives) + len(responses) + len(keys) * _BYTES_PER_ROW
        if rows.raw is not None:
            self._keep_raw(rows.layer, keys, rows.raw)
        self._commits.put(_INSERT_PASSES, _pass_rows(constants, columns, drives, responses), n_bytes)

    def append_step(self, step: int, epoch: int, metrics: Mapping[str, float | np.floating[Any]]) -> None:
        """Record that a training step is complete, after its passes. A step recorded before is left as it is."""
        text = to_json(metrics)
        self._commits.put(_INSERT_STEP, [(int(step), int(epoch), time.time(), text)], len(text))

    def append_event(self, kind: str, detail: object) -> None:
        """Record an event; `detail` is any JSON value. Raises `TypeError` when it is not."""
        text = to_json(detail)
        self._commits.put(_INSERT_EVENT, [(time.time(), kind, text)], len(text))

    def append_checkpoint(self, epoch: int, next_id: int, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Record the learner's arrays, which contain all passes before `next_id`."""
        data = to_npz(arrays)
        self._commits.put(_INSERT_CHECKPOINT, [(int(epoch), int(next_id), time.time(), data)], len(data))

    def flush(self) -> None:
        """Return when everything appended before is durable on disk."""
        self._commits.flush()

    def close(self) -> None:
        """Write what is pending and release the log, which is then one plain file. Idempotent.

        Raises `RecordError` when not everything that was appended could be written.
        """
        if self._closed:
            return
        self._closed = True
        try:
            self.append_event("closed", this_process().as_json())
        finally:
            self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _number_of(self, state: _State) -> int:
        with self._new_state:
            number = self._states.get(state)
            if number is None:
                number = len(self._states) + 1
                self._commits.put(_INSERT_STATE, [(number, *state[:-1], state[-1].str)], _BYTES_PER_ROW)
                self._states[state] = number
            return number

    def _keep_raw(self, layer: str, keys: NDArray[np.int64], raw: RawSignal) -> None:
        if self._raw is None:
            self._raw = RawLog(self.path.with_name(RAW_NAME), self._raw_bytes, self._commit_every_s)
        if not self._raw.append(layer, keys, raw):
            detail = {"kept_bytes": self._raw.n_bytes, "room_bytes": self._raw_bytes}
            _log.warning("the room for raw signals is used up: those of later passes are not kept (record: raw)")
            self.append_event("raw full", detail)

    def _flush_raw(self) -> None:
        if self._raw is not None:
            self._raw.flush()

    def _release(self) -> None:
        try:
            self._commits.stop()
            leave_plain_file(self._connection)
        finally:
            self._connection.close()
            try:
                if self._raw is not None:
                    self._raw.close()
            finally:
                self._lock.release()


def _pass_rows(
    constants: tuple[int, int, str, int], columns: tuple[NDArray[Any], ...], drives: bytes, responses: bytes
) -> Iterator[tuple[object, ...]]:
    """Yield rows of `_INSERT_PASSES`; a generator, so that the work is done by the writer thread."""
    step, block, purpose, state = map(repeat, constants)
    keys, samples, labels, status, times_s = (column.tolist() for column in columns)
    blobs = (_split(data, len(keys)) for data in (drives, responses))
    yield from zip(keys, step, block, purpose, samples, labels, state, status, times_s, *blobs, strict=False)


def _split(data: bytes, n: int) -> list[bytes]:
    size = len(data) // n if n else 1
    return [data[start : start + size] for start in range(0, len(data), size)]


def acquire(path: Path) -> FileLock:
    """Return the lock of a log's one writer, held. Raises `RecordError` naming who has it."""
    if not path.is_file():
        raise RecordError(f"there is no pass log at {path}")
    lock = FileLock(path.with_suffix(".lock"), thread_local=False)
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        raise RecordError(f"{path} is being written by {_owner(path)}") from error
    except OSError as error:
        raise RecordError(f"{path} cannot be written: {error}") from error
    return lock


def _owner(path: Path) -> str:
    try:
        with LogReader(path) as reader:
            owner = reader.last_owner()
    except LabctlError:
        owner = None
    return "another process" if owner is None else str(owner)


def _read_states(connection: sqlite3.Connection, path: Path) -> dict[_State, int]:
    try:
        rows = connection.execute("SELECT id, layer, state_id, n_inputs, n_outputs, response_dtype FROM states")
        return {(*state, np.dtype(dtype)): number for number, *state, dtype in rows}
    except sqlite3.DatabaseError as error:
        raise damaged(path, error) from error
