"""Interlocks: commands of a rig file that say whether its hardware may work, asked before it does and while it does."""

import subprocess
import time
from collections.abc import Collection, Generator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

from labctl.config.rig import Interlock
from labctl.contract.errors import InstrumentError
from labctl.orchestrator.assembly import Bench
from labctl.orchestrator.holdup import Holdup
from labctl.orchestrator.stopping import StopRequest
from labctl.orchestrator.watching import Watch, watched
from labctl.record.writer import Note
from labctl.rig.rig import Rig


def _keep_nothing(_kind: str, _detail: Mapping[str, Any]) -> None:
    """Keep no reading."""


@contextmanager
def interlocked(bench: Bench, note: Note, stop: StopRequest) -> Generator[None]:
    """Ask the rigs' interlocks before the body runs and while it does; one that is not content then sets `stop`, or
    holds the bench up, as the rig file says.

    Raises `InstrumentError` when one is not content at the beginning.
    """
    require_content(bench.rigs.values(), note)
    questions = [
        _Question(name, settings, note) for rig in bench.rigs.values() for name, settings in rig.interlocks.items()
    ]
    with watched(stop, [each.watch(bench.holdup) for each in questions]) if questions else nullcontext():
        yield


def require_content(rigs: Collection[Rig], note: Note = _keep_nothing) -> None:
    """Ask the interlocks of `rigs` once. Raises `InstrumentError` when one is not content."""
    for rig in rigs:
        for name, settings in rig.interlocks.items():
            if (reason := _Question(name, settings, note).ask()) is not None:
                raise InstrumentError(f"rig {rig.name}", reason)


class _Question:
    """What one interlock is asked; each of its readings is noted."""

    def __init__(self, name: str, settings: Interlock, note: Note) -> None:
        self._name = name
        self._settings = settings
        self._note = note

    def ask(self) -> str | None:
        """Return why it is not content, or None."""
        settings = self._settings
        try:
            done = subprocess.run(  # noqa: S603 - the rig file's own
                settings.command, capture_output=True, text=True, timeout=settings.timeout_s, check=False
            )
        except subprocess.TimeoutExpired:
            return f"interlock {self._name} has not answered within {settings.timeout_s:g} s"
        except OSError as error:
            return f"interlock {self._name} cannot be asked: {error}"
        reading = (done.stdout.strip() or done.stderr.strip()).splitlines()[-1:]
        said = reading[0] if reading else f"code {done.returncode}"
        self._note("interlock", {"name": self._name, "well": done.returncode == 0, "reading": said})
        return None if done.returncode == 0 else f"interlock {self._name} says: {said}"

    def watch(self, holdup: Holdup) -> Watch:
        """Return what asks every now and then, and says when the run should end, or tells `holdup` when it can wait."""
        next_s = time.monotonic() + self._settings.every_s
        since_s: float | None = None

        def look() -> str | None:
            nonlocal next_s, since_s
            now_s = time.monotonic()
            if now_s < next_s:
                return None
            next_s = now_s + self._settings.every_s
            reason = self.ask()
            if self._settings.then == "stop":
                return reason
            holdup.tell(self._name, reason, self._settings.longest_pause_s)
            since_s = None if reason is None else since_s or now_s
            if since_s is not None and now_s - since_s >= self._settings.longest_pause_s:
                return f"{reason}, for {self._settings.longest_pause_s:g} s"
            return None

        return look
