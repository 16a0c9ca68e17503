"""What `labctl calibrate` writes is what the next run reads."""

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from labctl.contract.calibration import calibration_id, read_calibration, write_calibration
from labctl.contract.capabilities import Calibration, Finding, Measured
from labctl.contract.errors import SettingError

WHEN = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
CALIBRATION = Calibration(
    {"delay": Measured(np.array(1337.25), np.array(0.01), "samples")}, (Finding("mic-b", "is dead", "plug it in"),)
)


def test_it_is_dated_and_never_replaces_another(tmp_path: Path) -> None:
    paths = [write_calibration(tmp_path, "chamber", "interface", CALIBRATION, WHEN) for _ in range(2)]
    assert [path.name for path in paths] == ["2026-11-20-chamber-interface.json", "2026-11-20-chamber-interface-2.json"]
    assert json.loads(paths[0].read_text(encoding="utf-8"))["time"] == "2026-11-20T09:30:00+00:00"
    assert read_calibration(paths[1]).findings == CALIBRATION.findings


@given(value=arrays(np.float64, array_shapes(max_dims=3), elements=st.floats(allow_nan=False, allow_infinity=False)))
def test_quantities_come_back_to_the_bit(tmp_path_factory: pytest.TempPathFactory, value: np.ndarray) -> None:
    calibration = Calibration({"gain": Measured(value, np.array(0.5), "1")})
    back = read_calibration(write_calibration(tmp_path_factory.mktemp("c"), "r", "p", calibration, WHEN))
    np.testing.assert_array_equal(back.quantities["gain"].value, value)
    assert back.quantities["gain"].unit == "1"
    assert calibration_id(back) == calibration_id(calibration)


def test_another_value_has_another_id() -> None:
    other = Calibration({"delay": Measured(np.array(1337.26), np.array(0.01), "samples")})
    assert calibration_id(other) != calibration_id(CALIBRATION)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot be read"),
        ("[1]", "is no calibration, or damaged"),
        ("{", "is no calibration, or damaged"),
        ('{"schema": "labctl/calibration/1"}', "is no calibration, or damaged"),
        ('{"schema": "labctl/calibration/2", "findings": [], "quantities": {}}', "of another kind"),
        (
            '{"schema": "labctl/calibration/1", "findings": [], '
            '"quantities": {"a": {"value": [1, 2], "uncertainty": [1, 1, 1], "unit": "1"}}}',
            "is no calibration, or damaged",
        ),
        (
            '{"schema": "labctl/calibration/1", "findings": [], '
            '"quantities": {"a": {"value": 1, "uncertainty": -1, "unit": "1"}}}',
            "uncertainty negative",
        ),
    ],
)
def test_what_is_no_calibration_is_refused_at_the_setting(tmp_path: Path, text: str | None, said: str) -> None:
    path = tmp_path / "calibration.json"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(SettingError, match=said) as refused:
        read_calibration(path)
    assert refused.value.at == ("calibration",)
