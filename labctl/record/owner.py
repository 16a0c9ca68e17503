"""Which process writes a run, and whether it is still there."""

import getpass
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import psutil

_SAME_START_S = 2.0
"""By how much the start of a process may seem to differ when it is asked for twice: clocks are set."""


@dataclass(frozen=True, slots=True)
class Owner:
    """A process: its number, its computer, whose it is, and when it began (POSIX seconds).

    The last two are None in records of labctl 0.1.0.
    """

    pid: int
    host: str
    user: str | None = None
    began_s: float | None = None

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)

    @property
    def alive(self) -> bool | None:
        """Whether it is still there; None when it is on another computer. Its number may be another's by now."""
        if self.host != platform.node():
            return None
        try:
            process = psutil.Process(self.pid)
            same = self.began_s is None or abs(process.create_time() - self.began_s) < _SAME_START_S
            return same and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False


def this_process() -> Owner:
    """Return the process that asks."""
    process = psutil.Process()
    return Owner(os.getpid(), platform.node(), getpass.getuser(), process.create_time())


def owner_from(detail: Mapping[str, Any]) -> Owner:
    """Return the owner that the record of an opened log names."""
    return Owner(detail["pid"], detail["host"], detail.get("user"), detail.get("began_s"))
