"""Inserts made durable in groups by a thread of their own, so that the caller never waits for the disk."""

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path
from threading import Condition, Thread

from labctl.contract.errors import RecordError

GROUP_BYTES = 4 * 2**20
"""A group of this size is committed without waiting for the time."""

PENDING_BYTES = 64 * 2**20
"""When more than this waits for the disk, the caller is held back."""

ROWS_PER_INSERT = 500
"""Rows of one call of SQLite, which lets other threads run and may then wait for its turn: the fewer calls, the less
the writer and its caller hinder each other."""

Rows = Iterable[tuple[object, ...]]


class GroupCommit:
    """Owns `connection` from construction until `stop` returns.

    What was put within `every_s` seconds is committed in one transaction, in the order in which it was put. After the
    first failure nothing more is written, and every call raises `RecordError`. `before` is called before each commit to
    make durable what must never be missing beside it; it may raise `RecordError`.
    """

    def __init__(
        self, connection: sqlite3.Connection, path: Path, every_s: float, before: Callable[[], None] = lambda: None
    ) -> None:
        self._connection = connection
        self._path = path
        self._every_s = every_s
        self._before = before
        self._changed = Condition()
        self._pending: list[tuple[str, Rows]] = []
        self._pending_bytes = 0
        self._n_put = 0
        self._n_wanted = 0
        self._n_durable = 0
        self._stopping = False
        self._ended = False
        self._failure = "its writer thread died"
        self._thread = Thread(target=self._run, name="pass log", daemon=True)
        self._thread.start()

    def put(self, statement: str, rows: Rows, n_bytes: int) -> None:
        """Have `rows` inserted by `statement`, which ends in the `VALUES (?, ...)` of one row.

        The writer thread iterates over the rows once, and within a group inserts statement by statement.
        """
        with self._changed:
            if self._pending_bytes > PENDING_BYTES:
                self._changed.wait_for(lambda: self._pending_bytes <= PENDING_BYTES or self._ended)
            if self._ended:
                raise self._error()
            self._pending.append((statement, rows))
            self._pending_bytes += n_bytes
            self._n_put += 1
            if self._pending_bytes >= GROUP_BYTES:
                self._changed.notify_all()

    def flush(self) -> None:
        """Return when everything put before is durable."""
        with self._changed:
            self._n_wanted = target = self._n_put
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._n_durable >= target or self._ended)
            if self._n_durable < target:
                raise self._error()

    def stop(self) -> None:
        """Commit what is pending and end the thread; afterwards the connection is the caller's again."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join()
        if self._n_durable < self._n_put:
            raise self._error()
        self._failure = "it has been closed"

    def _run(self) -> None:
        try:
            while not self._write_group():
                pass
        except (sqlite3.Error, RecordError) as error:
            self._failure = f"{error}; what had been confirmed is safe, the run can be resumed from there"
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _write_group(self) -> bool:
        """Wait for the next group, commit it, and return whether it was the last one."""
        with self._changed:
            self._changed.wait_for(self._is_due, timeout=self._every_s)
            group, self._pending = self._pending, []
            self._pending_bytes = 0
            n_put, last = self._n_put, self._stopping
            self._changed.notify_all()
        if group:
            self._before()
            self._commit(group)
        with self._changed:
            self._n_durable = n_put
            self._changed.notify_all()
        return last

    def _is_due(self) -> bool:
        return self._stopping or self._n_wanted > self._n_durable or self._pending_bytes >= GROUP_BYTES

    def _commit(self, group: list[tuple[str, Rows]]) -> None:
        """Commit all or nothing: after an error the group is rolled back when the connection is closed."""
        rows_of: dict[str, list[Rows]] = {}
        for statement, rows in group:
            rows_of.setdefault(statement, []).append(rows)
        self._connection.execute("BEGIN IMMEDIATE")
        for statement, parts in rows_of.items():
            for rows in _batches(chain.from_iterable(parts)):
                self._connection.execute(_for_rows(statement, len(rows)), list(chain.from_iterable(rows)))
        self._connection.execute("COMMIT")

    def _error(self) -> RecordError:
        return RecordError(f"{self._path} cannot be written: {self._failure}")


def _batches(rows: Rows) -> Iterator[list[tuple[object, ...]]]:
    remaining = iter(rows)
    while batch := list(islice(remaining, ROWS_PER_INSERT)):
        yield batch


@lru_cache
def _for_rows(statement: str, n: int) -> str:
    """Return the statement that inserts `n` rows at once."""
    head, values, row = statement.rpartition("VALUES ")
    return head + values + ", ".join([row] * n)
