"""The guard of a rig: outlives a host that is killed, kills one that hangs, and carries out the safe plan then.

It is the host's child and reads what the host says line by line, as JSON: first the plan, then a beat every now and
then, and whether all is safe. When the host ends without having said so, or falls silent, the guard acts. It also holds
the locks of the rig's instruments, so that nobody else has them before they are safe.
"""

import json
import logging
import os
import signal
import sys
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

from platformdirs import user_log_path

from labctl.contract.children import outlive_signals
from labctl.contract.errors import InputError, InstrumentError
from labctl.rig.children import ALL_SAFE, log_to_stderr
from labctl.rig.lock import RigLock
from labctl.rig.safe_plan import carry_out, steps_from_json, ways

TRY_FOR_S = 10.0
"""How long steps that fail are tried again: a switch may need to restart."""

_log = logging.getLogger("labctl.rig.guard")

_Lines = SimpleQueue[bytes | None]


def main() -> None:
    """Guard the host that is this process's parent."""
    outlive_signals()
    log_to_stderr()
    begin = json.loads(sys.stdin.buffer.readline() or "null")
    if begin is None:
        return
    lock = RigLock({step["address"] for step in begin["plan"]}, begin["owner"])
    try:
        plan = ways(steps_from_json(begin["plan"]))
        lock.acquire()
    except InstrumentError as error:
        _answer({"instrument": error.instrument, "cause": error.cause})
        return
    except InputError as error:
        _answer({"instrument": begin["rig"], "cause": str(error)})
        return
    _answer({"ready": True})
    reason = _watch(_lines(), lock, begin["pid"], begin["silence_s"])
    if reason is not None:
        _log_to_file(begin["rig"])
        _log.warning("%s", reason)
        if not carry_out(plan, TRY_FOR_S):
            _log.warning(ALL_SAFE)
    lock.release()


def _answer(head: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(head) + "\n")
    sys.stdout.flush()


def _lines() -> _Lines:
    """Return a queue of what the host says, with None after its end."""
    lines: _Lines = SimpleQueue()

    def read() -> None:
        for line in sys.stdin.buffer:
            if line.endswith(b"\n"):  # else the host was killed in the middle of it
                lines.put(line)
        lines.put(None)

    Thread(target=read, daemon=True).start()
    return lines


def _watch(lines: _Lines, lock: RigLock, host: int, silence_s: float) -> str | None:
    """Return when the host is gone: None if it left everything safe, or why that is not known."""
    safe = True
    while True:
        try:
            line = lines.get(timeout=silence_s)
        except Empty:
            with suppress(ProcessLookupError):
                os.kill(host, getattr(signal, "SIGKILL", signal.SIGTERM))
            return f"the rig host was not heard of for {silence_s:g} s and was killed"
        if line is None:
            return None if safe else "the rig host ended before all was safe"
        said = json.loads(line)
        safe = said.get("safe", safe)
        if "run" in said:
            lock.name_run(said["run"])


def _log_to_file(rig: str) -> None:
    """Log to a file of the user's as well: when a guard acts, there may be nobody left to read what it says."""
    with suppress(OSError):
        handler = logging.FileHandler(user_log_path("labctl", ensure_exists=True) / "guard.log", encoding="utf-8")
        handler.setFormatter(logging.Formatter(f"%(asctime)s %(levelname)s rig={rig}: %(message)s"))
        _log.addHandler(handler)


if __name__ == "__main__":
    main()
