"""Drives that a layer's inputs cannot be set to."""

import numpy as np
import pytest

from labctl.contract.errors import DriveError
from labctl.contract.layer import Channel, LayerInfo, check_drives, find_misfit

INFO = LayerInfo(
    "wall",
    (Channel("gain", "V", -1.0, 1.0), Channel("bit", "state", 0.0, 1.0, 2), Channel("step", "V", -1.0, 2.0, 4)),
    (Channel("out", "V", 0.0, 1.0),),
    1.0,
    frozenset({"wall"}),
    simulated=True,
)


def drives(*rows: tuple[float, float, float]) -> np.ndarray:
    return np.array(rows, dtype=np.float32)


def test_levels_and_any_value_in_between_where_there_are_none() -> None:
    assert find_misfit(INFO, drives((0.37, 0, -1), (-1, 1, 0), (1, 0, 1), (0, 1, 2))) is None


@pytest.mark.parametrize(
    ("row", "column", "what"),
    [
        ((1.5, 0, 0), 0, "input gain: 1.5 is outside -1 to 1 V"),
        ((0, 0.37, 0), 1, "input bit: 0.37 is none of the 2 levels 0, 1"),
        ((0, 0, 0.5), 2, "input step: 0.5 is none of the 4 levels -1, 0, 1, 2"),
        ((0, 0, np.nan), 2, "input step: nan is outside -1 to 2 V"),
    ],
)
def test_the_first_misfit_is_named(row: tuple[float, float, float], column: int, what: str) -> None:
    found = find_misfit(INFO, drives((0, 0, 0), row))
    assert found == (1, column, what)
    with pytest.raises(DriveError, match="layer 'wall', row id 8, input"):
        check_drives(INFO, drives((0, 0, 0), row), np.array([7, 8]))
