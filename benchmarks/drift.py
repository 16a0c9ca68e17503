"""What drift does to a trained network and what becomes of it: drift undone, another medium told from drift.

A model is trained on a simulated acoustic cavity, physics alone. Then the bench is disturbed and the model is tested
with fresh passes, once with what the reference passes tell put to use and once without.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from labctl_simulators.faults import FaultPlan, FaultyLayer

from benchmarks.harness import ROOT, Row, Target
from labctl.config.loading import load_experiment
from labctl.contract.clock import SimulatedClock
from labctl.contract.layer import PhysicalLayer
from labctl.learning.rule import Metrics
from labctl.orchestrator.acquisition import Counters
from labctl.orchestrator.assembly import Bench, Task, build_bench, build_task
from labctl.orchestrator.inference import evaluate, load_trained
from labctl.orchestrator.runs import begin_run
from labctl.orchestrator.session import pinned_arithmetic, train_and_test
from labctl.orchestrator.stopping import StopRequest
from labctl.record.folder import LOG_NAME
from labctl.record.reader import LogReader
from labctl.record.writer import PassLog
from labctl.rig.rig import opened

EXPERIMENT = ROOT / "configs" / "experiments" / "quickstart.yaml"
REFERENCES = 8
LOST_POINTS = Target("<=", 0.5)
PHYSICS_ALONE = (
    "network.blocks.0.skip=false",
    "training.epochs=30",
    "report.baselines=[]",
    f"drift={{every: 100000, references: {REFERENCES}}}",
)


@dataclass(frozen=True)
class Case:
    """A disturbance: of the channels of the layer, or of the medium (settings of the simulated sound card)."""

    name: str
    channels: tuple[Mapping[str, Any], ...] = ()
    medium: str | None = None
    verdicts: tuple[str, ...] = ()


def cases(rms: float) -> list[Case]:
    """Return the disturbances; `rms` is that of the responses."""
    gain, offset = {"kind": "gain", "row": 0}, {"kind": "offset", "row": 0, "spread": 0.1 * rms}
    drifted = ("gain", "offset", "gain and offset")
    return [
        Case("gain10", ({**gain, "spread": 0.1},), verdicts=drifted),
        Case("gain20", ({**gain, "spread": 0.2},), verdicts=drifted),
        Case("offset10", (offset,), verdicts=drifted),
        Case("gain10_offset10", ({**gain, "spread": 0.1}, offset), verdicts=drifted),
        Case("dead", ({"kind": "dead", "row": 0, "channel": "mic-b 395 Hz"},), verdicts=("dead",)),
        Case("warmer2K", medium="{kind: temperature, row: 0, temperature: 22 °C}", verdicts=("re-mixed",)),
        Case("colder2K", medium="{kind: temperature, row: 0, temperature: 18 °C}", verdicts=("re-mixed",)),
        Case("moved", medium="{kind: moved, row: 0, distance: 10 cm}", verdicts=("re-mixed",)),
    ]


class Silent:
    """A monitor that shows nothing."""

    def rows_done(self, counters: Counters) -> None:
        """Say nothing."""

    def epoch_done(self, epoch: int, metrics: Metrics) -> None:
        """Say nothing."""

    def test_begins(self) -> None:
        """Say nothing."""


def measure() -> Iterator[Row]:
    """Yield the rows on drift."""
    with tempfile.TemporaryDirectory() as folder, pinned_arithmetic():
        yield from drift(Path(folder))


def drift(folder: Path) -> Iterator[Row]:
    """Train, disturb, test: points of accuracy lost with and without correction, and what the references told."""
    loaded = load_experiment(EXPERIMENT, PHYSICS_ALONE)
    bench = build_bench(loaded)
    task = build_task(loaded, bench.infos)
    with opened(bench.rigs.values()):
        run, log = begin_run(loaded, bench, task, folder)
        with log:
            outcome = train_and_test(task, bench, log, Silent(), StopRequest())
    n = len(outcome.evaluation.labels)
    accuracy = 100 * outcome.evaluation.accuracy
    yield Row("drift.undisturbed_accuracy", accuracy / 100, *outcome.evaluation.interval, n, "share")
    with LogReader(run / LOG_NAME) as reader:
        rms = float(np.sqrt((reader.rows(0, 2000, block=0, drives=False).values ** 2).mean()))
    for case in cases(rms):
        told, corrected = tested(run, case, correct=True)
        _, uncorrected = tested(run, case, correct=False)
        right = Row(f"drift.{case.name}.told_right", float(told["verdict"] in case.verdicts), None, None, 1, "share")
        yield replace(right, aim=right.held_against(Target(">=", 1)))
        lost = Row(
            f"drift.{case.name}.lost_points",
            accuracy - corrected,
            None,
            None,
            n,
            "points",
            {"uncorrected": accuracy - uncorrected, "reference_passes": float(told["passes"])},
        )
        correctable = "gain" in case.verdicts
        yield replace(lost, aim=lost.held_against(LOST_POINTS)) if correctable else lost


def tested(run: Path, case: Case, *, correct: bool) -> tuple[Mapping[str, Any], float]:
    """Return what the references told on the disturbed bench, and the accuracy of the run's model there in percent."""
    actions = [] if correct else ["drift.on_drift=note", "drift.on_dead=note"]
    medium = [] if case.medium is None else [f"rig.instruments.interface.faults={{disturbances: [{case.medium}]}}"]
    changed = load_experiment(EXPERIMENT, (*PHYSICS_ALONE, "drift.on_remixed=note", *actions, *medium))
    bench = disturbed(build_bench(changed), case.channels)
    task: Task = build_task(changed, bench.infos)
    with LogReader(run / LOG_NAME) as reader:
        load_trained(task, reader)
    with opened(bench.rigs.values()), PassLog.open_for_append(run / LOG_NAME) as log:
        evaluation = evaluate(task, bench, log, StopRequest())
    with LogReader(run / LOG_NAME) as reader:
        told = [event.detail for event in reader.events() if event.kind == "drift"][-1]
    return told, 100 * evaluation.accuracy


def disturbed(bench: Bench, channels: Sequence[Mapping[str, Any]]) -> Bench:
    """Return `bench` with its one layer disturbed."""
    if not channels:
        return bench
    plan = FaultPlan.model_validate({"seed": 1, "disturbances": channels})
    layer: PhysicalLayer = FaultyLayer(bench.layers[0], plan, SimulatedClock(float("inf")))
    rigs = {role: replace(rig, layers=dict.fromkeys(rig.layers, layer)) for role, rig in bench.rigs.items()}
    return Bench(rigs, (layer,))
