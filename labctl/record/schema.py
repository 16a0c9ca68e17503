"""The file format of a pass log, an SQLite database whose tables `schema.sql` describes, and connections to it."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing, suppress
from importlib.resources import files
from pathlib import Path

from labctl.contract.errors import InputError, RecordError
from labctl.record.damage import damaged
from labctl.record.json_text import to_json

SCHEMA_VERSION = 1
APPLICATION_ID = int.from_bytes(b"labc")
"""Marks a pass log among SQLite files; the `file` command shows it."""

_PATIENCE_S = 60.0
"""How long a commit waits for a person who has locked the file in a database browser."""


def create_file(path: Path, meta: Mapping[str, object]) -> None:
    """Create an empty pass log that holds `meta`; the file appears complete or not at all.

    Raises `RecordError` when the file exists or cannot be written, `TypeError` when `meta` has no JSON form.
    """
    rows = [(key, to_json(value)) for key, value in meta.items()]
    if path.exists():
        raise RecordError(f"{path} exists already: a pass log is never overwritten")
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.unlink(missing_ok=True)
        with closing(sqlite3.connect(partial, isolation_level=None)) as connection:
            _fill(connection, rows)
        partial.rename(path)
    except (sqlite3.Error, OSError) as error:
        partial.unlink(missing_ok=True)
        raise RecordError(f"{path} cannot be created: {error}") from error


def _fill(connection: sqlite3.Connection, meta: list[tuple[str, str]]) -> None:
    tables = files("labctl.record").joinpath("schema.sql").read_text(encoding="utf-8")
    connection.executescript(f"BEGIN; {tables}")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.executemany("INSERT INTO meta VALUES (?, ?)", meta)
    connection.execute("COMMIT")


_FORGET_CHECKPOINTS = """
    CREATE TEMP TRIGGER forget_checkpoints AFTER INSERT ON main.checkpoints
    BEGIN DELETE FROM checkpoints WHERE number <= NEW.number - 2; END
"""
"""With a checkpoint the one before the last goes, in the same transaction; SQLite uses its pages again. One would do:
the second is there for whoever finds the last one damaged. A trigger of the connection, so that every log has it."""


def connect_to_write(path: Path) -> sqlite3.Connection:
    """Return a connection whose commits survive a crash and a power cut; it may move between threads.

    Raises `RecordError` when the file is missing, damaged, no pass log, or cannot be written that safely.
    """
    if not path.is_file():
        raise RecordError(f"there is no pass log at {path}")
    connection = sqlite3.connect(path, timeout=_PATIENCE_S, isolation_level=None, check_same_thread=False)
    try:
        _check_format(connection, path)
        make_durable(connection, path)
        connection.execute(_FORGET_CHECKPOINTS)
    except sqlite3.OperationalError as error:
        connection.close()
        raise RecordError(f"{path} cannot be written: {error}") from error
    except sqlite3.DatabaseError as error:
        connection.close()
        raise damaged(path, error) from error
    except RecordError:
        connection.close()
        raise
    return connection


def make_durable(connection: sqlite3.Connection, path: Path) -> None:
    """Have commits survive a crash and a power cut. Raises `RecordError` where the disk cannot."""
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise RecordError(f"{path} cannot be written safely: its disk does not support write-ahead logging")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA fullfsync = ON")  # macOS: an ordinary fsync leaves data in the drive's cache


def leave_plain_file(connection: sqlite3.Connection) -> None:
    """Move everything from the write-ahead log into the file, and end that mode unless somebody is reading."""
    connection.execute("PRAGMA busy_timeout = 0")
    with suppress(sqlite3.OperationalError):
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("PRAGMA journal_mode = DELETE")


def connect_to_read(path: Path) -> sqlite3.Connection:
    """Return a connection that never writes.

    Beside a writer it sees what is durable. A log in write-ahead mode on a read-only medium is opened as immutable
    when its write-ahead log is empty. Raises `InputError` when there is no file, `RecordError` when it cannot be read.
    """
    if not path.is_file():
        raise InputError(f"there is no pass log at {path}")
    _undo_half_written(path)
    try:
        return _open_to_read(path, "mode=ro")
    except sqlite3.OperationalError as error:
        for pending in _beside(path):
            if pending.exists() and pending.stat().st_size:
                raise RecordError(
                    f"{path} cannot be read where it is ({error}), as {pending.name} has to be merged into it: "
                    "copy the folder to a place that can be written"
                ) from error
    except sqlite3.DatabaseError as error:
        raise damaged(path, error) from error
    try:
        return _open_to_read(path, "mode=ro&immutable=1")
    except sqlite3.Error as error:
        raise RecordError(f"{path} cannot be read: {error}") from error


def _undo_half_written(path: Path) -> None:
    """Roll back what a writer killed while it changed the journal mode left half done, if the medium allows."""
    if _beside(path)[1].exists():
        with suppress(sqlite3.Error), closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA user_version").fetchone()


def _beside(path: Path) -> tuple[Path, Path]:
    """Return the files in which SQLite keeps what is not yet in the database: write-ahead log and rollback journal."""
    return path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-journal")


def _open_to_read(path: Path, mode: str) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?{mode}", uri=True, isolation_level=None)
    try:
        _check_format(connection, path)
    except (sqlite3.Error, RecordError):
        connection.close()
        raise
    return connection


def _check_format(connection: sqlite3.Connection, path: Path) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        raise RecordError(f"{path} is not a labctl pass log")
    if version > SCHEMA_VERSION:
        raise RecordError(
            f"{path} was made by a newer labctl (format {version}, known here: up to {SCHEMA_VERSION}): upgrade labctl"
        )
