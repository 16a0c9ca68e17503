"""PhyLL that trains the hardware's own parameters: written in place, replayed from the log, refused elsewhere."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from labctl.contract.capabilities import ParameterSink, WrittenParameters
from labctl.contract.errors import InputError
from labctl.contract.layer import Channel, Drives, PhysicalLayer
from labctl.learning.rule import Metrics
from labctl.orchestrator.assembly import Bench, Task
from labctl.orchestrator.plan import plan_run
from labctl.orchestrator.session import train_and_test
from labctl.orchestrator.verification import verify
from labctl.record.reader import LogReader
from labctl.record.writer import PassLog
from labctl.testing.layers import InstantLayer
from tests.unit.orchestrator.monitors import Silent

MakeTask = Callable[..., Task]
MakeBench = Callable[[Sequence[PhysicalLayer]], Bench]

TRAINING = {"rule": "phyll-spsa", "schedule": "joint", "epochs": 20, "batch": 45, "optimizer": {"lr": 0.02}}


class DimmedLayer(InstantLayer):
    """Its drives pass through attenuators: parameters from 0 (open) to 2 (closed); the first knows two levels alone."""

    def __init__(self, name: str = "dimmed") -> None:
        super().__init__(8, 6, name=name)
        self._written = WrittenParameters(np.zeros(8), np.zeros(8))
        self.writes = 0

    @property
    def parameters(self) -> tuple[Channel, ...]:
        """Describe the attenuators."""
        return tuple(Channel(f"a{i}", "1", 0.0, 2.0, 2 if i == 0 else None) for i in range(8))

    @property
    def written(self) -> WrittenParameters:
        """Return the last write."""
        return self._written

    @property
    def state_id(self) -> str:
        """Name the attenuators, too."""
        return f"{super().state_id}-{self._written.applied.tolist()}"

    def write_parameters(self, values: NDArray[np.floating]) -> WrittenParameters:
        """Set the attenuators."""
        assert ((values >= 0) & (values <= 2)).all()
        assert values[0] in (0, 2), "a parameter of two levels is sent one of them"
        self._written = WrittenParameters(values.astype(np.float64), values.astype(np.float64))
        self.writes += 1
        return self._written

    def _sums(self, drives: Drives) -> NDArray[np.float32]:
        return super()._sums((drives * (1 - self._written.applied / 2)).astype(np.float32))


@pytest.mark.parametrize("skip", [True, "input"])
def test_parameters_are_trained_in_place_and_the_log_tells_all_of_it(
    make_task: MakeTask, make_bench: MakeBench, log: PassLog, skip: bool | str
) -> None:
    layers: list[PhysicalLayer] = [DimmedLayer(), InstantLayer(8, 6, seed=1, name="fixed")]
    task = make_task(layers, n=60, skip=skip, **TRAINING)
    outcome = train_and_test(task, make_bench(layers), log, Silent(), threading.Event())
    plan = plan_run("joint", task.rule, task.infos, len(task.data.train_y), len(task.data.test_y))
    assert outcome.counters.sent == plan.passes == (45 + 20 * 45 * 2 * 2 + 15 * 3) * 2
    assert outcome.evaluation.accuracy > 0.6
    dimmed = layers[0]
    assert isinstance(dimmed, DimmedLayer)
    assert dimmed.writes == 1 + 2 * 20 + 1, "at the beginning, there and back in every step, for the test"
    share = task.rule.arrays()["parameters.share"]
    assert np.abs(share - 0.5).max() > 0.05
    assert dimmed.written.commanded[1:] == pytest.approx(2 * share[1:], abs=1e-6)
    assert dimmed.written.commanded[0] == 2 * np.rint(share[0])
    log.flush()
    with LogReader(log.path) as reader:
        found = verify(make_task(layers, n=60, skip=skip, **TRAINING), reader)
    assert found.identical
    assert found.test_identical
    assert dimmed.writes == 42, "verification touches no hardware"


def test_parameters_descend_the_local_loss(make_task: MakeTask, make_bench: MakeBench, log: PassLog) -> None:
    """With the weights held still, only the parameters can lower the loss."""
    layers = [DimmedLayer()]
    still: dict[str, Any] = {"epochs": 60, "optimizer": {"lr": 1e-12}, "negatives": "all", "parameter_lr": 0.05}
    task = make_task(layers, n=60, **TRAINING | still)
    losses: list[float] = []

    class Watch(Silent):
        def epoch_done(self, epoch: int, metrics: Metrics) -> None:
            """Keep the loss."""
            losses.append(metrics["loss"])

    train_and_test(task, make_bench(layers), log, Watch(), threading.Event())
    assert np.mean(losses[-10:]) < np.mean(losses[:10])


def test_a_layer_without_parameters_is_refused(make_task: MakeTask) -> None:
    assert isinstance(DimmedLayer(), ParameterSink)
    with pytest.raises(InputError, match="no layer here has any that can be set"):
        make_task([InstantLayer(8, 6)], **TRAINING)


class BiasedLayer(DimmedLayer):
    """Its parameters and a `lift` add to all responses alike, whatever is sent."""

    lift = 0.0

    def _sums(self, drives: Drives) -> NDArray[np.float32]:
        alike = self.lift + self._written.applied.sum()
        return np.abs(InstantLayer._sums(self, drives)) + np.float32(alike)


def test_what_parameters_do_to_all_samples_alike_is_no_slope(
    make_task: MakeTask, make_bench: MakeBench, log: PassLog
) -> None:
    layers = [BiasedLayer()]
    task = make_task(layers, n=60, **TRAINING | {"epochs": 1, "perturbation": 0.5, "parameter_lr": 1e-12})
    train_and_test(task, make_bench(layers), log, Silent(), threading.Event())
    assert np.abs(task.rule.arrays()["parameters.adam_first"]).max() < 1e-6


def test_standardisation_follows_the_mean_response(make_task: MakeTask, make_bench: MakeBench, tmp_path: Path) -> None:
    """All responses rise by 5 after the first of 20 steps, each of which then goes a tenth of the way that is left."""
    means: list[NDArray[np.floating]] = []
    for lift in (0.0, 5.0):
        layer = BiasedLayer()
        task = make_task([layer], n=60, **TRAINING | {"parameter_lr": 1e-12})

        class Lift(Silent):
            def epoch_done(self, epoch: int, metrics: Metrics, layer: BiasedLayer = layer, lift: float = lift) -> None:
                """Lift all later responses."""
                layer.lift = lift

        with PassLog.create(tmp_path / f"{lift}.sqlite", {}) as log:
            train_and_test(task, make_bench([layer]), log, Lift(), threading.Event())
        means.append(task.rule.arrays()["block0.response_mean"])
    assert means[1] - means[0] == pytest.approx(5 * (1 - 0.9**19), abs=1e-3)


def test_wrong_labels_that_look_right_are_remembered(make_task: MakeTask, make_bench: MakeBench, log: PassLog) -> None:
    layers = [DimmedLayer()]
    task = make_task(layers, n=60, **TRAINING | {"epochs": 1, "hardness": 1.0})
    train_and_test(task, make_bench(layers), log, Silent(), threading.Event())
    remembered = task.rule.arrays()["negatives.goodness"][task.data.train_index]
    assert (np.count_nonzero(remembered, axis=1) == 2).all(), "the true label and one wrong one were measured"
