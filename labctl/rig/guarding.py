"""The host's side of its guard."""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from labctl.contract.children import start_child
from labctl.contract.errors import InstrumentError
from labctl.contract.safety import SafeStep
from labctl.rig.safe_plan import steps_as_json

PATIENCE_S = 10.0
"""How long a guard that is told that all is safe may take to end."""


class Guard:
    """A guard at work. Raises `InstrumentError` when it refuses, because an instrument is in use for one thing."""

    def __init__(self, rig: str, plan: Sequence[SafeStep], owner: Mapping[str, Any], silence_s: float) -> None:
        self._process = start_child("labctl.rig.guard")
        begin = {"rig": rig, "plan": steps_as_json(plan), "owner": dict(owner), "pid": os.getpid()}
        self._say({**begin, "silence_s": silence_s})
        stdout = self._process.stdout
        answer = json.loads((stdout.readline() if stdout else b"") or "{}")
        if "ready" not in answer:
            raise InstrumentError(answer.get("instrument", rig), answer.get("cause", "its guard did not start"))

    @property
    def alive(self) -> bool:
        """Whether the guard is there."""
        return self._process.poll() is None

    def beat(self) -> None:
        """Say that the host goes on."""
        self._say({})

    def safe(self, *, certain: bool) -> None:
        """Say whether all is safe, should the host end now."""
        self._say({"safe": certain})

    def name_run(self, run: str) -> None:
        """Pass on which run it is."""
        self._say({"run": run})

    def dismiss(self) -> None:
        """Return when the guard has ended, and the instruments are free for others."""
        with suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        try:
            self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def _say(self, head: Mapping[str, Any]) -> None:
        with suppress(OSError):  # `alive` tells
            if self._process.stdin is not None:
                self._process.stdin.write(json.dumps(head).encode() + b"\n")
                self._process.stdin.flush()
