"""Schedules: the published loop measures everything, the cached one each (sample, label) of the first block once."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from labctl.learning.requests import Measure, Purpose
from labctl.network.randomness import named_generator
from labctl.orchestrator.acquisition import Acquisition
from labctl.orchestrator.assembly import Task
from labctl.orchestrator.schedules import Cached, Joint
from labctl.record.passes import PassRows
from labctl.testing.layers import InstantLayer

MakeTask = Callable[..., Task]


@dataclass
class Kept:
    """A record in memory."""

    rows: list[PassRows]

    def append(self, rows: PassRows) -> None:
        """Keep a chunk."""
        self.rows.append(rows)

    def column(self, name: str) -> list[int]:
        """Return one column of all rows in the order of measurement."""
        return [value for rows in self.rows for value in getattr(rows, name).tolist()]


def build(make_task: MakeTask, blocks: int = 1, **training: object) -> tuple[Task, Acquisition, Kept]:
    layers = [InstantLayer(8, 6) for _ in range(blocks)]
    task, kept = make_task(layers, **training), Kept([])
    acquisition = Acquisition(task.rule.network, task.infos, layers, record=kept)
    acquisition.begin(named_generator(0, "order"))
    return task, acquisition, kept


def ask(task: Task, samples: list[int], labels: list[list[int]], purpose: Purpose = "train", block: int = 0) -> Measure:
    chosen = np.array(samples)
    inputs = task.rule.network.label.embed(task.features[chosen], np.array(labels))
    if block:
        inputs = np.ones((*inputs.shape[:2], 6), np.float32)
    return Measure(block, inputs, chosen, np.array(labels), purpose)


def test_joint_measures_every_request_each_time(make_task: MakeTask) -> None:
    task, acquisition, kept = build(make_task)
    joint = Joint(acquisition)
    first = joint.answer(ask(task, [4, 2], [[0, 1], [2, 0]]))
    again = joint.answer(ask(task, [4, 2], [[0, 1], [2, 0]]))
    assert np.array_equal(first, again)
    assert Counter(zip(kept.column("samples"), kept.column("labels"), strict=True)) == {
        (4, 0): 2,
        (4, 1): 2,
        (2, 2): 2,
        (2, 0): 2,
    }
    assert not joint.remembers_training


def test_cached_answers_what_joint_would(make_task: MakeTask) -> None:
    task, acquisition, _ = build(make_task)
    cached, joint = Cached(acquisition, task.rule.network, task.features), Joint(acquisition)
    for samples, labels in (([4, 2], [[0, 1], [2, 0]]), ([2, 9], [[1], [1]]), ([9, 9, 4], [[2, 1, 0]] * 3)):
        request = ask(task, samples, labels)
        np.testing.assert_allclose(cached.answer(request), joint.answer(request), rtol=1e-6)


def test_cached_measures_each_sample_once_with_all_its_labels_side_by_side(make_task: MakeTask) -> None:
    task, acquisition, kept = build(make_task)
    cached = Cached(acquisition, task.rule.network, task.features)
    generator = np.random.default_rng(0)
    for _ in range(30):
        samples = generator.choice(15, size=4, replace=False)
        cached.answer(ask(task, samples.tolist(), generator.integers(3, size=(4, 2)).tolist()))
    pairs = Counter(zip(kept.column("samples"), kept.column("labels"), strict=True))
    assert pairs == {(sample, label): 1 for sample in range(15) for label in range(3)}
    groups = np.array(kept.column("samples")).reshape(15, 3)
    assert (groups == groups[:, :1]).all()
    places = np.array(kept.column("labels")).reshape(15, 3)
    assert (np.sort(places, axis=1) == np.arange(3)).all()
    assert len({tuple(order) for order in places.tolist()}) > 1
    assert cached.remembers_training


def test_statistics_and_training_share_their_measurements(make_task: MakeTask) -> None:
    task, acquisition, kept = build(make_task)
    cached = Cached(acquisition, task.rule.network, task.features)
    cached.answer(ask(task, [3, 5], [[0], [1]], "statistics"))
    cached.answer(ask(task, [3, 5], [[0, 1], [1, 2]]))
    assert len(kept.column("ids")) == 6
    assert {rows.purpose for rows in kept.rows} == {"statistics"}


@pytest.mark.parametrize("purpose", ["test", "evaluate", "predict"])
def test_a_result_never_comes_from_the_cache(make_task: MakeTask, purpose: Purpose) -> None:
    task, acquisition, kept = build(make_task)
    cached = Cached(acquisition, task.rule.network, task.features)
    cached.answer(ask(task, [3], [[0, 1, 2]]))
    for _ in range(2):
        cached.answer(ask(task, [3], [[0, 1, 2]], purpose))
    assert Counter(rows.purpose for rows in kept.rows for _ in rows.ids) == {"train": 3, purpose: 6}


def test_later_blocks_are_measured_each_time(make_task: MakeTask) -> None:
    task, acquisition, kept = build(make_task, blocks=2)
    cached = Cached(acquisition, task.rule.network, task.features)
    task.rule.network.blocks[1].encoder.fit(np.random.default_rng(0).random((5, 6)))
    for _ in range(3):
        cached.answer(ask(task, [3], [[0, 1]], block=1))
    assert [rows.block for rows in kept.rows for _ in rows.ids] == [1] * 6
    assert not cached.remembers_training


def test_in_its_stage_a_later_block_is_measured_once_too(make_task: MakeTask) -> None:
    task, acquisition, kept = build(make_task, blocks=2)
    task.rule.network.blocks[1].encoder.fit(np.random.default_rng(0).random((5, 6)))
    cached = Cached(acquisition, task.rule.network, task.features)
    cached.begin_stage(range(1, 2))
    first = cached.answer(ask(task, [3, 5], [[0, 1], [1, 2]], block=1))
    again = cached.answer(ask(task, [5], [[2, 1]], block=1))
    assert [rows.block for rows in kept.rows for _ in rows.ids] == [0] * 6 + [1] * 6
    assert np.array_equal(again[0], first[1][::-1])
    assert cached.remembers_training


def test_a_rule_without_labels_is_measured_once_per_sample(make_task: MakeTask) -> None:
    task, acquisition, kept = build(make_task, rule="readout")
    cached = Cached(acquisition, task.rule.network, task.features)
    for _ in range(3):
        cached.answer(ask(task, [3, 5], [[-1], [-1]]))
    assert sorted(kept.column("samples")) == [3, 5]
    assert kept.column("labels") == [-1, -1]


def test_what_was_measured_earlier_is_taken_over_when_it_is_complete(make_task: MakeTask) -> None:
    task, acquisition, kept = build(make_task)
    cached = Cached(acquisition, task.rule.network, task.features)
    responses = np.arange(5 * 6, dtype=np.float32).reshape(5, 6)
    cached.keep(0, np.array([3, 7, 3, 3, 7]), np.array([2, 0, 0, 1, 1]), responses)
    answered = cached.answer(ask(task, [3], [[0, 1, 2]]))
    assert np.array_equal(answered[0], responses[[2, 3, 0]])
    assert kept.rows == []
    cached.answer(ask(task, [7], [[0, 1]]))
    assert sorted(kept.column("labels")) == [0, 1, 2]


def test_what_was_measured_earlier_may_come_in_parts(make_task: MakeTask) -> None:
    task, acquisition, kept = build(make_task)
    cached = Cached(acquisition, task.rule.network, task.features)
    responses = np.arange(3 * 6, dtype=np.float32).reshape(3, 6)
    for label in (1, 0, 2):
        cached.keep(0, np.array([3]), np.array([label]), responses[label : label + 1])
    assert np.array_equal(cached.answer(ask(task, [3], [[0, 1, 2]]))[0], responses)
    assert kept.rows == []
