"""What an optical layer costs, how well it uses its hardware's time, and whether faults ever give a wrong pair.

The bench is a process of its own: a virtual display that is watched, the simulated medium, pylon's emulated camera.
slmsuite's simulated loop of the same size, in the same run, is what a programmer would have otherwise.
"""

import multiprocessing
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from labctl_drivers.camera import basler
from labctl_drivers.layers import optical
from labctl_drivers.layers.optical import OpticalLayer
from labctl_drivers.slm import window
from labctl_drivers.switch import serial_line
from labctl_simulators.faults import FaultPlan, FaultSchedule
from labctl_simulators.instruments.optics.bench import OpticsBench
from labctl_simulators.loopback import optics as simulated
from threadpoolctl import threadpool_limits

from benchmarks import harness
from benchmarks.harness import Row, Target, over_repeats
from labctl.contract.clock import SimulatedClock, WallClock
from labctl.contract.driver import BuildContext
from labctl.contract.layer import Drives, RowStatus

SIDE = 26
PIXELS = 512
REPEATS = 7
TIMES_SLMSUITE = 4.0
DUTY = 0.97
MOST_ARE_GOOD = 0.9

PHYSICS: dict[str, Any] = {
    "modulator": {"modulation": {"kind": "amplitude", "typical_drive": 0.577}, "fill": 0.957},
    "medium": {"kind": "gaussian", "inputs": SIDE**2, "outputs": SIDE**2, "seed": 1},
    "camera": {"exposure": 0.125, "max_saturated": 0.25},
    "seed": 1,
    "pass": "1 ms",
}
INSTRUMENTS: dict[str, dict[str, Any]] = {
    "slm": {"driver": "slm.window", "size": [PIXELS, PIXELS], "refresh": "10 kHz", "settle": "0 s", "simulated": True},
    "camera": {
        "driver": "camera.basler",
        "address": "0815-0000",
        "region": {"width": PIXELS, "height": PIXELS},
        "exposure": "100 us",
        "simulated": True,
    },
    "shutter": {
        "driver": "light.serial",
        "address": "ASRL/dev/none::INSTR",
        "on": "OPEN",
        "off": "CLOSE",
        "reply": "OK",
        "simulated": True,
    },
}
LAYER: dict[str, Any] = {
    "modulator": "slm",
    "camera": "camera",
    "light": "shutter",
    "modulation": {"kind": "amplitude"},
    "inputs": {"rows": SIDE, "columns": SIDE},
    "outputs": {"rows": SIDE, "columns": SIDE},
    "max_saturated": 0.25,
    "overlap": False,
}
DRIVERS: Mapping[str, Any] = {"slm": window.DRIVER, "camera": basler.DRIVER, "shutter": serial_line.DRIVER}

SIXTY_HERTZ: dict[str, dict[str, Any]] = {
    "slm": {"refresh": "60 Hz", "settle": "60 ms"},
    "camera": {"exposure": "16.67 ms"},
}
LATE_PANEL = {"latency": "40 ms"}
"""So late that an exposure cannot meet the next pattern, however the computer stutters."""

FAULTS = {"failed": 0.03, "stale": 0.03, "overload": 0.03, "delay": 0.002}
FAULTY: dict[str, dict[str, Any]] = {"camera": {"timeout": "150 ms"}}


def twin_of(modulator: Mapping[str, Any]) -> simulated.OpticalLayer:
    """Return the layer that computes what the bench shows."""
    own = {**PHYSICS, "modulator": {**PHYSICS["modulator"], **modulator}}
    settings = simulated.DRIVER.settings.model_validate(own)
    layer = simulated.DRIVER.build(settings, {}, BuildContext("twin", Path(), SimulatedClock(float("inf"))))
    if not isinstance(layer, simulated.OpticalLayer):
        raise TypeError("a layer with faults computes nothing")
    layer.open()
    return layer


def serve(pipe: Connection, instruments: dict[str, dict[str, Any]], modulator: dict[str, Any]) -> None:
    """Serve the bench; say where, begin with faults at a first word and stop at the next."""
    threadpool_limits(1)  # a second thread for one picture takes the processor from who waits for it
    bench = OpticsBench(twin_of(modulator))
    pipe.send(bench.start(instruments, {}))
    if pipe.recv() == "faults" and bench.scene is not None:
        faults = [{"kind": kind, "rate": rate} for kind, rate in FAULTS.items()]
        faults[-1]["delay"] = "200 ms"
        bench.scene.faults = FaultSchedule(FaultPlan.model_validate({"seed": 5, "list": faults}))
        pipe.send("begun")
        pipe.recv()
    bench.stop()


@contextmanager
def bench(
    changes: Mapping[str, Mapping[str, Any]], modulator: Mapping[str, Any] | None = None, **layer: Any
) -> Generator[tuple[OpticalLayer, Callable[[], None]]]:
    """Yield an opened layer on a bench in a process of its own, and what begins that bench's faults."""
    settings = {name: {**own, **changes.get(name, {})} for name, own in INSTRUMENTS.items()}
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()

    def begin_faults() -> None:
        ours.send("faults")
        ours.recv()

    server = spawn.Process(target=serve, args=(theirs, settings, dict(modulator or {})), daemon=True)
    server.start()
    with ExitStack() as stack:
        stack.callback(server.join)
        stack.callback(lambda: ours.send("stop"))
        parts: dict[str, Any] = {}
        for name, leading in ours.recv().items():
            own = {**settings[name], **leading}
            del own["driver"]
            driver = DRIVERS[name]
            parts[name] = driver.build(driver.settings.model_validate(own), _context(name))
        built = optical.DRIVER.build(optical.DRIVER.settings.model_validate(LAYER | layer), parts, _context("bench"))
        if not isinstance(built, OpticalLayer):
            raise TypeError("not an optical layer")
        stack.callback(built.close)
        built.open()
        yield built, begin_faults


def _context(name: str) -> BuildContext:
    return BuildContext(name, Path(), WallClock())


def drives(n_rows: int) -> Drives:
    """Return drives at levels (n_rows, n_inputs)."""
    return (np.random.default_rng(0).integers(0, 256, (n_rows, SIDE**2)) / 255).astype(np.float32)


def seconds_for(layer: OpticalLayer, rows: Drives) -> float:
    """Return how long rows take; nearly all must be good: a computer that stutters may show a pattern too late."""
    begin_s = time.perf_counter()
    chunks = list(layer.measure(rows, np.arange(len(rows)), stop=threading.Event()))
    taken_s = time.perf_counter() - begin_s
    good = np.concatenate([chunk.status for chunk in chunks]) == RowStatus.OK
    if good.mean() < MOST_ARE_GOOD:
        raise AssertionError(f"only {good.sum()} of {len(good)} rows are good")
    return taken_s


class SlmsuiteLoop:
    """slmsuite's simulated modulator and camera of the same size, in this process."""

    def __init__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # it says that there is no graphics card to compute with
            from slmsuite.hardware.cameras.simulated import SimulatedCamera
            from slmsuite.hardware.slms.simulated import SimulatedSLM
        self._slm: Any = SimulatedSLM((PIXELS, PIXELS))
        self._camera: Any = SimulatedCamera(self._slm)
        self._phase = np.random.default_rng(0).random((PIXELS, PIXELS)) * 2 * np.pi

    def pairs_per_s(self, pairs: int) -> float:
        """Return how many patterns a second are set and photographed."""
        begin_s = time.perf_counter()
        for _ in range(pairs):
            self._slm.set_phase(self._phase)
            self._camera.get_image()
        return pairs / (time.perf_counter() - begin_s)


def pairs_row(pairs: int) -> Row:
    """Return patterns and pictures a second on the emulated bench, beside slmsuite's simulated loop."""
    slmsuite = SlmsuiteLoop()
    slmsuite.pairs_per_s(2)
    ours: list[float] = []
    theirs: list[float] = []
    with bench({}) as (layer, _):
        rows = drives(pairs)
        seconds_for(layer, rows[:5])
        for _ in range(REPEATS):
            ours.append(pairs / seconds_for(layer, rows))
            theirs.append(slmsuite.pairs_per_s(max(5, pairs // 10)))
    other = float(np.median(theirs))
    row = over_repeats("optics.pairs_per_s", ours, "1/s", {"slmsuite's simulated loop": other})
    return replace(row, aim=row.held_against(Target(">=", TIMES_SLMSUITE * other)))


def duty_row(passes: int) -> Row:
    """Return the share of the time that display, settling and exposure need by themselves."""
    with bench(SIXTY_HERTZ, LATE_PANEL, overlap=True) as (layer, _):
        rows = drives(passes)
        nominal_s = layer.info.nominal_pass_s * passes
        duties = [nominal_s / seconds_for(layer, rows) for _ in range(REPEATS)]
    row = over_repeats("duty.optics", duties, "of the time")
    return replace(row, aim=row.held_against(Target(">=", DUTY)))


def faults_rows(passes: int) -> Generator[Row]:
    """Yield how many of so many passes under random faults gave a wrong pair, and how many were good."""
    rows = drives(passes)
    with threadpool_limits(1):  # as many as the bench has: other sums round otherwise, to another count now and then
        expected = np.concatenate(
            [chunk.values for chunk in twin_of({}).measure(rows, np.arange(passes), stop=threading.Event())]
        )
    with bench(FAULTY) as (layer, begin_faults):
        begin_faults()
        chunks = list(layer.measure(rows, np.arange(passes), stop=threading.Event()))
    values = np.concatenate([chunk.values for chunk in chunks])
    good = np.concatenate([chunk.status for chunk in chunks]) == RowStatus.OK
    wrong = float(np.count_nonzero((values[good] != expected[: len(values)][good]).any(axis=1)))
    row = Row("optics.wrong_pairs", wrong, None, None, len(values), "pairs")
    yield replace(row, aim=row.held_against(Target("<=", 0.0)))
    yield Row("optics.good_under_faults", float(good.mean()), None, None, len(values), "of the passes")


SUBJECTS: Mapping[str, Callable[[bool], Iterable[Row]]] = {
    "pairs": lambda quick: [pairs_row(50 if quick else 500)],
    "duty": lambda quick: [duty_row(20 if quick else 200)],
    "faults": lambda quick: faults_rows(500 if quick else 20_000),
}


def measure(quick: bool, subjects: Iterable[str]) -> Generator[Row]:
    """Yield the rows of some subjects."""
    for subject in subjects:
        yield from SUBJECTS[subject](quick)


def main() -> None:
    """Run the command."""
    parser = harness.parser("Measure what an optical layer costs.")
    parser.add_argument("--rows", nargs="+", metavar="SUBJECT", choices=list(SUBJECTS), default=list(SUBJECTS))
    arguments = parser.parse_args()
    spread = f"medians over {REPEATS} repeats, low and high their extremes"
    harness.run("optics", spread, arguments, lambda quick: measure(quick, arguments.rows))


if __name__ == "__main__":
    main()
