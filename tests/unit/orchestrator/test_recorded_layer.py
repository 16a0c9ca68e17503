"""A record as a layer: each drive finds its own response, as often as it was measured, and never another one's."""

from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from labctl.contract.errors import DriveError
from labctl.contract.layer import Channel, LayerInfo
from labctl.orchestrator.recorded_layer import CHUNK_ROWS, SAME_DRIVE, RecordedDrives, RecordedLayer
from labctl.record.passes import PassRows
from labctl.record.reader import LogReader
from labctl.record.writer import PassLog

N_INPUTS = 5
INFO = LayerInfo(
    "cavity",
    tuple(Channel(f"in {i}", "V", -2.0, 2.0) for i in range(N_INPUTS)),
    (Channel("out", "V", -9.0, 9.0),),
    0.0,
    frozenset(),
    simulated=True,
)


def recorded(folder: Path, drives: NDArray[np.float32]) -> RecordedLayer:
    """Record `drives` (n, n_inputs); the response to each is its row's number."""
    n = len(drives)
    ids = np.arange(n, dtype=np.int64)
    common: dict[str, Any] = {"repeat": 0, "step": 0, "block": 0, "purpose": "train", "layer": "cavity"}
    with PassLog.create(folder / "run.sqlite", {}) as log:
        log.append(
            PassRows(
                ids=ids,
                samples=ids,
                labels=ids,
                state_id="s",
                status=np.zeros(n, np.uint8),
                time_s=np.arange(n, dtype=np.float64),
                drives=drives,
                responses=ids[:, None].astype(np.float32),
                **common,
            )
        )
    with LogReader(folder / "run.sqlite") as reader:
        known = RecordedDrives(INFO, reader.passes())
    return RecordedLayer(INFO, "s", folder / "run.sqlite", known, "block 1", lambda rows: rows.values)


def answers(layer: RecordedLayer, drives: NDArray[np.float32]) -> list[float]:
    chunks = layer.measure(drives, np.arange(len(drives), dtype=np.int64), stop=Event())
    return [value for chunk in chunks for value in chunk.values[:, 0].tolist()]


@given(seed=st.integers(0, 10_000), rounding=st.floats(-0.9, 0.9))
@settings(max_examples=15, deadline=None)
def test_drives_are_found_again_in_any_order_whatever_their_last_bits(
    tmp_path_factory: pytest.TempPathFactory, seed: int, rounding: float
) -> None:
    random = np.random.default_rng(seed)
    drives = random.uniform(-1.9, 1.9, (40, N_INPUTS)).astype(np.float32)
    layer = recorded(tmp_path_factory.mktemp("log"), drives)
    order = random.permutation(40)
    assert answers(layer, drives[order] + np.float32(rounding * SAME_DRIVE)) == order.tolist()


def test_each_is_used_as_often_as_it_was_measured_and_in_that_order(tmp_path: Path) -> None:
    one, other = np.zeros((1, N_INPUTS), np.float32), np.ones((1, N_INPUTS), np.float32)
    layer = recorded(tmp_path, np.concatenate([one, other, one, one]))
    assert layer.missing([one, one, other]) == 0, "asking uses nothing up"
    assert answers(layer, np.concatenate([one, one])) == [0, 2]
    assert layer.missing([one, one, other]) == 1
    with pytest.raises(DriveError, match=r"block 1: 1 of 2 rows asked for are not in the record"):
        answers(layer, np.concatenate([one, one]))


def test_what_differs_by_more_than_rounding_is_another_drive(tmp_path: Path) -> None:
    drives = np.zeros((1, N_INPUTS), np.float32)
    layer = recorded(tmp_path, drives)
    near = drives.copy()
    near[0, 3] = 5 * SAME_DRIVE
    assert layer.missing([near]) == 1
    assert layer.missing([drives]) == 0


def test_a_stop_ends_it_between_chunks(tmp_path: Path) -> None:
    drives = np.random.default_rng(0).uniform(-1, 1, (CHUNK_ROWS + 1, N_INPUTS)).astype(np.float32)
    stop = Event()
    chunks = recorded(tmp_path, drives).measure(drives, np.arange(len(drives), dtype=np.int64), stop=stop)
    assert len(next(chunks).ids) == CHUNK_ROWS
    stop.set()
    assert list(chunks) == []
