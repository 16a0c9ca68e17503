"""Stopping: the first signal ends after the pass under way, the second at once; others may ask, too, and say why."""

import signal
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType

from labctl.contract.layer import Stop

ASKED = "asked to stop"


class Stopped(Exception):  # noqa: N818 - a stop that was asked for is not an error
    """The run was asked to stop, for the reason that is its text; everything measured is recorded, `resume` goes on."""


class StopRequest:
    """Asks a run to end after the pass under way. The first reason counts. Usable from several threads."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._reason = ASKED
        self._at_once = False

    @property
    def reason(self) -> str:
        """Why; what a person would say when nobody has asked."""
        return self._reason

    def is_set(self) -> bool:
        """Return whether the run should end."""
        return self._asked.is_set()

    def set(self, reason: str = ASKED) -> None:
        """Ask."""
        if not self._asked.is_set():
            self._reason = reason
        self._asked.set()

    @property
    def at_once(self) -> bool:
        """Whether the next signal is to end the run at once though it is the first."""
        return self._at_once

    def insist(self) -> None:
        """End the run at once, as a second signal does. Called from a thread other than the main one."""
        self._at_once = True
        signal.raise_signal(signal.SIGINT)


def stopped(stop: Stop) -> Stopped:
    """Return the exception of a run that heeds `stop`."""
    return Stopped(stop.reason if isinstance(stop, StopRequest) else ASKED)


def heed(stop: Stop) -> None:
    """Raise `Stopped` when asked to stop."""
    if stop.is_set():
        raise stopped(stop)


def pause(seconds: float, stop: Stop) -> None:
    """Let wall time pass. Raises `Stopped` when asked to stop meanwhile."""
    end_s = time.monotonic() + seconds
    while not stop.is_set():
        left_s = end_s - time.monotonic()
        if left_s <= 0:
            return
        time.sleep(min(left_s, 0.1))
    raise stopped(stop)


@contextmanager
def stop_on_signals(acknowledge: Callable[[], None] = lambda: None) -> Generator[StopRequest]:
    """Set the yielded request on the first SIGINT, SIGTERM or SIGHUP; raise `KeyboardInterrupt` on the second.

    `acknowledge` is called after the first: the pass under way may take minutes.
    """
    stop = StopRequest()
    signalled = False

    def on_signal(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature signal asks for
        nonlocal signalled
        if signalled or stop.at_once:
            raise KeyboardInterrupt
        signalled = True
        stop.set()
        acknowledge()

    previous = {number: signal.signal(number, on_signal) for number in _signals()}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _signals() -> list[signal.Signals]:
    """Return the signals that ask to stop: a terminal that is closed is one, unless `nohup` said to ignore it."""
    hangup: signal.Signals | None = getattr(signal, "SIGHUP", None)
    heeded = hangup is not None and signal.getsignal(hangup) is not signal.SIG_IGN
    return [signal.SIGINT, signal.SIGTERM, *([hangup] if hangup is not None and heeded else [])]
