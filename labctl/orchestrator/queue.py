"""A queue of experiments: a file that survives a reboot. Nothing in it starts by itself."""

import json
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout
from pydantic import TypeAdapter

from labctl.contract.errors import InputError, RecordError

QUEUE_NAME = "queue.json"
QUEUE_SCHEMA = "labctl/queue/1"

EntryState = Literal["waiting", "running", "done", "stopped", "failed"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One experiment: what `labctl run` is told, as absolute paths, and what has become of it.

    `run` is the run's folder once it has one, `reason` why it ended otherwise than done.
    """

    number: int
    experiment: str
    rig: str | None = None
    overrides: tuple[str, ...] = ()
    state: EntryState = "waiting"
    run: str | None = None
    reason: str | None = None

    @property
    def open(self) -> bool:
        """Whether something is left to be done for it."""
        return self.state in ("waiting", "running", "stopped")


@dataclass(frozen=True)
class Content:
    """The entries in order, and why the queue takes on no other one, if it is paused."""

    entries: tuple[Entry, ...] = ()
    paused: str | None = None

    def next(self) -> Entry | None:
        """Return the first entry for which something is left to be done."""
        return next((entry for entry in self.entries if entry.open), None)

    def with_entry(self, entry: Entry) -> "Content":
        """Return the queue with `entry` in place of the one of its number."""
        return replace(self, entries=tuple(entry if each.number == entry.number else each for each in self.entries))


_CONTENT = TypeAdapter(Content)


@dataclass
class Queue:
    """The queue of a folder of runs. Each change is on disk, whole, before the call returns."""

    root: Path
    _lock: FileLock = field(init=False)

    def __post_init__(self) -> None:
        self._lock = FileLock(self.root / "queue.lock")

    def read(self) -> Content:
        """Return what is queued. Raises `RecordError` for a file that is damaged or of a newer labctl."""
        path = self.root / QUEUE_NAME
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return Content()
        try:
            data: dict[str, Any] = json.loads(text)
            if data["schema"] != QUEUE_SCHEMA:
                raise RecordError(f"{path} is of {data['schema']}; this labctl reads {QUEUE_SCHEMA}")
            return _CONTENT.validate_python({"entries": data["entries"], "paused": data["paused"]})
        except (ValueError, KeyError, TypeError) as error:
            raise RecordError(f"{path} is damaged ({error}); move it away and queue again what it shows") from error

    def change(self, change: Callable[[Content], Content]) -> Content:
        """Replace what is queued by what `change` makes of it, and return that."""
        self.root.mkdir(parents=True, exist_ok=True)
        with self._lock:
            content = change(self.read())
            data = {"schema": QUEUE_SCHEMA, "paused": content.paused, "entries": [asdict(e) for e in content.entries]}
            partial = self.root / f".{QUEUE_NAME}.partial"
            with partial.open("w", encoding="utf-8") as file:
                file.write(json.dumps(data, indent=1))
                file.flush()
                os.fsync(file.fileno())
            partial.replace(self.root / QUEUE_NAME)
        return content

    def add(self, experiment: Path, rig: Path | None, overrides: tuple[str, ...]) -> Entry:
        """Queue an experiment and return its entry."""
        numbers = [entry.number for entry in self.read().entries]
        entry = Entry(
            number=max(numbers, default=0) + 1,
            experiment=str(experiment.resolve()),
            rig=None if rig is None else str(rig.resolve()),
            overrides=overrides,
        )
        self.change(lambda content: replace(content, entries=(*content.entries, entry)))
        return entry

    def remove(self, number: int) -> None:
        """Take an entry out; its run, if it has one, stays. Raises `InputError` when there is none or it is running."""
        entry = next((each for each in self.read().entries if each.number == number), None)
        if entry is None:
            raise InputError(f"the queue has no entry {number}; see `labctl queue list`")
        if entry.state == "running":
            raise InputError(f"entry {number} is running; `labctl stop` ends it")
        self.change(
            lambda content: replace(content, entries=tuple(each for each in content.entries if each.number != number))
        )

    def pause(self, reason: str | None) -> None:
        """Let no further entry begin, for `reason`; None lets them again."""
        self.change(lambda content: replace(content, paused=reason))

    @contextmanager
    def worked_off(self) -> Generator[None]:
        """Be the one who works the queue off. Raises `InputError` when somebody else is."""
        self.root.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.root / "queue-run.lock")
        try:
            lock.acquire(blocking=False)
        except Timeout as error:
            raise InputError(f"the queue of {self.root} is being worked off by another process") from error
        try:
            yield
        finally:
            lock.release()
