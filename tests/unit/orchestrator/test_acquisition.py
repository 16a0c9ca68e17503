"""Acquisition: every row measured once, in a random order, recorded before it is used, and never trusted blindly."""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from labctl.contract.errors import DriveError, InstrumentError, RecordError
from labctl.contract.layer import Drives, PhysicalLayer, Responses, RowIds, RowStatus, Stop
from labctl.learning.requests import Measure, Purpose
from labctl.network.randomness import named_generator
from labctl.orchestrator.acquisition import Acquisition
from labctl.orchestrator.assembly import Task
from labctl.orchestrator.counters import Counters
from labctl.orchestrator.order import counterbalanced_order
from labctl.orchestrator.replay import RecordedRows
from labctl.orchestrator.stopping import Stopped
from labctl.record.passes import RecordedPasses
from labctl.record.reader import LogReader
from labctl.record.writer import PassLog
from labctl.testing.layers import InstantLayer

MakeTask = Callable[..., Task]
Chunks = Iterator[Responses]

N_INPUTS, N_OUTPUTS = 8, 6


def unspoilt(chunk: Responses) -> Chunks:
    yield chunk


class Bench(InstantLayer):
    """Sends rows one by one, remembers which, and passes what comes back through `spoil`."""

    def __init__(self, spoil: Callable[[Responses], Chunks] = unspoilt) -> None:
        super().__init__(N_INPUTS, N_OUTPUTS)
        self.sent: list[int] = []
        self.state = "as built"
        self._spoil = spoil

    @property
    def state_id(self) -> str:
        """Name the state."""
        return self.state

    def measure(self, drives: Drives, ids: RowIds, *, stop: Stop) -> Chunks:
        """Measure row by row."""
        for row in range(len(ids)):
            if stop.is_set():
                return
            self.sent.append(int(ids[row]))
            for chunk in super().measure(drives[row : row + 1], ids[row : row + 1], stop=stop):
                yield from self._spoil(chunk)


class Rejecting(Bench):
    """Marks the first `times` attempts at some rows with a status other than good."""

    def __init__(self, bad: dict[int, int], status: RowStatus = RowStatus.XRUN) -> None:
        super().__init__(self._mark)
        self._bad = bad
        self._status = status

    def _mark(self, chunk: Responses) -> Chunks:
        row = int(chunk.ids[0])
        rejected = self.sent.count(row) <= self._bad.get(row, 0)
        status = np.full(1, self._status if rejected else RowStatus.OK, np.uint8)
        yield replace(chunk, values=np.where(rejected, np.nan, chunk.values).astype(np.float32), status=status)


def request(task: Task, groups: int = 5, k: int = 3, *, block: int = 0, purpose: Purpose = "train") -> Measure:
    samples = np.arange(groups)[::-1].copy()
    labels = np.broadcast_to(np.arange(k), (groups, k))
    inputs = task.rule.network.label.embed(task.features[samples], labels)
    if block:
        inputs = np.random.default_rng(0).random((groups, k, 6)).astype(np.float32)
    return Measure(block, inputs, samples, labels, purpose)


def begun(acquisition: Acquisition, seed: int = 0) -> Acquisition:
    acquisition.begin(named_generator(seed, "order"))
    return acquisition


def acquire_often(acquisition: Acquisition, asked: Measure) -> None:
    for _ in range(2):
        acquisition.acquire(asked)


def recorded(log: PassLog, *, block: int | None = None) -> RecordedPasses:
    log.flush()
    with LogReader(log.path) as reader:
        (passes,) = reader.passes(block=block)
    return passes


def answer(layer: PhysicalLayer, drives: Drives) -> np.ndarray:
    ids = np.arange(len(drives))
    return np.concatenate([chunk.values for chunk in layer.measure(drives, ids, stop=threading.Event())])


def test_responses_come_back_in_the_order_of_the_request(make_task: MakeTask) -> None:
    layer = InstantLayer(N_INPUTS, N_OUTPUTS)
    task = make_task([layer])
    asked = request(task)
    responses = begun(Acquisition(task.rule.network, task.infos, [layer])).acquire(asked)
    drives = task.rule.network.blocks[0].encoder.encode(asked.inputs.reshape(15, -1)).drives
    assert np.array_equal(responses, answer(layer, drives).reshape(5, 3, N_OUTPUTS))


def test_ids_count_up_in_the_order_of_measurement_over_blocks_and_requests(make_task: MakeTask, log: PassLog) -> None:
    layers = [Bench(), Bench()]
    task = make_task(layers)
    acquisition = begun(Acquisition(task.rule.network, task.infos, layers, record=log, first_id=100))
    for block in (0, 1, 0):
        acquisition.acquire(request(task, block=block))
    assert layers[0].sent == [*range(100, 115), *range(130, 145)]
    assert layers[1].sent == [*range(115, 130)]
    assert acquisition.next_id == 145
    assert recorded(log, block=0).ids.tolist() == layers[0].sent


def test_rows_are_measured_in_the_counterbalanced_order_of_the_generator(make_task: MakeTask, log: PassLog) -> None:
    layer = Bench()
    task = make_task([layer])
    asked = request(task, groups=9)
    begun(Acquisition(task.rule.network, task.infos, [layer], record=log), seed=4).acquire(asked)
    order = counterbalanced_order(9, 3, named_generator(4, "order"))
    rows = recorded(log)
    assert rows.samples.tolist() == np.repeat(asked.samples, 3)[order].tolist()
    assert rows.labels.tolist() == asked.labels.ravel()[order].tolist()
    groups = rows.samples.reshape(9, 3)
    assert (groups == groups[:, :1]).all()


def test_a_recorded_row_says_all_about_its_measurement(make_task: MakeTask, log: PassLog) -> None:
    layers = [Bench(), Bench()]
    task = make_task(layers)
    acquisition = begun(Acquisition(task.rule.network, task.infos, layers, record=log))
    acquisition.step = 17
    asked = request(task, groups=2, block=1, purpose="evaluate")
    responses = acquisition.acquire(asked)
    rows = recorded(log)
    assert set(rows.purposes.tolist()) == {"evaluate"}
    assert set(rows.layers.tolist()) == {"instant"}
    assert set(rows.state_ids.tolist()) == {"as built"}
    assert set(rows.steps.tolist()) == {17}
    assert set(rows.blocks.tolist()) == {1}
    assert not rows.repeats.any()
    assert not rows.status.any()
    assert (rows.time_s > 1.6e9).all()
    assert np.array_equal(rows.values, answer(layers[1], rows.drives.copy()))
    group = {int(sample): number for number, sample in enumerate(asked.samples)}
    for sample, label, values in zip(rows.samples.tolist(), rows.labels.tolist(), rows.values, strict=True):
        assert np.array_equal(values, responses[group[sample], label])


def test_counters_say_what_was_spent(make_task: MakeTask) -> None:
    layer = Rejecting({3: 2})
    task = make_task([layer])
    seen: list[tuple[int, int]] = []

    def note(counters: Counters) -> None:
        seen.append((counters.sent, counters.last_id))

    acquisition = begun(Acquisition(task.rule.network, task.infos, [layer], retries=2, on_rows=note))
    acquisition.acquire(request(task))
    acquisition.acquire(request(task, purpose="test"))
    counters = acquisition.counters
    assert counters.used == {"train": 15, "test": 15}
    assert counters.sent == 32
    assert counters.rejected == 2
    assert counters.sent_hardware_s == pytest.approx(32e-6)
    assert [sent for sent, _ in seen] == list(range(1, 33))
    assert seen[-1] == (32, 29)


def test_values_that_an_encoder_clips_are_counted(make_task: MakeTask) -> None:
    layer = Bench()
    task = make_task([layer])
    encoder = task.rule.network.blocks[0].encoder
    asked = request(task)
    encoder.fit(np.linspace(-0.01, 0.01, 60).reshape(10, 6))
    acquisition = begun(Acquisition(task.rule.network, task.infos, [layer]))
    acquisition.acquire(asked)
    assert acquisition.counters.clipped_values == encoder.encode(asked.inputs.reshape(15, -1)).clipped > 0


@pytest.mark.parametrize("status", [status for status in RowStatus if status != RowStatus.OK])
def test_rejected_rows_and_no_others_are_repeated_counted_and_logged(
    make_task: MakeTask, log: PassLog, caplog: pytest.LogCaptureFixture, status: RowStatus
) -> None:
    layer = Rejecting({2: 1, 7: 3}, status)
    task = make_task([layer])
    acquisition = begun(Acquisition(task.rule.network, task.infos, [layer], record=log, retries=3))
    with caplog.at_level(logging.WARNING):
        responses = acquisition.acquire(request(task))
    assert np.isfinite(responses).all()
    assert Counter(layer.sent) == Counter(dict.fromkeys(range(15), 1)) + Counter({2: 1, 7: 3})
    assert acquisition.counters.rejected == 4
    messages = [record.getMessage() for record in caplog.records]
    assert messages == [
        "2 of 15 rows of instant are measured again",
        "1 of 2 rows of instant are measured again",
        "1 of 1 rows of instant are measured again",
    ]
    rows = recorded(log)
    attempts = [(int(i), int(r), int(s)) for i, r, s in zip(rows.ids, rows.repeats, rows.status, strict=True)]
    assert [attempt for attempt in attempts if attempt[0] in (2, 7)] == [
        (2, 0, status),
        (2, 1, 0),
        (7, 0, status),
        (7, 1, status),
        (7, 2, status),
        (7, 3, 0),
    ]


@pytest.mark.parametrize("retries", [0, 2])
def test_a_row_that_keeps_failing_ends_the_run_after_its_retries(
    make_task: MakeTask, log: PassLog, retries: int
) -> None:
    layer = Rejecting({4: 99})
    task = make_task([layer])
    acquisition = begun(Acquisition(task.rule.network, task.infos, [layer], record=log, retries=retries))
    with pytest.raises(InstrumentError, match=rf"^instant: row 4 was rejected .*{retries + 1}.* times"):
        acquisition.acquire(request(task))
    assert layer.sent.count(4) == retries + 1
    assert len(recorded(log)) == 15 + retries


def test_after_the_cause_is_mended_rejected_rows_are_measured_again_under_new_repeats(
    make_task: MakeTask, log: PassLog
) -> None:
    failing, mended = Rejecting({4: 99}), Bench()
    task = make_task([failing])
    with pytest.raises(InstrumentError):
        begun(Acquisition(task.rule.network, task.infos, [failing], record=log, retries=2)).acquire(request(task))
    log.flush()
    with LogReader(log.path) as reader:
        known = RecordedRows(reader, 1)
        acquisition = begun(Acquisition(task.rule.network, task.infos, [mended], record=log, recorded=known))
        responses = acquisition.acquire(request(task))
        assert mended.sent == [4]
        rows = recorded(log)
        assert rows.repeats[rows.ids == 4].tolist() == [0, 1, 2, 3]
        assert np.array_equal(
            responses, begun(Acquisition(task.rule.network, task.infos, [mended])).acquire(request(task))
        )


def test_a_row_can_be_resumed_until_its_repeats_are_used_up(make_task: MakeTask, log: PassLog) -> None:
    task = make_task([Bench()])
    for _ in range(13):
        log.flush()
        with LogReader(log.path) as reader:
            known = RecordedRows(reader, 1)
            layers = [Rejecting({4: 99})]
            with pytest.raises(InstrumentError, match="row 4 was rejected"):
                begun(
                    Acquisition(task.rule.network, task.infos, layers, record=log, recorded=known, retries=20)
                ).acquire(request(task))
    rows = recorded(log)
    assert rows.repeats[rows.ids == 4].tolist() == list(range(256))


def stopping_at(row_id: int, stop: threading.Event) -> Callable[[Responses], Chunks]:
    """Return a fault that presses Ctrl-C while that row is measured."""

    def fault(chunk: Responses) -> Chunks:
        if chunk.ids[0] == row_id:
            stop.set()
        yield chunk

    return fault


def test_a_stop_ends_after_the_row_under_way_and_keeps_it(make_task: MakeTask, log: PassLog) -> None:
    stop = threading.Event()
    layer = Bench(stopping_at(6, stop))
    task = make_task([layer])
    acquisition = begun(Acquisition(task.rule.network, task.infos, [layer], record=log, stop=stop))
    with pytest.raises(Stopped):
        acquisition.acquire(request(task))
    assert layer.sent == list(range(7))
    assert recorded(log).ids.tolist() == list(range(7))


def test_a_stop_with_the_last_row_loses_nothing(make_task: MakeTask) -> None:
    stop = threading.Event()
    layer = Bench(stopping_at(14, stop))
    task = make_task([layer])
    acquisition = begun(Acquisition(task.rule.network, task.infos, [layer], stop=stop))
    assert acquisition.acquire(request(task)).shape == (5, 3, N_OUTPUTS)
    with pytest.raises(Stopped):
        acquisition.acquire(request(task))
    assert layer.sent == list(range(15))


def test_a_stop_is_not_a_reason_to_repeat(make_task: MakeTask) -> None:
    stop = threading.Event()
    layer = Rejecting({0: 99})
    task = make_task([layer])
    acquisition = begun(
        Acquisition(task.rule.network, task.infos, [layer], retries=5, stop=stop, on_rows=lambda _: stop.set())
    )
    with pytest.raises(Stopped):
        acquisition.acquire(request(task))
    assert layer.sent == [0]


def wrong_ids(chunk: Responses) -> Chunks:
    yield replace(chunk, ids=chunk.ids + (chunk.ids == 6))


def wrong_dtype(chunk: Responses) -> Chunks:
    yield replace(chunk, values=chunk.values.astype(np.float64)) if chunk.ids[0] == 6 else chunk


def wrong_width(chunk: Responses) -> Chunks:
    yield replace(chunk, values=chunk.values[:, :-1]) if chunk.ids[0] == 6 else chunk


def not_finite(chunk: Responses) -> Chunks:
    values = np.where(np.arange(N_OUTPUTS) == 1, np.float32(np.nan), chunk.values)
    yield replace(chunk, values=values) if chunk.ids[0] == 6 else chunk


def too_few(chunk: Responses) -> Chunks:
    if chunk.ids[0] < 6:
        yield chunk


def twice(chunk: Responses) -> Chunks:
    yield chunk
    if chunk.ids[0] == 5:
        yield chunk


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (wrong_ids, r"instant: answered rows \[7\]... where \[6\]... were next"),
        (twice, r"instant: answered rows \[5\]... where \[6\]... were next"),
        (wrong_dtype, r"instant: answered float64 values of shape \(1, 6\), promised float32 of shape \(1, 6\)"),
        (wrong_width, r"instant: answered float32 values of shape \(1, 5\), promised float32 of shape \(1, 6\)"),
        (not_finite, r"instant: row 6 is marked good but is not finite"),
        (too_few, r"instant: returned 6 of 15 rows without saying why"),
    ],
)
def test_a_layer_that_breaks_its_promise_is_never_learnt_from(
    make_task: MakeTask, log: PassLog, spoil: Callable[[Responses], Chunks], message: str
) -> None:
    layer = Bench(spoil)
    task = make_task([layer])
    with pytest.raises(InstrumentError, match=message):
        begun(Acquisition(task.rule.network, task.infos, [layer], record=log)).acquire(request(task))
    assert recorded(log).ids.tolist() == list(range(6))


def test_more_rows_than_asked_for_are_refused(make_task: MakeTask) -> None:
    def after_the_last(chunk: Responses) -> Chunks:
        yield chunk
        if chunk.ids[0] == 14:
            yield replace(chunk, ids=chunk.ids + 1)

    layer = Bench(after_the_last)
    task = make_task([layer])
    with pytest.raises(InstrumentError, match=r"answered rows \[15\]"):
        begun(Acquisition(task.rule.network, task.infos, [layer])).acquire(request(task))


def test_a_layer_that_changes_its_state_is_not_measured_any_more(make_task: MakeTask) -> None:
    layers = [Bench(), Bench()]
    task = make_task(layers)
    acquisition = begun(Acquisition(task.rule.network, task.infos, layers))
    acquisition.acquire(request(task))
    layers[0].state = "bumped into"
    acquisition.acquire(request(task, block=1))
    with pytest.raises(InstrumentError, match="its state changed from as built to bumped into during the run"):
        acquisition.acquire(request(task))
    assert len(layers[0].sent) == 15


def test_a_drive_outside_the_layers_range_sends_nothing(make_task: MakeTask, log: PassLog) -> None:
    layer = InstantLayer(6, N_OUTPUTS)
    task = make_task([layer], encoder={"kind": "direct"})
    asked = request(task)
    outside = Measure(0, asked.inputs * 5, asked.samples, asked.labels, "train")
    with pytest.raises(DriveError, match="is outside 0 to 1"):
        begun(Acquisition(task.rule.network, task.infos, [layer], record=log)).acquire(outside)
    log.flush()
    with LogReader(log.path) as reader:
        assert reader.next_free_id() == 0


@pytest.mark.parametrize("stop_at", [0, 1, 7, 14])
def test_recorded_rows_are_never_measured_again(make_task: MakeTask, log: PassLog, stop_at: int) -> None:
    stop = threading.Event()
    first, second = Bench(), Bench()
    task = make_task([first])
    acquisition = begun(
        Acquisition(
            task.rule.network,
            task.infos,
            [first],
            record=log,
            stop=stop,
            on_rows=lambda counters: stop.set() if counters.sent > 15 + stop_at else None,
        )
    )
    acquisition.acquire(request(task))
    with pytest.raises(Stopped):
        acquire_often(acquisition, request(task))
    log.flush()
    with LogReader(log.path) as reader:
        known = RecordedRows(reader, 1)
        resumed = begun(Acquisition(task.rule.network, task.infos, [second], record=log, recorded=known))
        whole = begun(Acquisition(task.rule.network, task.infos, [Bench()]))
        for _ in range(3):
            assert np.array_equal(resumed.acquire(request(task)), whole.acquire(request(task)))
        assert first.sent + second.sent == list(range(45))
        assert resumed.counters.used == {"train": 45}
        assert resumed.counters.sent == len(second.sent)


def test_without_hardware_a_missing_row_is_named(make_task: MakeTask, log: PassLog) -> None:
    layer = Bench()
    task = make_task([layer])
    begun(Acquisition(task.rule.network, task.infos, [layer], record=log)).acquire(request(task))
    log.flush()
    with LogReader(log.path) as reader:
        known = RecordedRows(reader, 1)
        replayed = begun(Acquisition(task.rule.network, task.infos, None, recorded=known))
        replayed.acquire(request(task))
        with pytest.raises(RecordError, match=r"pass 15 \(test\) is not in the log"):
            replayed.acquire(request(task, purpose="test"))


@pytest.mark.parametrize("change", ["order", "samples", "labels"])
def test_a_log_of_something_else_is_refused(make_task: MakeTask, log: PassLog, change: str) -> None:
    layer = Bench()
    task = make_task([layer])
    begun(Acquisition(task.rule.network, task.infos, [layer], record=log)).acquire(request(task))
    log.flush()
    with LogReader(log.path) as reader:
        known = RecordedRows(reader, 1)
        asked = request(task)
        if change == "samples":
            asked = replace(asked, samples=asked.samples + 1)
        if change == "labels":
            asked = replace(asked, labels=asked.labels[:, ::-1].copy())
        acquisition = begun(Acquisition(task.rule.network, task.infos, [layer], recorded=known), seed=change == "order")
        with pytest.raises(
            RecordError, match=r"pass \d+ was measured for another sample or label than this experiment"
        ):
            acquisition.acquire(asked)
        assert all(earlier < later for earlier, later in pairwise(layer.sent))
