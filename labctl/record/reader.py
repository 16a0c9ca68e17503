"""The pass log as it is read: while it is written, after its writer was killed, and on read-only media."""

import sqlite3
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from labctl.config.experiment import Keep
from labctl.contract.errors import RecordError
from labctl.contract.layer import RowStatus
from labctl.record.damage import damaged
from labctl.record.json_text import from_json
from labctl.record.npz import from_npz
from labctl.record.owner import Owner, owner_from
from labctl.record.passes import MAX_ID, REPEATS_PER_ID, RecordedPasses, join, take
from labctl.record.schema import connect_to_read

BATCH_ROWS = 8192

_SELECT_PASSES = """
    SELECT key, step, block, purpose, sample, label, state, status, time_s, drive, response FROM passes
    WHERE key BETWEEN :first AND :last AND (:block IS NULL OR block = :block) AND (:status IS NULL OR status = :status)
          AND (:purpose IS NULL OR purpose = :purpose)
    ORDER BY key LIMIT :limit
"""

_Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class LayerState:
    """A state of a layer that passes were measured in, and the form of their drives and responses."""

    layer: str
    state_id: str
    n_inputs: int
    n_outputs: int
    response_dtype: str


@dataclass(frozen=True, slots=True)
class StepRecord:
    """A completed training step."""

    step: int
    epoch: int
    time_s: float
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened; `detail` is a JSON value."""

    time_s: float
    kind: str
    detail: Any


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The learner's arrays, which contain all passes before `next_id`."""

    epoch: int
    next_id: int
    time_s: float
    arrays: Mapping[str, NDArray[Any]]


class LogReader:
    """A read-only view of a pass log; a context manager; used from the thread that made it.

    Each method sees what is durable at the time of its call. Raises `InputError` when there is no file at `path`,
    `RecordError` when it is no pass log, made by a newer labctl or damaged; the message then names what is whole.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection = connect_to_read(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the file. Idempotent."""
        self._connection.close()

    @contextmanager
    def snapshot(self) -> Generator[None]:
        """Let all methods called within see the same moment of a run that is being written."""
        self._select("BEGIN")
        try:
            yield
        finally:
            self._select("COMMIT")

    def meta(self) -> dict[str, Any]:
        """Return what the run noted about itself when it was created."""
        return {key: from_json(value) for key, value in self._select("SELECT key, value FROM meta")}

    def states(self) -> list[LayerState]:
        """Return the states of layers that passes were measured in, in order of appearance."""
        return list(self._states().values())

    def rows(
        self,
        first_id: int,
        last_id: int,
        *,
        block: int | None = None,
        purpose: str | None = None,
        drives: bool = True,
    ) -> RecordedPasses:
        """Return the accepted passes with `first_id` <= id <= `last_id`, in order of id.

        Without `drives`, which a long run has more of than memory, their array is (n, 0).

        Accepted is the last repeat whose status is OK; ids without one are left out. Passes of blocks that differ in
        the form of drives or responses are read one `block` at a time: mixing them raises `ValueError`.
        """
        good = self.passes(first_id, last_id, block=block, purpose=purpose, status=RowStatus.OK)
        parts = [part if drives else _without_drives(part) for part in good]
        if not parts:
            return _decode([], LayerState("", "", 0, 0, "<f4"))
        if len({(part.drives.shape[1], part.values.shape[1], part.values.dtype) for part in parts}) > 1:
            raise ValueError(f"passes {first_id} to {last_id} differ in form: read one block at a time")
        together = join(parts)
        is_last = np.append(together.ids[1:] != together.ids[:-1], True)
        return together if is_last.all() else take(together, is_last)

    def passes(
        self,
        first_id: int = 0,
        last_id: int = MAX_ID,
        *,
        block: int | None = None,
        purpose: str | None = None,
        status: RowStatus | None = None,
    ) -> Iterator[RecordedPasses]:
        """Yield all passes in order of id and repeat, in parts of at most `BATCH_ROWS` rows and one state each."""
        last = last_id * REPEATS_PER_ID + REPEATS_PER_ID - 1
        wanted = {"last": last, "block": block, "purpose": purpose, "status": status}
        first = first_id * REPEATS_PER_ID
        while first <= last and (batch := self._select(_SELECT_PASSES, wanted | {"first": first, "limit": BATCH_ROWS})):
            states = self._states()  # after the batch: a running writer may have added the one it needs
            for number, rows in groupby(batch, key=itemgetter(6)):
                try:
                    yield _decode(list(rows), states[number])
                except ValueError as error:
                    raise damaged(self.path, error) from error
            first = batch[-1][0] + 1

    def purpose_of(self, row_id: int) -> str | None:
        """Return what row `row_id` was measured for, whether it was accepted or not; None when there is none."""
        first = row_id * REPEATS_PER_ID
        query = "SELECT purpose FROM passes WHERE key BETWEEN ? AND ? LIMIT 1"
        for (purpose,) in self._select(query, (first, first + REPEATS_PER_ID - 1)):
            return str(purpose)
        return None

    def blocks(self) -> list[int]:
        """Return the numbers of the blocks that passes were measured for."""
        return [block for (block,) in self._select("SELECT DISTINCT block FROM passes ORDER BY block")]

    def count_by_purpose(self) -> dict[str, int]:
        """Return the number of passes, accepted or not, by purpose."""
        return dict(self._select("SELECT purpose, count(*) FROM passes GROUP BY purpose"))

    def count_rows(self, first_id: int, last_id: int, block: int) -> int:
        """Return how many ids from `first_id` to `last_id` passes of a block were measured under."""
        bounds = first_id * REPEATS_PER_ID, last_id * REPEATS_PER_ID + REPEATS_PER_ID - 1
        query = "SELECT count(DISTINCT id) FROM passes WHERE key BETWEEN ? AND ? AND block = ?"
        ((count,),) = self._select(query, (*bounds, block))
        return int(count)

    def count_by_block(self) -> dict[int, int]:
        """Return the number of passes, accepted or not, by block."""
        return dict(self._select("SELECT block, count(*) FROM passes GROUP BY block"))

    def blocks_in_order(self) -> list[int]:
        """Return the blocks in the order in which they were measured, each stretch of passes of one block once."""
        query = "SELECT block FROM (SELECT block, lag(block) OVER (ORDER BY key) AS before FROM passes)"
        return [block for (block,) in self._select(f"{query} WHERE before IS NULL OR before <> block")]

    def rejected(self) -> dict[RowStatus, int]:
        """Return the number of passes that were not OK by status."""
        counts = self._select("SELECT status, count(*) FROM passes WHERE status <> 0 GROUP BY status ORDER BY status")
        return {RowStatus(status): count for status, count in counts}

    def time_range(self) -> tuple[float, float] | None:
        """Return POSIX seconds of the passes with the lowest and the highest id; None before the first pass."""
        first = self._select("SELECT time_s FROM passes ORDER BY key LIMIT 1")
        last = self._select("SELECT time_s FROM passes ORDER BY key DESC LIMIT 1")
        return (first[0][0], last[0][0]) if first else None

    def steps(self, after: int = -1) -> list[StepRecord]:
        """Return the completed steps with a number above `after`."""
        rows = self._select("SELECT step, epoch, time_s, metrics FROM steps WHERE step > ? ORDER BY step", (after,))
        return [_step(row) for row in rows]

    def last_step(self) -> StepRecord | None:
        """Return the last completed step; None when there is none."""
        rows = self._select("SELECT step, epoch, time_s, metrics FROM steps ORDER BY step DESC LIMIT 1")
        return _step(rows[0]) if rows else None

    def events(self) -> list[Event]:
        """Return all events in order."""
        rows = self._select("SELECT time_s, kind, detail FROM events ORDER BY number")
        return [Event(time_s, kind, from_json(detail)) for time_s, kind, detail in rows]

    def latest_checkpoint(self) -> Checkpoint | None:
        """Return the checkpoint recorded last; None when there is none."""
        query = "SELECT epoch, next_id, time_s, data FROM checkpoints ORDER BY number DESC LIMIT 1"
        for epoch, next_id, time_s, data in self._select(query):
            try:
                return Checkpoint(epoch, next_id, time_s, from_npz(data))
            except ValueError as error:
                raise damaged(self.path, f"checkpoint of epoch {epoch}: {error}") from error
        return None

    def instruments(self) -> dict[str, str]:
        """Return who answered when the run was last gone on with, by role and instrument; empty where none can tell."""
        sessions = [event.detail for event in self.events() if event.kind == "session"]
        return sessions[-1].get("instruments", {}) if sessions else {}

    def kept(self) -> Keep:
        """Return what of the run is kept: everything, unless parts were given up."""
        return next((event.detail["keep"] for event in reversed(self.events()) if event.kind == "pruned"), "everything")

    def is_closed(self) -> bool:
        """Return whether the last writer closed the log; false while one writes and after it was killed."""
        frame = "SELECT kind FROM events WHERE kind IN ('opened', 'closed') ORDER BY number DESC LIMIT 1"
        return self._select(frame) == [("closed",)]

    def last_owner(self) -> Owner | None:
        """Return the process that opened the log for writing last; None when nobody has."""
        query = "SELECT detail FROM events WHERE kind = 'opened' ORDER BY number DESC LIMIT 1"
        for (detail,) in self._select(query):
            return owner_from(from_json(detail))
        return None

    def next_free_id(self) -> int:
        """Return the id after the highest one recorded."""
        ((highest,),) = self._select("SELECT max(key) FROM passes")
        return 0 if highest is None else highest // REPEATS_PER_ID + 1

    def check_integrity(self) -> None:
        """Read the whole file. Raises `RecordError` naming what is damaged and what is still whole."""
        problems = [problem for (problem,) in self._select("PRAGMA integrity_check") if problem != "ok"]
        if problems:
            raise damaged(self.path, problems[0])

    def _states(self) -> dict[int, LayerState]:
        rows = self._select("SELECT id, layer, state_id, n_inputs, n_outputs, response_dtype FROM states ORDER BY id")
        return {number: LayerState(*state) for number, *state in rows}

    def _select(self, query: str, parameters: Mapping[str, object] | tuple[object, ...] = ()) -> list[Any]:
        try:
            return self._connection.execute(query, parameters).fetchall()
        except sqlite3.OperationalError as error:
            raise RecordError(f"{self.path} cannot be read: {error}") from error
        except sqlite3.DatabaseError as error:
            raise damaged(self.path, error) from error


def _step(row: _Row) -> StepRecord:
    step, epoch, time_s, metrics = row
    return StepRecord(step, epoch, time_s, {name: float(number) for name, number in from_json(metrics).items()})


def _without_drives(passes: RecordedPasses) -> RecordedPasses:
    return replace(passes, drives=np.empty((len(passes), 0), passes.drives.dtype))


def _decode(rows: Sequence[_Row], state: LayerState) -> RecordedPasses:
    """Return rows of `_SELECT_PASSES`. Raises `ValueError` when their blobs do not have the state's lengths."""
    n = len(rows)
    keys, steps, blocks, purposes, samples, labels, _, status, times_s, drives, responses = (
        zip(*rows, strict=True) if n else [()] * 11
    )
    ids, repeats = np.divmod(np.array(keys, dtype=np.int64), REPEATS_PER_ID)
    return RecordedPasses(
        ids=ids,
        repeats=repeats,
        steps=np.array(steps, dtype=np.int64),
        blocks=np.array(blocks, dtype=np.int64),
        purposes=np.array(purposes, dtype=np.str_),
        samples=np.array(samples, dtype=np.int64),
        labels=np.array(labels, dtype=np.int64),
        layers=np.full(n, state.layer),
        state_ids=np.full(n, state.state_id),
        status=np.array(status, dtype=np.uint8),
        time_s=np.array(times_s, dtype=np.float64),
        drives=np.frombuffer(b"".join(drives), dtype="<f4").reshape(n, state.n_inputs),
        values=np.frombuffer(b"".join(responses), dtype=state.response_dtype).reshape(n, state.n_outputs),
    )
