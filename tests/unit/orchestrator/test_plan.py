"""The plan against what runs really cost."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from labctl.contract.layer import PhysicalLayer
from labctl.orchestrator.assembly import Bench, Task
from labctl.orchestrator.plan import plan_run
from labctl.orchestrator.session import train_and_test
from labctl.orchestrator.training import STATISTICS_SAMPLES
from labctl.record.reader import LogReader
from labctl.record.writer import PassLog
from labctl.testing.layers import InstantLayer
from tests.unit.orchestrator.monitors import Silent

MakeTask = Callable[..., Task]
MakeBench = Callable[[Sequence[PhysicalLayer]], Bench]


PHYLL = {"rule": "phyll", "epochs": 2, "inner_steps": 1}


@pytest.mark.parametrize("n", [24, 300])
@pytest.mark.parametrize("blocks", [1, 2])
@pytest.mark.parametrize(
    ("training", "schedule"),
    [
        *((PHYLL, schedule) for schedule in ("joint", "cached", "greedy", "pipelined")),
        ({"rule": "phyll-contrastive", "epochs": 2}, "pipelined"),
        (PHYLL | {"negatives": 2}, "joint"),
        *((PHYLL | {"reads": 3}, schedule) for schedule in ("joint", "cached", "greedy")),
        *(({"rule": "readout"}, schedule) for schedule in ("joint", "cached")),
    ],
)
def test_a_run_costs_what_was_planned(
    make_task: MakeTask,
    make_bench: MakeBench,
    log: PassLog,
    training: dict[str, Any],
    schedule: str,
    blocks: int,
    n: int,
) -> None:
    layers = [InstantLayer(8, 6), InstantLayer(8, 4, name="second")][:blocks]
    task = make_task(layers, n=n, schedule=schedule, **training)
    n_train, n_test = len(task.data.train_y), len(task.data.test_y)
    assert (n_train > STATISTICS_SAMPLES) == (n == 300)
    plan = plan_run(schedule, task.rule, task.infos, n_train, n_test)
    outcome = train_and_test(task, make_bench(layers), log, Silent(), threading.Event())
    assert outcome.counters.sent == plan.passes
    assert outcome.counters.used["test"] == plan.test_passes
    assert plan.passes == plan.training_passes + plan.test_passes
    assert outcome.counters.sent_hardware_s == pytest.approx(plan.hardware_s)
    log.flush()
    with LogReader(log.path) as reader:
        assert sum(reader.count_by_purpose().values()) == plan.passes
        assert reader.count_by_purpose()["test"] == plan.test_passes


def test_the_literal_loop_and_the_cached_one_cost_what_the_formulas_say(make_task: MakeTask) -> None:
    task = make_task([InstantLayer(8, 6)], epochs=200)
    joint, cached = (plan_run(schedule, task.rule, task.infos, 206, 52) for schedule in ("joint", "cached"))
    assert joint.training_passes == 200 + 200 * 206 * 2
    assert cached.training_passes == 206 * 3
    assert joint.test_passes == cached.test_passes == 52 * 3
    assert joint.disk_bytes > cached.disk_bytes > 0
