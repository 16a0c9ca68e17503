"""Stopping: the first signal ends after the pass under way, the second at once."""

import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType


class Stopped(Exception):  # noqa: N818 - a stop that was asked for is not an error
    """The run was asked to stop; everything measured is recorded and the run can be resumed."""


@contextmanager
def stop_on_signals(acknowledge: Callable[[], None] = lambda: None) -> Generator[threading.Event]:
    """Set the yielded event on the first SIGINT, SIGTERM or SIGHUP; raise `KeyboardInterrupt` on the second.

    `acknowledge` is called after the first: the pass under way may take minutes.
    """
    stop = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature signal asks for
        if stop.is_set():
            raise KeyboardInterrupt
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
