"""Gives up parts of a finished run's record for room on the disk, and notes in the record what it can do no longer."""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from shutil import disk_usage
from sqlite3 import Connection
from sqlite3 import Error as SqliteError
from time import time

from labctl.config.experiment import Keep
from labctl.contract.errors import InputError, RecordError
from labctl.record.folder import LOG_NAME
from labctl.record.json_text import to_json
from labctl.record.raw import RAW_NAME, give_up_raw, size_of_raw
from labctl.record.reader import LogReader
from labctl.record.schema import connect_to_read, connect_to_write, leave_plain_file
from labctl.record.writer import acquire

COSTS: dict[Keep, str] = {
    "everything": "it can be verified and replayed",
    "passes": "it can be verified and replayed, but not with another window: raw signals are given up",
    "responses": "it can be verified, but no longer replayed: what was sent is given up",
    "result": "it can no longer be verified or replayed: its passes are given up; weights, scores and figures are left",
}
"""What a run can do afterwards, by what is kept."""

BYTES_PER_ROW = 60
"""SQLite's own bytes around the drive and response of a row, measured."""

_ORDER: tuple[Keep, ...] = ("everything", "passes", "responses", "result")
_LOOKS = "('baseline', 'reference')"
"""Looks at the layer keep their drives: a session that uses the model sends them again."""

_SPARE = "FROM checkpoints WHERE number < (SELECT max(number) FROM checkpoints)"

# Of constants alone.
_FREED: dict[Keep, str] = {
    "everything": "SELECT 0",
    "passes": "SELECT 0",
    "responses": f"SELECT (SELECT total(length(drive)) FROM passes WHERE purpose NOT IN {_LOOKS})"  # noqa: S608 - as said
    f" + (SELECT total(length(data)) {_SPARE})",
    "result": f"SELECT (SELECT total(length(drive) + length(response)) + {BYTES_PER_ROW} * count(*) FROM passes)"  # noqa: S608 - as said
    f" + (SELECT total(length(data)) {_SPARE})",
}
_GIVE_UP: dict[Keep, tuple[str, ...]] = {
    "everything": (),
    "passes": (),
    "responses": (
        "INSERT OR IGNORE INTO states (layer, state_id, n_inputs, n_outputs, response_dtype)"
        " SELECT layer, state_id, 0, n_outputs, response_dtype FROM states ORDER BY id",
        "UPDATE passes SET drive = x'', state = (SELECT bare.id FROM states AS whole JOIN states AS bare"  # noqa: S608 - as said
        " USING (layer, state_id, n_outputs, response_dtype) WHERE whole.id = passes.state AND bare.n_inputs = 0)"
        f" WHERE purpose NOT IN {_LOOKS}",
        f"DELETE {_SPARE}",
    ),
    "result": ("DELETE FROM passes", f"DELETE {_SPARE}"),
}


@dataclass(frozen=True)
class Pruning:
    """What a run's log and raw signals take before and after, in bytes."""

    keep: Keep
    before: int
    after: int


def forecast(folder: Path, keep: Keep) -> Pruning:
    """Return what pruning the finished run in `folder` would leave.

    Raises `InputError` for a run that is not finished or has given up more already, `RecordError` for one that is
    damaged.
    """
    path = folder / LOG_NAME
    with LogReader(path) as reader:
        _check(reader, folder, keep)
    with closing(connect_to_read(path)) as connection:
        ((freed,),) = connection.execute(_FREED[keep]).fetchall()
    log, raw = path.stat().st_size, size_of_raw(folder / RAW_NAME)
    left = max(log - int(freed), 0)
    return Pruning(keep, log + raw, left + (raw if keep == "everything" else 0))


def prune(folder: Path, keep: Keep) -> Pruning:
    """Give up what is not to be kept of the finished run in `folder`, and free the disk.

    Raises as `forecast` does, and `RecordError` for a run that somebody writes or a disk without room for a copy of
    what is left, which freeing takes for a while.
    """
    path = folder / LOG_NAME
    with acquire(path):
        expected = forecast(folder, keep)
        free = disk_usage(folder).free
        left = expected.after - (size_of_raw(folder / RAW_NAME) if keep == "everything" else 0)
        if free < 2 * left:
            raise RecordError(
                f"{path} cannot be pruned: the disk has {free / 1e6:,.0f} MB left, and rewriting the file takes twice "
                f"the {left / 1e6:,.0f} MB that would be left"
            )
        with LogReader(path) as reader:
            reader.check_integrity()
            counts = reader.count_by_purpose()
        with closing(connect_to_write(path)) as connection:
            try:
                _give_up(connection, keep, to_json({"keep": keep, "passes": counts, "means": COSTS[keep]}))
                connection.execute("VACUUM")
            except SqliteError as error:
                raise RecordError(f"{path} cannot be pruned: {error}") from error
            leave_plain_file(connection)
        raw = size_of_raw(folder / RAW_NAME)
        if keep != "everything":
            raw -= give_up_raw(folder / RAW_NAME)
    return Pruning(keep, expected.before, path.stat().st_size + raw)


def _check(reader: LogReader, folder: Path, keep: Keep) -> None:
    if not any(event.kind == "test" for event in reader.events()):
        raise InputError(f"{folder.name} is not finished, and needs all of its record: `labctl resume {folder}`")
    kept = reader.kept()
    if _ORDER.index(keep) < _ORDER.index(kept):
        raise InputError(f"{folder.name} keeps its {kept} alone by now: what was given up does not come back")


def _give_up(connection: Connection, keep: Keep, note: str) -> None:
    connection.execute("BEGIN IMMEDIATE")
    for statement in _GIVE_UP[keep]:
        connection.execute(statement)
    connection.execute("INSERT INTO events (time_s, kind, detail) VALUES (?, 'pruned', ?)", (time(), note))
    connection.execute("COMMIT")
