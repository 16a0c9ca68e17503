"""What ends an unattended run besides a person at its terminal: time, passes, the disk, a request from elsewhere.

Watches are asked from a thread of their own, so that nothing they wait for delays a measurement.
"""

import json
import logging
import shutil
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from threading import Event, Thread

from labctl.orchestrator.counters import Counters
from labctl.orchestrator.stopping import StopRequest
from labctl.record.owner import this_process

REQUEST_NAME = "stop-request.json"
"""The file in a run's folder by which another process asks it to stop."""

_log = logging.getLogger(__name__)

Watch = Callable[[], str | None]
"""Says why the run should end now, or None. May raise `OSError`, which ends the run as well."""


@contextmanager
def watched(stop: StopRequest, watches: Iterable[Watch], *, every_s: float = 0.25) -> Generator[None]:
    """Ask `watches` every `every_s` while the body runs; the first that has a reason sets `stop`."""
    done, asked = Event(), tuple(watches)

    def look() -> None:
        while not done.wait(every_s):
            reason = next(filter(None, map(_reason, asked)), None)
            if reason is not None and not stop.is_set():
                _log.warning("%s", reason)
                stop.set(reason)

    thread = Thread(target=look, name="watches", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(every_s + 1.0)  # one that hangs on a lost disk must not keep the run from ending


def _reason(watch: Watch) -> str | None:
    try:
        return watch()
    except OSError as error:
        return f"what must be watched cannot be: {error}"


def time_limit(limit_s: float, now_s: Callable[[], float] = time.monotonic) -> Watch:
    """Watch that this session takes no longer than `limit_s`."""
    end_s = now_s() + limit_s
    return lambda: f"the time limit of {limit_s:g} s is reached" if now_s() >= end_s else None


def disk_guard(folder: Path, least_bytes: float) -> Watch:
    """Watch that the disk of `folder` keeps `least_bytes` free: SQLite needs room to end a run in good order."""

    def look() -> str | None:
        free = shutil.disk_usage(folder).free
        if free >= least_bytes:
            return None
        return (
            f"the disk of {folder} has {free / 1e6:,.0f} MB left, less than the {least_bytes / 1e6:,.0f} MB that "
            "`unattended: free_disk` keeps; make room"
        )

    return look


def stop_request(folder: Path, stop: StopRequest) -> Watch:
    """Watch for a request by `ask_to_stop`; one from before is forgotten."""
    file = folder / REQUEST_NAME
    file.unlink(missing_ok=True)

    def look() -> str | None:
        try:
            text = file.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        request = json.loads(text)
        file.unlink(missing_ok=True)
        if request["at_once"]:
            stop.insist()
        return f"{request['user']} asked to stop from {request['host']}"

    return look


def ask_to_stop(folder: Path, *, at_once: bool = False) -> None:
    """Ask the process that writes the run in `folder` to stop. Raises `OSError` when the folder cannot be written."""
    owner, file = this_process(), folder / REQUEST_NAME
    request = {
        "user": owner.user,
        "host": owner.host,
        "at": datetime.now().astimezone().isoformat(),
        "at_once": at_once,
    }
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps(request), encoding="utf-8")
    partial.replace(file)


class PassLimit:
    """Counts the passes of this session and asks to stop at `most`; a layer may end the chunk it is sending."""

    def __init__(self, stop: StopRequest, most: int) -> None:
        self._stop = stop
        self._most = most

    def rows_done(self, counters: Counters) -> None:
        """Count."""
        if counters.sent >= self._most:
            self._stop.set(f"the limit of {self._most:,} passes is reached")
