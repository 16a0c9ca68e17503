"""Raw signals of a run's passes: in a file beside the pass log, which can be given up without touching what is true.

An SQLite database like the log itself. A signal is stored under the key of its pass, as the bytes of one row of an
array with named fields; what these are is said once for all signals of that form.
"""

import json
import sqlite3
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labctl.contract.errors import RecordError
from labctl.contract.layer import RawSignal
from labctl.record.group_commit import GroupCommit
from labctl.record.schema import leave_plain_file, make_durable

RAW_NAME = "raw.sqlite"

RAW_BYTES_PER_ROW = 20
"""SQLite's own bytes around a signal, but for pages that are not full."""

KEYS_PER_QUERY = 500

_TABLES = """
    BEGIN;
    CREATE TABLE IF NOT EXISTS forms (
        id    INTEGER PRIMARY KEY,
        layer TEXT NOT NULL,
        dtype TEXT NOT NULL             -- JSON: name, number type and shape of each field, as numpy writes them
    );
    CREATE TABLE IF NOT EXISTS signals (
        key    INTEGER PRIMARY KEY,     -- of the pass: id * 256 + repeat
        form   INTEGER NOT NULL REFERENCES forms (id),
        signal BLOB NOT NULL
    );
    COMMIT;
"""
_INSERT_FORM = "INSERT INTO forms (id, layer, dtype) VALUES (?, ?, ?)"
_INSERT_SIGNAL = "INSERT OR REPLACE INTO signals (key, form, signal) VALUES (?, ?, ?)"
"""A signal may be there of a pass that is not: whoever was killed between the two measures that pass anew."""


@dataclass(frozen=True, slots=True)
class RawSummary:
    """How many signals there are, and what they take in bytes."""

    signals: int
    bytes: int


class RawLog:
    """The one writer of a run's raw signals, up to `room_bytes` of them; the file is made when it is not there.

    Raises `RecordError` when it cannot be written, as the pass log does.
    """

    def __init__(self, path: Path, room_bytes: float, commit_every_s: float) -> None:
        self._room_bytes = room_bytes
        self._full = False
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            make_durable(self._connection, path)
            self._connection.executescript(_TABLES)
            self.n_bytes = _summary(self._connection).bytes
            self._forms = {(layer, dtype): number for number, layer, dtype in _forms(self._connection)}
        except sqlite3.Error as error:
            self._connection.close()
            raise RecordError(f"{path} cannot be written: {error}") from error
        self._commits = GroupCommit(self._connection, path, commit_every_s)

    def append(self, layer: str, keys: NDArray[np.int64], raw: RawSignal) -> bool:
        """Keep signals `raw` (n,) under `keys` (n,); return False the first time that there is no room for all of them.

        Later ones of this session are not kept either: what is there is the beginning of a run.
        """
        if self._full:
            return True
        fitting = raw[: max(int((self._room_bytes - self.n_bytes) // raw.dtype.itemsize), 0)]
        self._full = len(fitting) < len(raw)
        form = self._number_of(layer, json.dumps(np.lib.format.dtype_to_descr(raw.dtype)))
        rows = [(key, form, signal.tobytes()) for key, signal in zip(keys.tolist(), fitting, strict=False)]
        self._commits.put(_INSERT_SIGNAL, rows, fitting.nbytes)
        self.n_bytes += fitting.nbytes
        return not self._full

    def flush(self) -> None:
        """Return when everything appended before is durable."""
        self._commits.flush()

    def close(self) -> None:
        """Write what is pending and leave one plain file."""
        try:
            self._commits.stop()
            leave_plain_file(self._connection)
        finally:
            self._connection.close()

    def _number_of(self, layer: str, dtype: str) -> int:
        number = self._forms.get((layer, dtype))
        if number is None:
            number = self._forms[layer, dtype] = len(self._forms) + 1
            self._commits.put(_INSERT_FORM, [(number, layer, dtype)], len(dtype))
        return number


def summarise_raw(path: Path) -> RawSummary | None:
    """Return what raw signals the file at `path` holds; None when there is none. Raises `RecordError`."""
    if not path.is_file():
        return None
    with _opened(path) as connection:
        return _summary(connection)


def raw_keys(path: Path) -> NDArray[np.int64]:
    """Return the keys (n,) of passes, in order, whose raw signals the file at `path` holds. Raises `RecordError`."""
    with _opened(path) as connection:
        return np.array([key for (key,) in connection.execute("SELECT key FROM signals ORDER BY key")], np.int64)


def read_raw(path: Path, keys: Sequence[int]) -> RawSignal:
    """Return the raw signals (n,) of passes of one layer, by their keys. Raises `RecordError` where one is missing."""
    found: dict[int, tuple[int, bytes]] = {}
    with _opened(path) as connection:
        dtypes = {number: _dtype(text) for number, _, text in _forms(connection)}
        for start in range(0, len(keys), KEYS_PER_QUERY):
            part = list(keys[start : start + KEYS_PER_QUERY])
            marks = ", ".join("?" * len(part))
            query = f"SELECT key, form, signal FROM signals WHERE key IN ({marks})"  # noqa: S608 - question marks alone
            found |= {key: (form, signal) for key, form, signal in connection.execute(query, part)}
    missing = [key for key in keys if key not in found]
    if missing:
        raise RecordError(f"{path} lacks the raw signals of {len(missing):,} passes")
    forms = {form for form, _ in found.values()}
    if len(forms) > 1:
        raise RecordError(f"{path} holds raw signals of several forms where one is asked for")
    return np.frombuffer(b"".join(found[key][1] for key in keys), dtypes[forms.pop()])


def give_up_raw(path: Path) -> int:
    """Delete the file at `path`, if there is one, and return how many bytes that frees. Raises `RecordError`."""
    before = size_of_raw(path)
    try:
        for file in _files(path):
            file.unlink(missing_ok=True)
    except OSError as error:
        raise RecordError(f"{path} cannot be deleted: {error}") from error
    return before


def size_of_raw(path: Path) -> int:
    """Return what the file at `path` takes of the disk, with what a killed writer left beside it."""
    total = 0
    for file in _files(path):
        with suppress(FileNotFoundError):
            total += file.stat().st_size
    return total


def _files(path: Path) -> list[Path]:
    return [path.with_name(f"{path.name}{suffix}") for suffix in ("", "-wal", "-shm", "-journal")]


def _summary(connection: sqlite3.Connection) -> RawSummary:
    ((signals, n_bytes),) = connection.execute("SELECT count(*), total(length(signal)) FROM signals").fetchall()
    return RawSummary(signals, int(n_bytes))


def _forms(connection: sqlite3.Connection) -> list[tuple[int, str, str]]:
    return connection.execute("SELECT id, layer, dtype FROM forms").fetchall()


def _dtype(text: str) -> np.dtype[Any]:
    fields = [(name, kind, *([tuple(shape[0])] if shape else [])) for name, kind, *shape in json.loads(text)]
    return np.dtype(fields)


@contextmanager
def _opened(path: Path) -> Generator[sqlite3.Connection]:
    """Open the file at `path` to be read."""
    if not path.is_file():
        raise RecordError(f"there are no raw signals: {path} is not there")
    try:
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None)
        try:
            yield connection
        finally:
            connection.close()
    except (sqlite3.Error, ValueError) as error:
        raise RecordError(f"{path} is damaged or cannot be read: {error}") from error
