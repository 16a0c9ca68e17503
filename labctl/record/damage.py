"""What can still be read from a damaged pass log."""

import sqlite3
from contextlib import closing
from pathlib import Path

from labctl.contract.errors import RecordError
from labctl.record.passes import REPEATS_PER_ID

_TABLES = {"passes": "key", "steps": "step", "events": "number", "checkpoints": "number"}


def damaged(path: Path, cause: object) -> RecordError:
    """Return the error for a damaged log; it says what is still whole, for which the whole file is read."""
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
        # Without this SQLite refuses every read of a file that is shorter than its first page says.
        connection.execute("PRAGMA writable_schema = ON")
        extents = [_extent(connection, table, key) for table, key in _TABLES.items()]
    return RecordError(f"{path} is damaged ({cause}); still whole: {', '.join(filter(None, extents)) or 'nothing'}")


def _extent(connection: sqlite3.Connection, table: str, key: str) -> str:
    """Return how much of a table can be read from its start."""
    n_rows, last_key = 0, 0
    try:
        for row in connection.execute(f"SELECT {key}, * FROM {table} ORDER BY {key}"):  # noqa: S608 - names from above
            n_rows += 1
            last_key = row[0]
    except sqlite3.Error:
        pass  # here ends what is whole, which is the question
    if n_rows == 0:
        return ""
    return f"{n_rows} {table}" + (f" up to id {last_key // REPEATS_PER_ID}" if table == "passes" else "")
