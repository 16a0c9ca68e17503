"""What can happen to a bench that nobody looks at: a full disk, a dead server, an unplugged port. Is it whole?

Each disaster befalls a run on virtual instruments, by the command line. It is passed when the run ends in time,
finished, or paused with an exit code that says so; when what was on record then is there in the end, unchanged and
measured once; and when, after the cause is mended, `labctl resume` finishes it and `labctl runs verify` agrees.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from benchmarks import kills, wire_benches
from benchmarks.harness import Row, Target
from benchmarks.wire_benches import ACOUSTICS, MICROWAVE, SERIAL, System

PATIENCE_S = 300.0
BEFORE = 25
"""Passes that are measured before the disaster."""

HURRY = "recovery: {attempts: 100, pause: 200 ms, longest_pause: 1 s}\n"
CLOCK = Path(__file__).with_name("clock_jump.c")
UNWRITABLE = "/proc/labctl-benchmark"
PAUSED = (3, 4, 5)
"""Exit codes: an instrument, the record, asked to stop."""


@dataclass
class Bench:
    """Virtual instruments in `folder`, served by a process."""

    folder: Path
    server: "subprocess.Popen[str]"

    def vanish(self) -> None:
        """Let the instruments be gone: their sockets close, their ports disappear."""
        wire_benches.end(self.server)

    def come_back(self) -> None:
        """Let them be there again."""
        self.server = wire_benches.serve(self.folder)


def measure() -> Iterator[Row]:
    """Yield how many disasters were passed, and beside it which ones."""
    found: dict[str, float] = {}
    for name, (system, strike) in DISASTERS.items():
        if sys.platform != "linux" or (system is ACOUSTICS and shutil.which("jackd") is None):
            print(f"disasters: {name} is left out: it needs Linux, and JACK for sound", file=sys.stderr)
            continue
        found[name] = float(passed(system, strike))
    row = Row("disasters.passed", sum(found.values()), None, None, len(found), "disasters", found)
    yield replace(row, aim=row.held_against(Target(">=", len(found))))


Strike = Callable[[Bench], list[int]]
"""Lets a disaster happen and mends it; returns the exit codes of the commands that met it."""


def passed(system: System, strike: Strike) -> bool:
    """Return whether a run outlives a disaster."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        system.lay(folder)
        bench = Bench(folder, wire_benches.serve(folder))
        try:
            codes = strike(bench)
            at_pause = kills.on_record(folder)
            code = kills.go_on(folder).wait(PATIENCE_S)
            toll = kills.Toll()
            kills.judge(folder, code, [at_pause], toll)
        except subprocess.TimeoutExpired:
            return False
        finally:
            wire_benches.end(bench.server)
    return all(code in (0, *PAUSED) for code in codes) and not toll.lost + toll.repeated + toll.verify_failed


def full_disk(bench: Bench) -> list[int]:
    """Let no file grow beyond 200 blocks of 512 bytes, or of 1024: shells differ."""
    run = wire_benches.start(bench.folder, "run", "wine.yaml", prefix=("sh", "-c", 'ulimit -f 200; exec "$@"', "sh"))
    return [_refused(run.wait(PATIENCE_S))]


def read_only_folder(bench: Bench) -> list[int]:
    """Keep runs where nothing can be written; no run is begun."""
    run = wire_benches.start(bench.folder, "run", "wine.yaml", "--runs", UNWRITABLE)
    code = run.wait(PATIENCE_S)
    return [0 if code == 2 and not list(bench.folder.glob("runs/*")) else 1]


def clock_jump(seconds: int) -> Strike:
    """Let the wall clock jump in the middle of a run, which need not notice."""

    def strike(bench: Bench) -> list[int]:
        library, mark = bench.folder / "clock_jump.so", bench.folder / "jump"
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, CLOCK, "-ldl"], check=True)
        jump = {"LD_PRELOAD": str(library), "CLOCK_JUMPS_WITH": str(mark), "CLOCK_JUMP_S": str(seconds)}
        run = begun(bench.folder, jump)
        mark.touch()
        return [0 if run.wait(PATIENCE_S) == 0 else 1]

    return strike


def power_cycled(bench: Bench) -> list[int]:
    """Switch the instruments off and on again under a rig file that has recovery: the run goes on by itself."""
    rig = bench.folder / "rig-simulated.yaml"
    rig.write_text(rig.read_text(encoding="utf-8").replace("instruments:", f"{HURRY}instruments:", 1), encoding="utf-8")
    run = begun(bench.folder)
    bench.vanish()
    bench.come_back()
    return [0 if run.wait(PATIENCE_S) == 0 else 1]


def unplugged(bench: Bench) -> list[int]:
    """Pull the plug in the middle of a run without recovery, and put it back when that has paused."""
    run = begun(bench.folder)
    bench.vanish()
    code = _refused(run.wait(PATIENCE_S))
    bench.come_back()
    return [code]


def dead_audio_server(bench: Bench) -> list[int]:
    """Kill the JACK server under a run."""
    run = begun(bench.folder)
    for child in psutil.Process(bench.server.pid).children():
        if child.name() == "jackd":
            child.kill()
    code = _refused(run.wait(PATIENCE_S))
    wire_benches.end(bench.server)
    bench.come_back()
    return [code]


def begun(folder: Path, environment: Mapping[str, str] | None = None) -> "subprocess.Popen[str]":
    """Begin a run in `folder`; return when it has measured some passes."""
    process = wire_benches.start(folder, "run", "wine.yaml", environment=environment)
    deadline_s = time.monotonic() + PATIENCE_S
    while len(kills.on_record(folder)) < BEFORE:
        if process.poll() is not None or time.monotonic() > deadline_s:
            raise RuntimeError((folder / "said.txt").read_text(encoding="utf-8")[-2000:])
        time.sleep(0.05)
    return process


def _refused(code: int) -> int:
    """Return an exit code that has to be one of a pause; 1 for another one."""
    return code if code in PAUSED else 1


DISASTERS: Mapping[str, tuple[System, Strike]] = {
    "full disk": (MICROWAVE, full_disk),
    "read-only folder": (MICROWAVE, read_only_folder),
    "clock an hour back": (MICROWAVE, clock_jump(-3600)),
    "clock a day on": (MICROWAVE, clock_jump(86_400)),
    "power-cycled instruments": (MICROWAVE, power_cycled),
    "dead audio server": (ACOUSTICS, dead_audio_server),
    "unplugged serial ports": (SERIAL, unplugged),
}
