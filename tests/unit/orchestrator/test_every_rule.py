"""What holds of every learning rule: its price is known, it learns, and its weights follow from the pass log."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from labctl.contract.layer import PhysicalLayer
from labctl.orchestrator.assembly import Bench, Task
from labctl.orchestrator.plan import plan_run
from labctl.orchestrator.session import Outcome, train_and_test
from labctl.orchestrator.stopping import Stopped
from labctl.orchestrator.verification import Verification, verify
from labctl.record.reader import LogReader
from labctl.record.writer import PassLog
from labctl.testing.layers import InstantLayer
from tests.unit.orchestrator.monitors import Until

MakeTask = Callable[..., Task]
MakeBench = Callable[[Sequence[PhysicalLayer]], Bench]

FAST = {"epochs": 12, "batch": 15, "optimizer": {"lr": 0.02}}
TWIN = {"twin": {"passes": 150, "hidden": 16, "epochs": 40}}
RULES: dict[str, tuple[dict[str, Any], Sequence[str]]] = {
    "readout": ({}, ("joint", "cached")),
    "phyll": (FAST, ("joint", "cached", "greedy", "pipelined")),
    "phyll-reference": (FAST, ("joint", "cached", "greedy", "pipelined")),
    "phyll-contrastive": (FAST, ("joint", "cached", "pipelined")),
    "forward-forward": (FAST, ("joint", "cached", "greedy", "pipelined")),
    "feedback-alignment": (FAST, ("joint", "cached")),
    "physics-aware": (FAST | TWIN, ("joint", "cached")),
    "dual-adaptive": (FAST | TWIN, ("joint", "cached")),
    "in-silico": (FAST | TWIN, ("joint", "cached")),
    "backpropagation": (FAST, ("joint", "cached")),
    "spsa": (FAST | {"epochs": 40, "directions": 2}, ("joint", "cached")),
}
CASES = [
    pytest.param({"rule": rule, "schedule": schedule, **settings}, id=f"{rule}-{schedule}")
    for rule, (settings, schedules) in RULES.items()
    for schedule in schedules
]


@pytest.fixture
def layers() -> list[InstantLayer]:
    return [InstantLayer(8, 6), InstantLayer(8, 6, seed=1, name="second")]


@pytest.fixture
def skip() -> bool | str:
    """What the second block's weights see past the layer."""
    return True


@pytest.fixture
def run(
    make_task: MakeTask, make_bench: MakeBench, layers: list[InstantLayer], skip: bool | str, tmp_path: Path
) -> Callable[..., tuple[Task, Outcome, Path]]:
    """Train and test by a rule; with `stop_after` interrupt it after that epoch and go on with a fresh task."""

    def train(training: dict[str, Any], stop_after: int | None = None) -> tuple[Task, Outcome, Path]:
        path = tmp_path / f"{stop_after}.sqlite"
        PassLog.create(path, {}).close()
        if stop_after is not None:
            interrupted = Until(stop_after)
            task = make_task(layers, n=60, skip=skip, **training)
            with PassLog.open_for_append(path, commit_every_s=0.2) as log, pytest.raises(Stopped):
                train_and_test(task, make_bench(layers), log, interrupted, interrupted.stop)
        task, monitor = make_task(layers, n=60, skip=skip, **training), Until()
        with PassLog.open_for_append(path, commit_every_s=0.2) as log:
            return task, train_and_test(task, make_bench(layers), log, monitor, monitor.stop), path

    return train


@pytest.mark.parametrize("skip", [True, "input"])
@pytest.mark.parametrize("training", CASES)
def test_a_run_costs_what_was_planned_learns_and_can_be_verified(
    make_task: MakeTask,
    layers: list[InstantLayer],
    skip: bool | str,
    run: Callable[..., tuple[Task, Outcome, Path]],
    training: dict[str, Any],
) -> None:
    task, outcome, path = run(training)
    plan = plan_run(training["schedule"], task.rule, task.infos, len(task.data.train_y), len(task.data.test_y))
    assert outcome.counters.sent == plan.passes
    assert outcome.counters.used["test"] == plan.test_passes
    assert outcome.counters.sent_hardware_s == pytest.approx(plan.hardware_s)
    assert outcome.evaluation.accuracy > 0.6, "three classes, chance is a third"
    with LogReader(path) as reader:
        found = verify(make_task(layers, n=60, skip=skip, **training), reader, layers)
    assert found == Verification(True, 0.0, task.epochs, task.epochs, test_identical=True)


@pytest.mark.parametrize("skip", [True, "input"])
@pytest.mark.parametrize("training", [case for case in CASES if "readout" not in case.values[0]["rule"]])
def test_a_run_that_was_interrupted_ends_with_the_same_weights(
    run: Callable[..., tuple[Task, Outcome, Path]], training: dict[str, Any]
) -> None:
    """Whether its second block sees what it was sent or what entered the network."""
    whole, _, _ = run(training)
    resumed, _, _ = run(training, stop_after=whole.epochs // 2)
    for name, array in whole.rule.arrays().items():
        assert array.tobytes() == resumed.rule.arrays()[name].tobytes(), name
