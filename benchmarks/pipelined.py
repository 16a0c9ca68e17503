"""What measuring blocks at once gains: three blocks, each on a network analyser and a metasurface of its own.

The instruments are virtual, behind real drivers and transports, and take the time that real ones take. Whether the
network that comes out is as good is asked on simulated optical benches, where training takes seconds.
"""

import tempfile
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks import harness
from benchmarks.harness import Row, Target, over_draws, over_repeats, run_experiment
from benchmarks.instrument_time import simulated, write_rig, write_samples
from labctl.record.folder import LOG_NAME
from labctl.record.reader import LogReader

BLOCKS = 3
SAMPLES = 60
BATCH = 2
SWEEP_S = 0.1

ON_THE_WIRE = f"""\
schema: labctl/experiment/1
name: three-on-the-wire
rigs: {{1: rig1-simulated.yaml, 2: rig2-simulated.yaml, 3: rig3-simulated.yaml}}
seed: 7
data: {{source: csv, path: samples.csv, label: class, test_fraction: 0.1}}
network:
  label: {{kind: one-hot, amplitude: 1.0}}
  blocks:
    - {{layer: 1.cavity, encoder: two-bit, skip: true, units: 16}}
    - {{layer: 2.cavity, encoder: {{kind: quantile, cells: 2}}, skip: true, units: 16}}
    - {{layer: 3.cavity, encoder: {{kind: quantile, cells: 2}}, skip: true, units: 16}}
training: {{rule: phyll, schedule: joint, epochs: 1, batch: {BATCH}}}
report: {{baselines: []}}
"""
BENCH = """\
schema: labctl/rig/1
name: bench
time_scale: instant
layers:
  bench:
    kind: simulated-optics
    modulator: {modulation: {kind: amplitude}, levels: 256}
    medium: {kind: gaussian, inputs: 80, outputs: 160, seed: SEED}
    camera: {bits: 8, noise: 0.01}
    seed: SEED
    pass: 60 ms
"""
DIGITS = """\
schema: labctl/experiment/1
name: three-benches
rigs: {1: bench1.yaml, 2: bench2.yaml, 3: bench3.yaml}
seed: 0
data: {source: digits, test_fraction: 0.2, normalise: max}
network:
  label: {kind: one-hot, amplitude: 2.0}
  blocks:
    - {layer: 1.bench, encoder: {kind: fitted-range, mix: orthogonal}, skip: true, units: 60}
    - {layer: 2.bench, encoder: {kind: fitted-range, mix: orthogonal}, skip: true, units: 60}
    - {layer: 3.bench, encoder: {kind: fitted-range, mix: orthogonal}, skip: true, units: 60}
training: {rule: phyll, schedule: joint, epochs: EPOCHS, batch: 100, theta: 10, optimizer: {lr: 2e-3, decay: cosine}}
report: {baselines: [], page: false}
"""
SCHEDULES = ("joint", "pipelined")


def measure(quick: bool) -> Iterable[Row]:
    """Yield the gain in steps per hour, then what it costs in accuracy."""
    yield speedup_row(repeats=2 if quick else 5)
    yield accuracy_row(seeds=range(3 if quick else 5), epochs=15)


def speedup_row(*, repeats: int, samples: int = SAMPLES) -> Row:
    """Return by what factor `pipelined` takes more training steps per hour than `joint`.

    Both run in turn on the same instruments, as a user runs them. An epoch of T steps takes L T acquisitions one after
    the other, or T + L - 1 times as many at once as there are: the factor cannot be more than L T / (T + L - 1).
    """
    with tempfile.TemporaryDirectory() as folder, ExitStack() as benches:
        desk = Path(folder)
        write_samples(desk, samples)
        (desk / "experiment.yaml").write_text(ON_THE_WIRE, encoding="utf-8")
        for number in range(1, BLOCKS + 1):
            write_rig(desk, f"rig{number}", SWEEP_S)
            benches.enter_context(simulated(desk / f"rig{number}.yaml"))
        rates = [[_steps_per_hour(desk, schedule) for schedule in SCHEDULES] for _ in range(repeats)]
    joint, pipelined = np.array(rates).T
    steps = -(-round(0.9 * samples) // BATCH)
    others = {
        "joint, steps per hour": float(np.median(joint)),
        "pipelined, steps per hour": float(np.median(pipelined)),
        "no factor can be larger than": BLOCKS * steps / (steps + BLOCKS - 1),
    }
    row = over_repeats("pipelined.speedup", (pipelined / joint).tolist(), "x", others)
    return replace(row, aim=row.held_against(Target(">=", 2.5)))


def accuracy_row(*, seeds: Sequence[int], epochs: int) -> Row:
    """Return by how much the test accuracy of `pipelined` is above that of `joint`, of the same seeds."""
    with tempfile.TemporaryDirectory() as folder:
        desk = Path(folder)
        for number in range(1, BLOCKS + 1):
            (desk / f"bench{number}.yaml").write_text(BENCH.replace("SEED", str(number)), encoding="utf-8")
        (desk / "digits.yaml").write_text(DIGITS.replace("EPOCHS", str(epochs)), encoding="utf-8")
        accuracies = np.array([[_accuracy(desk, schedule, seed) for schedule in SCHEDULES] for seed in seeds])
    joint, pipelined = accuracies.T
    others = {"joint": float(joint.mean()), "pipelined": float(pipelined.mean())}
    return over_draws("pipelined.accuracy_difference.digits", (pipelined - joint).tolist(), "points", others)


def _accuracy(desk: Path, schedule: str, seed: int) -> float:
    changes = [f"seed={seed}", f"data.split_seed={seed}", f"training.schedule={schedule}"]
    result, _ = run_experiment(desk / "digits.yaml", desk / "runs", changes)
    return 100 * result["accuracy"]


def _steps_per_hour(desk: Path, schedule: str) -> float:
    """Return the training steps per hour between the first training pass and the last."""
    result, _ = run_experiment(desk / "experiment.yaml", desk / "runs", [f"training.schedule={schedule}"])
    with LogReader(Path(result["run"]) / LOG_NAME) as reader:
        training = [
            (part.time_s[rows], part.steps[rows]) for part in reader.passes() for rows in [part.purposes == "train"]
        ]
    times_s, steps = (np.concatenate(each) for each in zip(*training, strict=True))
    return float(3600 * len(np.unique(steps)) / (times_s.max() - times_s.min()))


def main() -> None:
    """Run the command."""
    arguments = harness.parser("Measure what measuring blocks at once gains.").parse_args()
    spread = "speedup: median and extremes of repeats; accuracy: mean and 95 % interval over seeds"
    harness.run("pipelined", spread, arguments, measure)


if __name__ == "__main__":
    main()
