"""The thread of a rig host that talks to instruments: one job after another, each of its calls with a deadline."""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from queue import SimpleQueue
from threading import Condition, Thread


class Worker:
    """Does jobs in the order given. Whoever watches it reads `overdue` and `idle` from another thread."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._pending = 0
        self._changed = Condition()
        self._deadline_s: float | None = None
        Thread(target=self._work, name="instruments", daemon=True).start()

    def put(self, job: Callable[[], None]) -> None:
        """Do `job`, which must not raise, after those put before."""
        with self._changed:
            self._pending += 1
        self._jobs.put(job)

    @property
    def idle(self) -> bool:
        """Whether every job is done."""
        return self._pending == 0

    @property
    def overdue(self) -> bool:
        """Whether the call under way takes longer than it may."""
        deadline_s = self._deadline_s
        return deadline_s is not None and time.monotonic() > deadline_s

    def wait_until_idle(self) -> None:
        """Return when every job is done."""
        with self._changed:
            self._changed.wait_for(lambda: self._pending == 0)

    @contextmanager
    def call(self, within_s: float) -> Generator[None]:
        """Do one call into a driver, which may take so long."""
        self._deadline_s = time.monotonic() + within_s
        try:
            yield
        finally:
            self._deadline_s = None

    def _work(self) -> None:
        while True:
            self._jobs.get()()
            with self._changed:
                self._pending -= 1
                self._changed.notify_all()
