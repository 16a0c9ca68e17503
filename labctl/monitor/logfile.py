"""The run's log file: what every part of labctl says, with the run and the pass it was said at."""

import logging
from collections.abc import Generator
from contextlib import contextmanager
from logging.handlers import RotatingFileHandler
from pathlib import Path

from labctl.orchestrator.counters import Counters

_FORMAT = "%(asctime)s %(levelname)s run=%(run)s pass=%(pass_id)s %(name)s: %(message)s"


LARGEST_BYTES = 10_000_000
"""A log that grows beyond this is put aside as `run.log.1`, and those before it move on to `run.log.5`."""

KEPT = 5


class PassFilter(logging.Filter):
    """Adds the run's name and the id of the last measured pass to each record."""

    def __init__(self, run: str) -> None:
        super().__init__()
        self._run = run
        self._pass_id: int | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        """Add `run` and `pass_id`; let every record through."""
        record.run = self._run
        record.pass_id = "-" if self._pass_id is None else self._pass_id
        return True

    def rows_done(self, counters: Counters) -> None:
        """Take over the id of the last pass."""
        self._pass_id = counters.last_id


@contextmanager
def log_file(folder: Path) -> Generator[PassFilter]:
    """Write what labctl, its drivers and simulators log, from INFO up, to `run.log` in the run's folder."""
    passes = PassFilter(folder.name)
    handler = RotatingFileHandler(folder / "run.log", maxBytes=LARGEST_BYTES, backupCount=KEPT, encoding="utf-8")
    handler.setFormatter(logging.Formatter(_FORMAT))
    handler.addFilter(passes)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(min(level, logging.INFO))
    try:
        yield passes
    finally:
        root.setLevel(level)
        root.removeHandler(handler)
        handler.close()
