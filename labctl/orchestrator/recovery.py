"""What becomes of a run whose instrument fails, or whose bench must rest: the rig is opened again when it may be."""

import logging
from collections import Counter
from collections.abc import Collection, Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import Any

from labctl.config.rig import Patience
from labctl.contract.errors import Fault, InstrumentError
from labctl.contract.layer import PhysicalLayer, Stop
from labctl.orchestrator.assembly import Bench
from labctl.orchestrator.stopping import pause
from labctl.record.writer import Note
from labctl.rig.rig import Rig, close_parts, make_parts_safe, name_run, open_parts

POLL_S = 0.1

WAITING = "waiting"
"""Kind of the event that says that a run waits for its hardware, why, and how long at most (pauses alone)."""

INTERLOCK = "interlock"
"""What such an event has for a fault when no instrument has failed."""

_log = logging.getLogger(__name__)


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
        self._attempts: Counter[Fault] = Counter()
        self._rows_then = -1

    def __call__(self, layer: PhysicalLayer, failure: InstrumentError, good_rows: int) -> None:
        """Return when the rig of `layer` is open again; `good_rows` is how many this session has measured so far.

        Raises `failure`, or the last one met on the way, when the rig's file allows no more, `Stopped` when asked to
        stop meanwhile.
        """
        rig = next(rig for rig in self._bench.rigs.values() if layer in rig.layers.values())
        if good_rows != self._rows_then:
            self._rows_then = good_rows
            self._attempts.clear()
            self._failures += 1
        while True:
            patience = rig.recovery.after(failure.fault)
            self._check(rig, patience, failure)
            try:
                self._reopen(rig, patience, failure)
            except InstrumentError as error:
                failure = error
            else:
                return

    def _check(self, rig: Rig, patience: Patience, failure: InstrumentError) -> None:
        attempts = self._attempts[failure.fault]
        if attempts >= patience.attempts:
            if attempts:
                failure.add_note(f"the rig was opened again {attempts} times in vain")
            raise failure
        if self._failures > rig.recovery.failures:
            failure.add_note(f"it is failure {self._failures} of this session, more than the rig's file allows")
            raise failure

    def _reopen(self, rig: Rig, patience: Patience, failure: InstrumentError) -> None:
        pauses_s = patience.pauses_s[self._attempts[failure.fault] :]
        pause_s = pauses_s[0]
        self._attempts[failure.fault] += 1
        attempt = self._attempts[failure.fault]
        reason = f"{failure}; attempt {attempt} of {patience.attempts} in {pause_s:g} s"
        _log.warning("rig %s: %s", rig.name, reason)
        self._note(WAITING, {"rig": rig.name, "fault": failure.fault, "reason": reason, "longest_s": sum(pauses_s)})
        with _at_rest([rig], self._run):
            pause(pause_s, self._stop)
        _log.warning("rig %s is open again", rig.name)
        self._note("going on", {"rig": rig.name, "attempts": attempt})


class Rest:
    """Lets a bench rest while something holds it up; `note` keeps when that began and ended."""

    def __init__(self, bench: Bench, run: str, note: Note, stop: Stop) -> None:
        self._bench = bench
        self._run = run
        self._note = note
        self._stop = stop

    def is_set(self) -> bool:
        """Return whether it must rest now."""
        return self._bench.holdup.is_set()

    def take(self) -> None:
        """Return when all rigs have rested, safe and closed, and are open again.

        Raises `InstrumentError` when one does not open, `Stopped` when asked to stop meanwhile.
        """
        holdup = self._bench.holdup
        rigs = self._bench.rigs.values()
        reason = f"{'; '.join(holdup.reasons) or 'an interlock was not content'}; going on when it is content again"
        _log.warning("%s", reason)
        self._note(WAITING, {"fault": INTERLOCK, "reason": reason, "longest_s": holdup.longest_s})
        with _at_rest(rigs, self._run):
            while holdup.reasons:
                pause(POLL_S, self._stop)
        holdup.end()
        _log.warning("all rigs are open again")
        self._note("going on", {})


@contextmanager
def _at_rest(rigs: Collection[Rig], run: str) -> Generator[None]:
    """Have `rigs` safe and closed while the body runs, and open again when it has ended well."""
    make_parts_safe(rigs)
    close_parts(rigs)
    yield
    open_parts(rigs)
    name_run(rigs, run)


def count_waits(details: Iterable[Mapping[str, Any]]) -> Counter[str]:
    """Return how often a run waited by the kind of failure, or because of an interlock, of what the events said."""
    return Counter(str(detail.get("fault", Fault.FAILED.value)) for detail in details)
