"""A power cut at random moments of a pass log that is being written: is there afterwards what had been acknowledged?

A process writes a pass log as a run does, in several sessions, and notes what `flush` has acknowledged. A library
preloaded into it (`unsynced.c`) keeps a journal of every write, truncation, rename, removal and sync of its files.
For a cut after any entry of that journal the folder is built as it may then be found: what a sync had made durable is
there; of what came later every write is kept, lost, or torn, sector by sector of 512 bytes, at random.

Simulated are the loss of everything the operating system and the disk had not yet been told to keep, in any order,
and torn writes. Names (creation, rename, removal, length of a file) are lost from the end only, and no longer after
any later sync, as on a file system that keeps a journal of them: ext4, XFS, NTFS. Not simulated are disks that say
they have kept what they have not, and damage to what had been kept before.
"""

import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import IntEnum
from pathlib import Path

import numpy as np

from benchmarks.harness import ROOT, Row, Target
from labctl.contract.errors import LabctlError
from labctl.record.folder import LOG_NAME
from labctl.record.passes import PassRows
from labctl.record.reader import LogReader
from labctl.record.writer import PassLog

SOURCE = Path(__file__).with_name("unsynced.c")
ACKNOWLEDGED = "acknowledged"
SECTOR = 512
SESSIONS = 4
CHUNKS = 60
CHUNK_ROWS = 50
VALUES = 40
HEAD = struct.Struct("<5Q")
NONE = Target("<=", 0)


class Kind(IntEnum):
    """What happened to a file."""

    CREATED = 1
    WRITTEN = 2
    CUT = 3
    SYNC_BEGINS = 4
    SYNC_ENDED = 5
    RENAMED = 6
    REMOVED = 7


@dataclass(frozen=True)
class Entry:
    """An entry of the journal: `first` and `second` are data, or names."""

    kind: Kind
    inode: int
    offset: int
    first: bytes
    second: bytes


@dataclass
class File:
    """A file: what is durable of it, and what was written since, as (offset, data).

    The first `asked` of these were written before the last sync began.
    """

    durable: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes]] = field(default_factory=list[tuple[int, bytes]])
    asked: int = 0


@dataclass
class Toll:
    """What cuts did: how many, passes acknowledged, of them lost, logs that are damaged."""

    cuts: int = 0
    acknowledged: int = 0
    lost: int = 0
    damaged: int = 0


def measure(quick: bool) -> Iterator[Row]:
    """Yield the rows; none, and why, where the writer cannot be watched."""
    if sys.platform != "linux" or shutil.which("cc") is None:
        print("powerloss: left out, as it needs Linux and a C compiler", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory(dir=ROOT / "benchmarks", prefix=".scratch-") as folder:
        toll = cut(Path(folder), cuts=20 if quick else 300, sessions=2 if quick else SESSIONS)
    for name, count, n, unit in (
        ("lost_acknowledged", toll.lost, toll.acknowledged, "passes"),
        ("damaged", toll.damaged, toll.cuts, "cuts"),
    ):
        row = Row(f"powerloss.{name}", count, None, None, n, unit, {"cuts": float(toll.cuts)})
        yield replace(row, aim=row.held_against(NONE))


def cut(folder: Path, *, cuts: int, sessions: int, seed: int = 0) -> Toll:
    """Write a log below `folder`, cut the power at random moments of that, and look at what is left each time."""
    watched = folder / "watched"
    watched.mkdir()
    entries = journal_of(watched, folder, sessions)
    marks = acknowledgements(entries)
    toll, rng = Toll(), random.Random(seed)
    for number in range(cuts):
        end = rng.randrange(1, len(entries) + 1)
        left = folder / f"cut-{number}"
        left.mkdir()
        build(entries[:end], watched, left, rng)
        acknowledged = marks[bisect_right(marks, (end, 0)) - 1][1] if marks and marks[0][0] <= end else 0
        look(left, acknowledged, toll)
        shutil.rmtree(left)
    return toll


def journal_of(watched: Path, folder: Path, sessions: int) -> list[Entry]:
    """Return what a process that writes a pass log into `watched` does to its files."""
    library, journal = folder / "unsynced.so", folder / "journal"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, SOURCE, "-ldl", "-lpthread"], check=True)
    environment = {
        **os.environ,
        "LD_PRELOAD": str(library),
        "UNSYNCED_FOLDER": f"{watched}/",
        "UNSYNCED_JOURNAL": str(journal),
    }
    command = [sys.executable, "-m", "benchmarks.powerloss", str(watched), str(sessions)]
    subprocess.run(command, check=True, cwd=ROOT, env=environment)
    return list(read(journal.read_bytes()))


def read(data: bytes) -> Iterator[Entry]:
    """Yield the entries of a journal."""
    start = 0
    while start < len(data):
        kind, inode, offset, n_first, n_second = HEAD.unpack_from(data, start)
        start += HEAD.size
        middle, end = start + n_first, start + n_first + n_second
        yield Entry(Kind(kind), inode, offset, data[start:middle], data[middle:end])
        start = end


def acknowledgements(entries: list[Entry]) -> list[tuple[int, int]]:
    """Return after how many entries how many passes were acknowledged, in order."""
    found: list[tuple[int, int]] = []
    inode = None
    for number, entry in enumerate(entries, start=1):
        if entry.kind is Kind.CREATED and entry.first.endswith(ACKNOWLEDGED.encode()):
            inode = entry.inode
        elif entry.kind is Kind.WRITTEN and entry.inode == inode:
            found.append((number, int(entry.first)))
    return found


def build(entries: list[Entry], watched: Path, left: Path, rng: random.Random) -> None:
    """Put into `left` what may be found of `watched` after a power cut behind the last of `entries`."""
    names: dict[bytes, File] = {}
    by_inode: dict[int, File] = {}
    folder = File()
    last_sync = max((number for number, entry in enumerate(entries) if entry.kind is Kind.SYNC_ENDED), default=-1)
    later = [n for n, entry in enumerate(entries) if n > last_sync and entry.kind in NAMES]
    forgotten = set(later[rng.randint(0, len(later)) :])
    for number, entry in enumerate(entries):
        if entry.kind is Kind.CREATED:
            by_inode[entry.inode] = File()
        file = by_inode.get(entry.inode, folder)
        if entry.kind not in NAMES:
            _write(entry, file)
        elif number not in forgotten:
            _name(entry, names, file)
    for name, file in names.items():
        path = left / Path(os.fsdecode(name)).relative_to(watched)
        for offset, data in file.pending:
            for start, part in _torn(data, rng):
                _put(file.durable, offset + start, part)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.durable)


NAMES = (Kind.CREATED, Kind.CUT, Kind.RENAMED, Kind.REMOVED)


def _name(entry: Entry, names: dict[bytes, File], file: File) -> None:
    """Let something happen to the names or the length of files."""
    if entry.kind is Kind.CREATED:
        names[entry.first] = file
    elif entry.kind is Kind.CUT:
        _cut(file, entry.offset)
    elif entry.kind is Kind.REMOVED:
        names.pop(entry.first, None)
    elif entry.first in names:
        names[entry.second] = names.pop(entry.first)


def _write(entry: Entry, file: File) -> None:
    """Let something happen to the content of a file."""
    if entry.kind is Kind.WRITTEN:
        file.pending.append((entry.offset, entry.first))
    elif entry.kind is Kind.SYNC_BEGINS:
        file.asked = len(file.pending)
    else:
        for offset, data in file.pending[: file.asked]:
            _put(file.durable, offset, data)
        del file.pending[: file.asked]


def _cut(file: File, length: int) -> None:
    del file.durable[length:]
    file.pending = [(offset, data[: length - offset]) for offset, data in file.pending if offset < length]


def _put(content: bytearray, offset: int, data: bytes) -> None:
    content.extend(bytes(max(0, offset + len(data) - len(content))))
    content[offset : offset + len(data)] = data


def _torn(data: bytes, rng: random.Random) -> Iterator[tuple[int, bytes]]:
    """Yield what is kept of a write: all, nothing, or some of its sectors."""
    share = rng.choice((0.0, 0.5, 1.0))
    for start in range(0, len(data), SECTOR):
        if rng.random() < share:
            yield start, data[start : start + SECTOR]


def look(left: Path, acknowledged: int, toll: Toll) -> None:
    """Read and continue the log in `left`, of which the first `acknowledged` passes have to be there."""
    toll.cuts += 1
    toll.acknowledged += acknowledged
    log = left / LOG_NAME
    try:
        with LogReader(log) as reader:
            reader.check_integrity()
            rows = reader.rows(0, acknowledged - 1)
        with PassLog.open_for_append(log) as writer:
            writer.append_event("looked", {})
    except LabctlError:
        toll.damaged += acknowledged > 0  # before anything was acknowledged there may be no log yet
        toll.lost += acknowledged
        return
    right = [row.tobytes() == drawn(int(number)).tobytes() for number, row in zip(rows.ids, rows.values, strict=True)]
    toll.lost += acknowledged - sum(right)


def write(folder: Path, sessions: int) -> None:
    """Write a pass log as a run does, and beside it how many passes have been acknowledged."""
    rng = random.Random(1)
    log = folder / LOG_NAME
    said = os.open(folder / ACKNOWLEDGED, os.O_CREAT | os.O_WRONLY, 0o600)
    done = 0
    for session in range(sessions):
        with PassLog.open_for_append(log, commit_every_s=0.02) if session else PassLog.create(log, {}) as writer:
            for chunk in range(CHUNKS):
                writer.append(_rows(done))
                done += CHUNK_ROWS
                writer.append_step(chunk + session * CHUNKS, session, {"loss": 0.5})
                if rng.random() < 0.1:
                    writer.append_checkpoint(session, done, {"weights": np.zeros((100, 100))})
                if rng.random() < 0.3:
                    writer.flush()
                    _acknowledge(said, done)
                time.sleep(rng.uniform(0, 0.03))
        _acknowledge(said, done)
    os.close(said)


def _acknowledge(said: int, done: int) -> None:
    os.lseek(said, 0, os.SEEK_SET)
    os.write(said, f"{done:012d}".encode())


def drawn(number: int) -> "np.ndarray[tuple[int], np.dtype[np.float32]]":
    """Return the response (VALUES,) of a pass."""
    return np.random.default_rng(number).random(VALUES, dtype=np.float32)


def _rows(first_id: int) -> PassRows:
    ids = np.arange(first_id, first_id + CHUNK_ROWS)
    values = np.stack([drawn(int(number)) for number in ids])
    return PassRows(
        ids=ids,
        repeat=0,
        step=0,
        block=0,
        purpose="train",
        samples=ids,
        labels=np.zeros(CHUNK_ROWS, np.int64),
        layer="cavity",
        state_id="benchmark",
        status=np.zeros(CHUNK_ROWS, np.uint8),
        time_s=np.full(CHUNK_ROWS, 0.0),
        drives=values,
        responses=values,
    )


if __name__ == "__main__":
    write(Path(sys.argv[1]), int(sys.argv[2]))
