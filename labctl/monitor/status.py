"""Where a run stands, told from its record alone: by whoever asks, while it goes and after it was killed."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from labctl.monitor.progress import Progress, duration
from labctl.record.folder import LOG_NAME
from labctl.record.owner import Owner
from labctl.record.reader import Event, LogReader

State = Literal["running", "waiting", "finished", "stopped", "failed", "crashed", "unknown"]


@dataclass(frozen=True, slots=True)
class Status:
    """A run's state and how far it has come.

    `reason` says why it stopped, failed or waits. `passes` counts all recorded ones, repeats included; what was
    planned is None before a session has begun. Times are POSIX seconds.
    """

    folder: Path
    state: State
    reason: str | None
    owner: Owner | None
    since_s: float | None
    epoch: int
    epochs: int | None
    passes: int
    planned_passes: int | None
    planned_hardware_s: float | None
    last_pass_s: float | None

    @property
    def hardware_left_s(self) -> float | None:
        """Hardware time of the passes still to come, if known."""
        if self.planned_passes is None or self.planned_hardware_s is None:
            return None
        return self.planned_hardware_s * (1 - min(self.passes / max(self.planned_passes, 1), 1.0))


def session_facts(progress: Progress) -> dict[str, object]:
    """Return what a session notes in the record when it begins, so that others can say how far it is."""
    return {
        "planned_passes": progress.plan.passes,
        "planned_hardware_s": progress.plan.hardware_s,
        "epochs": progress.epochs,
    }


def status_of(folder: Path) -> Status:
    """Return where the run in `folder` stands. Raises `RecordError` when its record cannot be read."""
    with LogReader(folder / LOG_NAME) as reader, reader.snapshot():
        events = reader.events()
        owner = reader.last_owner()
        state, reason = _state(events, owner, closed=reader.is_closed())
        sessions: list[dict[str, Any]] = [event.detail for event in events if event.kind == "session"]
        session = sessions[-1] if sessions else {}
        opened_s = [event.time_s for event in events if event.kind == "opened"]
        times = reader.time_range()
        return Status(
            folder=folder,
            state=state,
            reason=reason,
            owner=owner,
            since_s=opened_s[-1] if opened_s else None,
            epoch=max((event.detail["epoch"] for event in events if event.kind == "epoch"), default=0),
            epochs=session.get("epochs"),
            passes=sum(reader.count_by_purpose().values()),
            planned_passes=session.get("planned_passes"),
            planned_hardware_s=session.get("planned_hardware_s"),
            last_pass_s=times[1] if times else None,
        )


def _state(events: list[Event], owner: Owner | None, *, closed: bool) -> tuple[State, str | None]:
    """Return the state and the reason for it."""
    last = next((event for event in reversed(events) if event.kind in ("stopped", "failed", "test", "opened")), None)
    if not closed and owner is not None:
        alive = owner.alive
        if alive is None:
            return "unknown", f"{owner} writes it, or has crashed; ask there"
        if not alive:
            return "crashed", f"{owner} is gone"
        waiting = next((event for event in reversed(events) if event.kind in ("waiting", "going on", "opened")), None)
        if waiting is not None and waiting.kind == "waiting":
            return "waiting", str(waiting.detail["reason"])
        return "running", None
    if any(event.kind == "test" for event in events):
        return "finished", None
    if last is not None and last.kind in ("stopped", "failed"):
        return ("stopped" if last.kind == "stopped" else "failed"), str(last.detail["reason"])
    return "stopped", "stopped at once"


def in_words(status: Status) -> str:
    """Return the status as people read it."""
    head = f"{status.folder.name}: {status.state}"
    if status.state in ("running", "waiting") and status.owner is not None and status.since_s is not None:
        head += f", {status.owner}, for {duration(time.time() - status.since_s)}"
    if status.reason is not None:
        head += f": {status.reason}" if status.state == "waiting" else f" ({status.reason})"
    counts = f"  passes {status.passes:,}"
    if status.planned_passes is not None:
        counts = f"  epoch {status.epoch}/{status.epochs}{counts}/{status.planned_passes:,}"
    left = status.hardware_left_s
    if left is not None and status.state != "finished":
        counts += f"  hardware time left {duration(left)}"
    lines = [head, counts]
    if status.state in ("stopped", "failed", "crashed"):
        lines.append(f"  go on with: labctl resume {status.folder}")
    return "\n".join(lines)


def as_json(status: Status) -> Mapping[str, Any]:
    """Return the status as JSON values."""
    return {
        "run": str(status.folder),
        "state": status.state,
        "reason": status.reason,
        "owner": None if status.owner is None else status.owner.as_json(),
        "since_s": status.since_s,
        "epoch": status.epoch,
        "epochs": status.epochs,
        "passes": status.passes,
        "planned_passes": status.planned_passes,
        "hardware_left_s": status.hardware_left_s,
        "last_pass_s": status.last_pass_s,
    }
