"""Several operating points of one instrument: what changing over costs, as planned, as spent, as reported."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from labctl.contract.layer import LayerInfo, PhysicalLayer
from labctl.orchestrator.assembly import Bench, Task
from labctl.orchestrator.plan import plan_run
from labctl.orchestrator.session import train_and_test
from labctl.orchestrator.switching import switching_s
from labctl.record.reader import LogReader
from labctl.record.writer import PassLog
from labctl.testing.layers import InstantLayer
from tests.unit.orchestrator.monitors import Silent

MakeTask = Callable[..., Task]
MakeBench = Callable[[Sequence[PhysicalLayer]], Bench]


class Point(InstantLayer):
    """One operating point of the one analyser."""

    def __init__(self, name: str, switch_s: float, instruments: set[str]) -> None:
        super().__init__(8, 6, name=name)
        self._point = replace(super().info, switch_s=switch_s, resources=frozenset(instruments))

    @property
    def info(self) -> LayerInfo:
        """Describe the layer."""
        return self._point


def test_only_a_change_on_the_same_instrument_costs() -> None:
    low, high, elsewhere = (
        Point(name, seconds, {where}).info
        for name, seconds, where in (("low", 2.0, "vna"), ("high", 3.0, "vna"), ("camera", 50.0, "camera"))
    )
    assert switching_s([low, high, elsewhere], [0, 0, 2, 0, 2, 1, 1, 2, 0]) == 3.0 + 2.0
    assert switching_s([low, low], [0, 1, 0]) == 0


@pytest.mark.parametrize("schedule", ["joint", "cached", "greedy"])
def test_a_run_spends_what_was_planned(make_task: MakeTask, make_bench: MakeBench, log: PassLog, schedule: str) -> None:
    layers = [Point("low", 0.5, {"vna"}), Point("high", 0.25, {"vna"})]
    task = make_task(layers, schedule=schedule, epochs=2, batch=7)
    plan = plan_run(schedule, task.rule, task.infos, len(task.data.train_y), len(task.data.test_y))
    outcome = train_and_test(task, make_bench(layers), log, Silent(), threading.Event())
    assert outcome.counters.sent_hardware_s == pytest.approx(plan.hardware_s)
    log.flush()
    with LogReader(log.path) as reader:
        switching = switching_s(task.infos, reader.blocks_in_order())
    assert switching + 1e-6 * plan.passes == pytest.approx(plan.hardware_s)
    assert switching >= 0.25
