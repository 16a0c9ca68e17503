"""Stopping: the first signal ends after the pass under way, the second at once."""

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType


class Stopped(Exception):  # noqa: N818 - a stop that was asked for is not an error
    """The run was asked to stop; everything measured is recorded and the run can be resumed."""


@contextmanager
def stop_on_signals() -> Generator[threading.Event]:
    """Set the yielded event on the first SIGINT or SIGTERM; raise `KeyboardInterrupt` on the second."""
    stop = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature signal asks for
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    previous = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
