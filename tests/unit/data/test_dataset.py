from typing import Any

import numpy as np
import pytest

from labctl.contract.errors import InputError
from labctl.data.dataset import Dataset, build_dataset

FEATURES = np.arange(12.0).reshape(4, 3)
LABELS = np.array([0, 1, 0, 1])


def place(row: int, column: int | None) -> str:
    return f"t:{row}" if column is None else f"t:{row}:{column}"


def build(**changes: Any) -> Dataset:
    sound = {"name": "t", "features": FEATURES, "labels": LABELS, "class_names": ("a", "b"), "place": place}
    arguments: dict[str, Any] = {**sound, **changes}
    return build_dataset(**arguments)


def with_value(value: float) -> np.ndarray:
    features = FEATURES.copy()
    features[2, 1] = value
    return features


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features": with_value(np.nan)}, "t:2:1: is NaN; 1 such value(s) in all"),
        ({"features": with_value(-np.inf)}, "t:2:1: is infinite; 1 such value(s) in all"),
        ({"features": FEATURES[:0], "labels": LABELS[:0]}, "t: has no rows"),
        ({"features": FEATURES[:, :0]}, "t: has no features"),
        ({"features": FEATURES[0]}, "t: features have shape (3,), not (samples, features)"),
        ({"features": FEATURES * 1j}, "t: features are complex128, not real numbers of at most 64 bits"),
        ({"features": FEATURES > 1}, "t: features are bool, not real numbers of at most 64 bits"),
        ({"labels": LABELS[:3]}, "t: 4 rows of features but labels of shape (3,)"),
        (
            {"labels": np.array([0, 2, 1, 1])},
            "t:1: label 2 is outside 0 to 1; class numbers start at 0 and leave no gap",
        ),
        (
            {"labels": np.array([0, 1, 1, -1])},
            "t:3: label -1 is outside 0 to 1; class numbers start at 0 and leave no gap",
        ),
        ({"class_names": ("a", "b", "c")}, 't: class "c" has no row'),
        ({"class_names": ("a",), "labels": LABELS * 0}, "t: has 1 class; a classifier needs at least 2"),
        ({"groups": LABELS[:3]}, "t: 4 rows of features but groups of shape (3,)"),
        ({"feature_names": ("p", "q")}, "t: 3 features but 2 feature names"),
    ],
)
def test_each_fault_has_one_message(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        build(**changes)
    assert str(caught.value) == message


def test_arrays_cannot_be_changed() -> None:
    dataset = build(groups=LABELS)
    for array in (dataset.features, dataset.labels, dataset.groups):
        assert array is not None
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_the_callers_array_stays_writable() -> None:
    features = FEATURES.copy()
    build(features=features)
    features[0, 0] = 5.0
    assert features[0, 0] == 5.0


def test_fingerprint_is_the_same_on_every_platform() -> None:
    expected = "8c52393bcd16a24a"
    assert build().fingerprint.startswith(expected)
    assert build(features=FEATURES.astype(">f8"), labels=LABELS.astype(">i4")).fingerprint.startswith(expected)
    assert build(features=np.asfortranarray(FEATURES)).fingerprint.startswith(expected)


@pytest.mark.parametrize(
    "changes",
    [
        {"features": with_value(7.0000001)},
        {"features": FEATURES.astype(np.float32)},
        {"features": FEATURES[::-1], "labels": LABELS[::-1]},
        {"labels": LABELS[::-1]},
        {"class_names": ("b", "a")},
        {"feature_names": ("p", "q", "r")},
        {"groups": LABELS},
        {"official_test": np.array([3])},
    ],
)
def test_fingerprint_knows_content_order_and_names(changes: dict[str, Any]) -> None:
    assert build(**changes).fingerprint != build().fingerprint


def test_fingerprint_does_not_know_the_files_name() -> None:
    assert build(name="other").fingerprint == build().fingerprint
