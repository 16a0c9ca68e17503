"""Lasting changes strike from their row on, the same way every time, and leave the number type alone."""

from typing import Any

import numpy as np
import pytest
from labctl_simulators.disturbances import channel_changes
from labctl_simulators.faults import FaultPlan
from numpy.typing import NDArray

from labctl.contract.errors import SettingError

NAMES = ["a", "b", "c"]
IDS = np.arange(10)


def changed(values: NDArray[Any], *disturbances: dict[str, Any], seed: int = 0) -> NDArray[Any]:
    plan = FaultPlan.model_validate({"seed": seed, "disturbances": disturbances})
    return channel_changes(plan.disturbances, plan.seed, NAMES).apply(values, IDS)


def test_swapped_channels_deliver_each_others_values() -> None:
    values = np.arange(30.0).reshape(10, 3)
    swapped = changed(values, {"kind": "swapped", "row": 8, "channels": ["c", "a"]})
    np.testing.assert_array_equal(swapped[:8], values[:8])
    np.testing.assert_array_equal(swapped[8:], values[8:, [2, 1, 0]])


def test_a_gain_moves_every_channel_from_its_row_on() -> None:
    values = np.random.default_rng(0).normal(size=(10, 3))
    disturbed = changed(values, {"kind": "gain", "row": 4, "spread": 0.1})
    np.testing.assert_array_equal(disturbed[:4], values[:4])
    gains = disturbed[4:] / values[4:]
    np.testing.assert_allclose(gains, np.broadcast_to(gains[0], gains.shape))
    assert (np.abs(gains[0] - 1) > 1e-3).all()
    np.testing.assert_array_equal(disturbed, changed(values, {"kind": "gain", "row": 4, "spread": 0.1}))
    assert not np.array_equal(disturbed, changed(values, {"kind": "gain", "row": 4, "spread": 0.1}, seed=1))


def test_offsets_and_dead_channels_add_up() -> None:
    values = np.ones((10, 3))
    dead = {"kind": "dead", "row": 2, "channel": "b"}
    disturbed = changed(values, dead, {"kind": "offset", "row": 5, "spread": 0.5})
    assert (disturbed[2:5, 1] == 0).all()
    np.testing.assert_array_equal(disturbed[2:5, [0, 2]], 1)
    assert np.ptp(disturbed[5:, 1]) == 0
    assert disturbed[5, 1] != 0


def test_counts_stay_counts() -> None:
    disturbed = changed(np.full((10, 3), 200, np.uint8), {"kind": "gain", "row": 0, "spread": 0.2})
    assert disturbed.dtype == np.uint8
    assert len(np.unique(disturbed)) > 1


def test_a_channel_that_is_not_there() -> None:
    with pytest.raises(SettingError, match="no channel 'd'; there are a, b, c"):
        changed(np.ones((10, 3)), {"kind": "dead", "row": 0, "channel": "d"})


def test_a_medium_is_no_layers_to_change() -> None:
    plan = FaultPlan.model_validate({"disturbances": [{"kind": "temperature", "row": 0, "temperature": "22 °C"}]})
    with pytest.raises(
        SettingError, match="knows no disturbance temperature; expected one of gain, offset, dead, swapped"
    ):
        plan.require_kinds((), "this layer")
