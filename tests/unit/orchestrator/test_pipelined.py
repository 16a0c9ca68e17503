"""The schedule `pipelined`: what joint learns to the bit, layers at once, and an orderly end whatever happens."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from labctl.config.unattended import Drift
from labctl.contract.errors import InstrumentError
from labctl.contract.layer import Drives, PhysicalLayer, Responses, RowIds, Stop
from labctl.orchestrator.acquisition import Acquisition
from labctl.orchestrator.assembly import Bench, Task
from labctl.orchestrator.counters import Counters
from labctl.orchestrator.pipelined import why_not_pipelined
from labctl.orchestrator.session import make_training, train_and_test
from labctl.orchestrator.stopping import Stopped
from labctl.orchestrator.verification import verify
from labctl.record.reader import LogReader
from labctl.record.writer import PassLog
from labctl.rig.rig import Rig
from labctl.testing.layers import InstantLayer
from tests.unit.orchestrator.monitors import Silent

MakeTask = Callable[..., Task]
MakeBench = Callable[[Sequence[PhysicalLayer]], Bench]
MakePipelined = Callable[[Sequence[PhysicalLayer]], Task]
OnRow = Callable[[int, int, Stop], None]

PATIENCE_S = 60.0
STATISTICS, BATCH, STEPS, ROWS = 18, 6, 3, 12
"""Of 18 training samples: three steps an epoch of six pairs."""


@dataclass
class Together:
    """What layers that are measured at once tell of one another."""

    now: int = 0
    most: int = 0
    while_made_safe: list[int] = field(default_factory=list[int])
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def change(self, by: int) -> None:
        """Count a layer that begins or ends."""
        with self._lock:
            self.now += by
            self.most = max(self.most, self.now)


class RowByRow(InstantLayer):
    """Measures row by row; `on_row` is told layer, row and `stop` while each row is under way."""

    def __init__(self, number: int, together: Together, on_row: OnRow) -> None:
        super().__init__(8, 6, seed=number, name=f"layer{number}")
        self._number = number
        self._together = together
        self._on_row = on_row
        self.sent: list[int] = []

    def measure(self, drives: Drives, ids: RowIds, *, stop: Stop) -> Iterator[Responses]:
        """Yield rows until asked to stop."""
        self._together.change(1)
        try:
            for row in range(len(ids)):
                if stop.is_set():
                    return
                self._on_row(self._number, int(ids[row]), stop)
                self.sent.append(int(ids[row]))
                yield from super().measure(drives[row : row + 1], ids[row : row + 1], stop=threading.Event())
        finally:
            self._together.change(-1)

    def make_safe(self) -> None:
        """Note how many layers are measured meanwhile."""
        self._together.while_made_safe.append(self._together.now)


def nothing(layer: int, row_id: int, stop: Stop) -> None:
    """Let every row pass."""


def three(on_row: OnRow = nothing) -> tuple[list[RowByRow], Together]:
    together = Together()
    return [RowByRow(number, together, on_row) for number in range(3)], together


def nothing_more() -> None:
    """Let the meeting end."""


class Meeting:
    """Brings three layers together in the fourth row of the third tick; then layer 1 does something.

    With `hold` the other two stay in their row until they are asked to stop.
    """

    def __init__(self, act: Callable[[], None], *, hold: bool = False) -> None:
        self._act = act
        self._hold = hold
        self._all_are_here = threading.Barrier(3, timeout=PATIENCE_S)
        self._seen = [0, 0, 0]

    def __call__(self, layer: int, row_id: int, stop: Stop) -> None:
        """Count the row."""
        self._seen[layer] += 1
        if self._seen[layer] != STATISTICS + (2 - layer) * ROWS + 4:
            return
        self._all_are_here.wait()
        if layer == 1:
            self._act()
        elif self._hold:
            end_s = time.monotonic() + PATIENCE_S
            while not stop.is_set():
                assert time.monotonic() < end_s
                time.sleep(0.001)


@pytest.fixture
def pipelined_task(make_task: MakeTask) -> MakePipelined:
    return lambda layers: make_task(layers, schedule="pipelined", rule="phyll", epochs=2, batch=BATCH)


RULES: list[dict[str, Any]] = [
    {"rule": "phyll", "negatives": 2, "hardness": 2.0},
    {"rule": "phyll-reference"},
    {"rule": "phyll-contrastive"},
    {"rule": "forward-forward"},
]


@pytest.mark.parametrize("standardise", [True, "running"])
@pytest.mark.parametrize("blocks", [1, 2, 4])
@pytest.mark.parametrize("training", RULES, ids=lambda training: training["rule"])
def test_without_noise_it_learns_what_joint_learns_to_the_bit(
    make_task: MakeTask, training: dict[str, Any], blocks: int, standardise: Literal[True, "running"]
) -> None:
    layers = [InstantLayer(8, 6, seed=block, name=f"layer{block}") for block in range(blocks)]
    learnt: list[dict[str, np.ndarray[Any, Any]]] = []
    for schedule in ("joint", "pipelined"):
        task = make_task(layers, n=40, schedule=schedule, epochs=3, batch=7, **training)
        for block in task.rule.network.blocks:
            block.standardise = standardise
        acquisition = Acquisition(task.rule.network, task.infos, layers)
        make_training(task, task.schedule(acquisition), acquisition).run()
        learnt.append(task.rule.arrays())
    joint, pipelined = learnt
    for name, array in joint.items():
        assert array.tobytes() == pipelined[name].tobytes(), name


def test_three_layers_measure_three_steps_at_once(
    pipelined_task: MakePipelined, make_bench: MakeBench, log: PassLog
) -> None:
    layers, together = three(Meeting(nothing_more))
    train_and_test(pipelined_task(layers), make_bench(layers), log, Silent(), threading.Event())
    assert together.most == 3
    log.flush()
    with LogReader(log.path) as reader:
        rows = [reader.rows(0, 10_000, block=block, purpose="train", drives=False) for block in range(3)]
    for block, of_block in enumerate(rows):
        assert of_block.steps.tolist() == np.repeat(np.arange(2 * STEPS), ROWS).tolist(), block
        assert of_block.samples.tolist()[:ROWS] != of_block.samples.tolist()[ROWS : 2 * ROWS]
        by_step = of_block.samples.reshape(-1, ROWS)
        assert np.array_equal(np.sort(by_step, axis=1), np.sort(rows[0].samples.reshape(-1, ROWS), axis=1))


@pytest.fixture
def fresh(tmp_path: Path) -> Callable[[str], Path]:
    """Create an empty pass log of that name."""

    def create(name: str) -> Path:
        PassLog.create(tmp_path / name, {}).close()
        return tmp_path / name

    return create


def fail() -> None:
    raise InstrumentError("layer1", "it was unplugged")


@dataclass
class Interrupting(Silent):
    """A monitor whose user presses Ctrl-C a second time when `pressed`."""

    pressed: threading.Event = field(default_factory=threading.Event)

    def rows_done(self, counters: Counters) -> None:
        """Raise what the signal does."""
        if self.pressed.is_set():
            raise KeyboardInterrupt


@pytest.mark.parametrize("way_out", ["fault", "stop", "interrupt"])
def test_every_way_out_ends_all_layers_first_and_can_be_resumed_to_the_bit(
    pipelined_task: MakePipelined, make_bench: MakeBench, fresh: Callable[[str], Path], way_out: str
) -> None:
    stop, monitor = threading.Event(), Interrupting()
    acts = {"fault": fail, "stop": stop.set, "interrupt": monitor.pressed.set}
    raised = {"fault": InstrumentError, "stop": Stopped, "interrupt": KeyboardInterrupt}[way_out]
    path, layers_then, together = fresh("run.sqlite"), *three(Meeting(acts[way_out], hold=True))
    with PassLog.open_for_append(path) as log, pytest.raises(raised):
        train_and_test(pipelined_task(layers_then), make_bench(layers_then), log, monitor, stop)
    assert together.while_made_safe == [0, 0, 0]
    sent = [len(layer.sent) for layer in layers_then]
    assert (sent[0], sent[2]) == (STATISTICS + 2 * ROWS + 4, STATISTICS + 4)
    if way_out != "interrupt":  # after which it has the time to go on a little
        assert sent[1] == STATISTICS + ROWS + (3 if way_out == "fault" else 4)

    layers, _ = three()
    resumed, whole = pipelined_task(layers), pipelined_task(layers)
    with PassLog.open_for_append(path) as log:
        train_and_test(resumed, make_bench(layers), log, Silent(), threading.Event())
    if way_out != "interrupt":  # at which the passes under way are lost
        assert all(set(then.sent).isdisjoint(now.sent) for then, now in zip(layers_then, layers, strict=True))
    with PassLog.open_for_append(fresh("whole.sqlite")) as log:
        train_and_test(whole, make_bench(layers), log, Silent(), threading.Event())
    with LogReader(path) as reader:
        assert verify(pipelined_task(layers), reader).identical
    for name, array in whole.rule.arrays().items():
        assert array.tobytes() == resumed.rule.arrays()[name].tobytes(), name


def test_a_layer_that_recovers_is_waited_for(pipelined_task: MakePipelined) -> None:
    layers, _ = three(Meeting(fail, hold=True))
    calm, _ = three()
    failed: list[str] = []

    def recover(layer: PhysicalLayer, failure: InstrumentError, sent: int) -> None:
        failed.append(f"{layer.info.name}: {failure.cause}")

    tasks = [pipelined_task(layers), pipelined_task(calm)]
    for task, own in zip(tasks, (layers, calm), strict=True):
        acquisition = Acquisition(task.rule.network, task.infos, own, recover=recover)
        make_training(task, task.schedule(acquisition), acquisition).run()
    assert failed == ["layer1: it was unplugged"]
    assert [sorted(layer.sent) for layer in layers] == [sorted(layer.sent) for layer in calm]
    for name, array in tasks[0].rule.arrays().items():
        assert array.tobytes() == tasks[1].rule.arrays()[name].tobytes(), name


def test_layers_that_share_an_instrument_or_a_host_are_refused() -> None:
    shared, apart = InstantLayer(8, 6, name="one"), InstantLayer(8, 6, name="other")
    rig = Rig("bench", {}, {"one": shared, "other": apart}, None)
    assert why_not_pipelined([rig], [shared, apart], None) is None
    assert "blocks 1 and 3 share 'one'" in str(why_not_pipelined([rig], [shared, apart, shared], None))
    hosted = replace(rig, host=shared)
    assert "blocks 1 and 2 are on rig 'bench'" in str(why_not_pipelined([hosted], [shared, apart], None))
    rigs = [Rig("a", {}, {"one": shared}, None, host=shared), Rig("b", {}, {"one": apart}, None, host=apart)]
    assert why_not_pipelined(rigs, [shared, apart], None) is None
    assert "drift" in str(why_not_pipelined(rigs, [shared, apart], Drift()))
