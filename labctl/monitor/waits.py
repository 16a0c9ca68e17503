"""Tells somebody that a run has been waiting for its hardware, and that it goes on again."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from threading import Lock, Timer
from types import TracebackType
from typing import Any, Self

from labctl.config.unattended import Notify
from labctl.contract.errors import Fault
from labctl.contract.layer import Stop
from labctl.monitor.notify import facts_of, notify
from labctl.orchestrator.counters import Counters
from labctl.orchestrator.recovery import INTERLOCK, WAITING
from labctl.record.writer import Note

APART_S = 3600.0
"""Time that two waits that are told are apart at least: an instrument that comes and goes all night is one matter."""

_TO_DO = {
    str(Fault.FAILED): "look after its power, its cables and what it shows; its rig is opened again by itself",
    str(Fault.NOT_READY): "give it time, or see to what it says; its rig is opened again by itself",
    str(Fault.REJECTED): "find what spoils the rows, a level or a disturbance; they are measured again by themselves",
    INTERLOCK: "see to what the interlock says; the run goes on by itself when it is content again",
}


@dataclass
class _Wait:
    """A wait that goes on: when it began, and what was said of it last, `until_s` (monotonic) when it is given up."""

    began_s: float
    since: str
    detail: Mapping[str, Any]
    until_s: float
    told: bool = False


class Waits:
    """Tells `to`, if anybody, of each wait of `run` that lasts; a context manager that has nothing told once left.

    A wait ends with the first good row: a rig that is open and fails again before still waits. Nothing is told once
    `stop` is set, as the end is. Measuring never waits for the telling.
    """

    def __init__(
        self,
        run: str,
        to: Notify | None,
        stop: Stop,
        *,
        apart_s: float = APART_S,
        tell: Callable[[Notify | None, Mapping[str, Any]], None] = notify,
    ) -> None:
        self._run = run
        self._to = to
        self._stop = stop
        self._apart_s = apart_s
        self._tell = tell
        self._lock = Lock()
        self._good_rows = 0
        self._wait: _Wait | None = None
        self._timer: Timer | None = None
        self._quiet_until_s = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._end()

    def hearing(self, note: Note) -> Note:
        """Return a `note` that also lets this hear of waits."""

        def both(kind: str, detail: Mapping[str, Any]) -> None:
            note(kind, detail)
            if kind == WAITING and self._to is not None:
                self._begin_or_go_on(detail, self._to.waiting_after_s)

        return both

    def rows_done(self, counters: Counters) -> None:
        """Take note of good rows: the run measures."""
        good_rows = counters.sent - counters.rejected
        if good_rows == self._good_rows:
            return
        self._good_rows = good_rows
        with self._lock:
            wait = self._end()
            if wait is not None and wait.told and not self._stop.is_set():
                waited_s = round(time.monotonic() - wait.began_s, 1)
                self._say("running", wait, since=_now(), waited_s=waited_s)

    def _begin_or_go_on(self, detail: Mapping[str, Any], after_s: float) -> None:
        now_s = time.monotonic()
        until_s = now_s + detail["longest_s"]
        with self._lock:
            if self._wait is not None:
                self._wait.detail, self._wait.until_s = detail, until_s
                return
            self._wait = _Wait(now_s, _now(), detail, until_s)
            self._timer = Timer(max(after_s, self._quiet_until_s - now_s), self._tell_wait, [self._wait])
            self._timer.daemon = True
            self._timer.start()

    def _end(self) -> _Wait | None:
        """Forget the wait that goes on, if one does, and return it."""
        wait, self._wait = self._wait, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return wait

    def _tell_wait(self, wait: _Wait) -> None:
        with self._lock:
            if wait is not self._wait or self._stop.is_set():
                return
            wait.told = True
            self._quiet_until_s = time.monotonic() + self._apart_s
            longest_s = round(wait.until_s - wait.began_s, 1)
            self._say("waiting", wait, since=wait.since, longest_s=longest_s, do=_TO_DO[wait.detail["fault"]])

    def _say(self, state: str, wait: _Wait, **more: object) -> None:
        self._tell(self._to, facts_of(self._run, state, wait.detail["reason"], **more))


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")
