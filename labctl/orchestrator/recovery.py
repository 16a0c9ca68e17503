"""What becomes of a run whose instrument fails: the rig is opened again, as often as its file allows."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from labctl.config.rig import RecoverySettings
from labctl.contract.errors import InstrumentError
from labctl.contract.layer import PhysicalLayer, Stop
from labctl.orchestrator.assembly import Bench
from labctl.orchestrator.stopping import pause
from labctl.rig.rig import Rig, close_parts, make_parts_safe, name_run, open_parts

_log = logging.getLogger(__name__)

Note = Callable[[str, Mapping[str, Any]], None]


class Recovery:
    """Opens the rigs of a bench again; `note` keeps each failure, each wait and each return.

    A failure that follows another without a row in between is the same one, still there.
    """

    def __init__(self, bench: Bench, run: str, note: Note, stop: Stop) -> None:
        self._bench = bench
        self._run = run
        self._note = note
        self._stop = stop
        self._failures = 0
        self._attempts = 0
        self._rows_then = -1

    def __call__(self, layer: PhysicalLayer, failure: InstrumentError, rows_sent: int) -> None:
        """Return when the rig of `layer` is open again; `rows_sent` is how many rows this session has measured so far.

        Raises `failure`, or the last one met on the way, when the rig's file allows no more, `Stopped` when asked to
        stop meanwhile.
        """
        rig = next(rig for rig in self._bench.rigs.values() if layer in rig.layers.values())
        policy = rig.recovery
        if policy is None:
            raise failure
        if rows_sent != self._rows_then:
            self._rows_then, self._attempts = rows_sent, 0
            self._failures += 1
        while True:
            self._check(policy, failure)
            try:
                self._reopen(rig, policy, failure)
            except InstrumentError as error:
                failure = error
            else:
                return

    def _check(self, policy: RecoverySettings, failure: InstrumentError) -> None:
        if self._attempts >= policy.attempts:
            failure.add_note(f"the rig was opened again {self._attempts} times in vain")
            raise failure
        if self._failures > policy.failures:
            failure.add_note(f"it is failure {self._failures} of this session, more than the rig's file allows")
            raise failure

    def _reopen(self, rig: Rig, policy: RecoverySettings, failure: InstrumentError) -> None:
        pause_s = min(policy.pause_s * 2**self._attempts, policy.longest_pause_s)
        self._attempts += 1
        reason = f"{failure}; attempt {self._attempts} of {policy.attempts} in {pause_s:g} s"
        _log.warning("rig %s: %s", rig.name, reason)
        self._note("waiting", {"rig": rig.name, "reason": reason})
        make_parts_safe([rig])
        close_parts([rig])
        pause(pause_s, self._stop)
        open_parts([rig])
        name_run([rig], self._run)
        _log.warning("rig %s is open again", rig.name)
        self._note("going on", {"rig": rig.name, "attempts": self._attempts})
