"""Verification: the weights follow from the pass log bit by bit, or somebody is told that they do not."""

import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labctl.contract.errors import RecordError
from labctl.contract.layer import PhysicalLayer
from labctl.orchestrator.assembly import Bench, Task
from labctl.orchestrator.session import train_and_test
from labctl.orchestrator.stopping import Stopped
from labctl.orchestrator.verification import Verification, verify
from labctl.record.npz import from_npz, to_npz
from labctl.record.passes import REPEATS_PER_ID
from labctl.record.reader import LogReader
from labctl.record.writer import PassLog
from labctl.testing.layers import InstantLayer
from tests.unit.orchestrator.monitors import Until

MakeTask = Callable[..., Task]
MakeBench = Callable[[Sequence[PhysicalLayer]], Bench]
Change = Callable[[sqlite3.Connection], object]


@pytest.fixture(params=["joint", "cached", "greedy"])
def schedule(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def build(make_task: MakeTask, schedule: str) -> Callable[[], Task]:
    """Build the task that the run was for, in its initial state."""
    return lambda: make_task([InstantLayer(8, 6), InstantLayer(8, 6, seed=1, name="second")], schedule=schedule)


@pytest.fixture
def run(build: Callable[[], Task], make_bench: MakeBench, tmp_path: Path) -> Path:
    """Return the pass log of a finished run."""
    path, monitor = tmp_path / "run.sqlite", Until()
    layers = [InstantLayer(8, 6), InstantLayer(8, 6, seed=1, name="second")]
    with PassLog.create(path, {}) as log:
        train_and_test(build(), make_bench(layers), log, monitor, monitor.stop)
    return path


@pytest.fixture
def verified(build: Callable[[], Task], run: Path) -> Callable[[Change], Verification]:
    """Verify a copy of the run after changing it."""

    def check(change: Change) -> Verification:
        copy = run.with_name("copy.sqlite")
        shutil.copy(run, copy)
        with closing(sqlite3.connect(copy)) as connection, connection:
            change(connection)
        with LogReader(copy) as reader:
            return verify(build(), reader)

    return check


def flip_bit(purpose: str, block: int, bit: int) -> Change:
    """Flip one bit of the first channel of a response that is surely used."""

    def flip(connection: sqlite3.Connection) -> None:
        query = "SELECT key, response FROM passes WHERE purpose = ? AND block = ? ORDER BY key LIMIT 1"
        ((key, response),) = connection.execute(query, (purpose, block)).fetchall()
        words = np.frombuffer(response, "<u4").copy()
        words[0] ^= 1 << bit
        connection.execute("UPDATE passes SET response = ? WHERE key = ?", (words.tobytes(), key))

    return flip


def change_checkpoint(name: str) -> Change:
    """Flip the lowest bit of the first number of one array of the last checkpoint."""

    def change(connection: sqlite3.Connection) -> None:
        query = "SELECT number, data FROM checkpoints ORDER BY number DESC LIMIT 1"
        ((number, data),) = connection.execute(query).fetchall()
        arrays = {key: array.copy() for key, array in from_npz(data).items()}
        arrays[name].reshape(-1).view(f"u{arrays[name].itemsize}")[0] ^= 1
        connection.execute("UPDATE checkpoints SET data = ? WHERE number = ?", (to_npz(arrays), number))

    return change


def unchanged(connection: sqlite3.Connection) -> None:
    """Leave the run as it is."""


def test_an_honest_run_is_identical(verified: Callable[[Change], Verification], build: Callable[[], Task]) -> None:
    found = verified(unchanged)
    assert found == Verification(True, 0.0, build().epochs, build().epochs, test_identical=True)


def test_a_stopped_run_is_identical_as_far_as_it_got(
    build: Callable[[], Task], make_bench: MakeBench, tmp_path: Path
) -> None:
    path, monitor = tmp_path / "run.sqlite", Until(2)
    layers = [InstantLayer(8, 6), InstantLayer(8, 6, seed=1, name="second")]
    with PassLog.create(path, {}) as log, pytest.raises(Stopped):
        train_and_test(build(), make_bench(layers), log, monitor, monitor.stop)
    with LogReader(path) as reader:
        assert verify(build(), reader) == Verification(True, 0.0, 2, build().epochs, test_identical=None)


@pytest.mark.parametrize("block", [0, 1])
@pytest.mark.parametrize("bit", [12, 22])
def test_one_flipped_bit_in_a_training_response_is_noticed(
    verified: Callable[[Change], Verification], block: int, bit: int
) -> None:
    found = verified(flip_bit("statistics", block, bit))
    assert not found.identical
    assert found.largest_difference > 0


@pytest.mark.parametrize("block", [0, 1])
def test_one_flipped_bit_in_a_test_response_is_noticed(verified: Callable[[Change], Verification], block: int) -> None:
    found = verified(flip_bit("test", block, 20))
    assert found.identical
    assert found.test_identical is False


@pytest.mark.parametrize("name", ["block0.weights", "block1.reference", "adam1.second", "block0.response_mean"])
def test_the_smallest_change_of_the_state_is_noticed(verified: Callable[[Change], Verification], name: str) -> None:
    found = verified(change_checkpoint(name))
    assert not found.identical
    assert found.largest_difference < 1e-6


def test_other_scores_are_noticed(verified: Callable[[Change], Verification]) -> None:
    better = "UPDATE events SET detail = json_set(detail, '$.scores[0][0]', 0.999) WHERE kind = 'test'"
    assert verified(lambda connection: connection.execute(better)).test_identical is False


def test_a_missing_pass_is_named(verified: Callable[[Change], Verification]) -> None:
    remove = f"DELETE FROM passes WHERE key = {20 * REPEATS_PER_ID}"
    with pytest.raises(RecordError, match=r"pass 20 .* is not in the log"):
        verified(lambda connection: connection.execute(remove))


def test_swapped_labels_are_noticed(verified: Callable[[Change], Verification]) -> None:
    swap = f"UPDATE passes SET label = (label + 1) % 3 WHERE key = {20 * REPEATS_PER_ID}"
    with pytest.raises(RecordError, match="pass 20 was measured for another sample or label"):
        verified(lambda connection: connection.execute(swap))


def test_another_seed_or_setting_is_noticed(run: Path, make_task: MakeTask, schedule: str) -> None:
    def found(**changes: Any) -> Verification:
        layers = [InstantLayer(8, 6), InstantLayer(8, 6, seed=1, name="second")]
        with LogReader(run) as reader:
            return verify(make_task(layers, schedule=schedule, **changes), reader)

    with pytest.raises(RecordError, match="does not belong to this configuration"):
        found(seed=2)
    assert not found(theta=4.5).identical
    assert not found(optimizer={"lr": 6e-4}).identical


def test_without_a_checkpoint_there_is_nothing_to_verify(build: Callable[[], Task], tmp_path: Path) -> None:
    with PassLog.create(tmp_path / "run.sqlite", {}):
        pass
    with (
        LogReader(tmp_path / "run.sqlite") as reader,
        pytest.raises(RecordError, match="no checkpoint yet; there is nothing to verify"),
    ):
        verify(build(), reader)
