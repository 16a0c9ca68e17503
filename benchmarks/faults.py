"""What faults do: whether a drive is ever paired with another's response, and how soon the power is off.

For the first see `wrong_pairs`. For the second something dies at a random moment: the orchestrator, its host, the link.
The bench is a server in a process of its own (`tests/fixtures/drivers/rf_bench.py`), which notes when RF goes off. A
case is unsafe when that is later than 2 s after the fault.
"""

import importlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import harness, wrong_pairs
from benchmarks.harness import ROOT, Row, Target

DRIVERS = ROOT / "tests" / "fixtures" / "drivers"
SAFE_WITHIN_S = 2.0
GIVE_UP_S = 30.0
STAYS_OFF_S = 0.5
FAULTS = ("orchestrator killed", "orchestrator suspended", "host killed", "host hung", "link cut")

ORCHESTRATOR = """\
import sys, threading
from pathlib import Path
import numpy as np
from labctl.config.loading import load_rig
from labctl.rig.client import hosted
from labctl.rig.rig import build_rig, opened
loaded = load_rig(Path(sys.argv[1]))
rig = hosted(loaded, build_rig(loaded))
with opened([rig]):
    for _ in rig.layers["cavity"].measure(np.zeros((10**6, 3), np.float32), np.arange(10**6), stop=threading.Event()):
        pass
"""


def measure(quick: bool) -> Iterator[Row]:
    """Yield passes and wrong pairs; then the slowest switching-off of each fault and of all, and how many were late."""
    yield from wrong_pairs.measure(quick)
    cases = 2 if quick else 50
    sys.path.insert(0, str(DRIVERS))
    times_s: list[float] = []
    for fault in FAULTS:
        of_fault = [_off_after(fault, random.Random(f"{fault} {case}")) for case in range(cases)]
        times_s += of_fault
        yield _largest(f"faults.safe_s_max.{fault.replace(' ', '_')}", of_fault)
    unsafe = sum(time_s > SAFE_WITHIN_S for time_s in times_s)
    yield _aimed(Row("faults.unsafe_cases", unsafe, None, None, len(times_s), "cases"), 0.0)
    yield _aimed(_largest("faults.safe_s_max", times_s), SAFE_WITHIN_S)


def _largest(name: str, times_s: list[float]) -> Row:
    return Row(name, max(times_s), min(times_s), max(times_s), len(times_s), "s")


def _aimed(row: Row, most: float) -> Row:
    aim = row.held_against(Target("<=", most))
    return Row(row.id, row.value, row.low, row.high, row.n, row.unit, aim=aim)


def _off_after(fault: str, rng: random.Random) -> float:
    """Return how many seconds after a fault the power is off, infinite if it stays on."""
    with _bench() as bench, tempfile.TemporaryDirectory() as folder:
        rig = Path(folder) / "rig.yaml"
        rig.write_text(bench.rig(", pass: 5 ms"), encoding="utf-8")
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(ROOT)]), "XDG_STATE_HOME": folder}
        command = [sys.executable, "-c", ORCHESTRATOR, str(rig)]
        with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as orchestrator:
            while bench.ask()["passes"] < 3:
                time.sleep(0.01)
            time.sleep(rng.uniform(0.0, 1.0))
            bench.ask("CLEAR")
            since_s = time.monotonic()
            _strike(fault, orchestrator.pid, bench)
            off_s = _switched_off(bench, since_s)
            orchestrator.kill()
        return off_s - since_s


def _strike(fault: str, orchestrator: int, bench: Any) -> None:
    """Let a fault happen."""
    signals = {"killed": "SIGKILL", "suspended": "SIGSTOP", "hung": "SIGSTOP"}  # by name: Windows has none of them
    who, what = fault.split()
    if what == "cut":
        bench.ask("CUT 0.5")
    elif who == "host":
        children = Path(f"/proc/{orchestrator}/task/{orchestrator}/children").read_text(encoding="utf-8")
        os.kill(int(children.split()[0]), getattr(signal, signals[what]))
    else:
        os.kill(orchestrator, getattr(signal, signals[what]))


def _switched_off(bench: Any, since_s: float) -> float:
    """Return when the power went off to stay off, in monotonic seconds."""
    off_since_s = float("inf")
    while time.monotonic() < since_s + GIVE_UP_S:
        state = bench.ask()
        off_since_s = min(off_since_s, time.monotonic()) if not state["rf"] else float("inf")
        if time.monotonic() - off_since_s > STAYS_OFF_S:
            return state["turned_off_s"]
        time.sleep(0.01)
    return float("inf")


@contextmanager
def _bench() -> Generator[Any]:
    rf_bench: Any = importlib.import_module("rf_bench")  # found in DRIVERS
    command = [sys.executable, str(DRIVERS / "rf_bench.py")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(ROOT)])}
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        if server.stdin is None or server.stdout is None:
            raise RuntimeError("the bench has no pipes")
        bench: Any = rf_bench.Bench(*map(int, server.stdout.readline().split()))
        try:
            yield bench
        finally:
            bench.close()
            server.stdin.close()


if __name__ == "__main__":
    harness.run(
        "faults", "low and high: the soonest and the latest", harness.parser(__doc__ or "").parse_args(), measure
    )
