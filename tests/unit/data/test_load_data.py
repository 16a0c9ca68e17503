import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from labctl.config.data import Data
from labctl.contract.errors import InputError
from labctl.data.dataset import Dataset, build_dataset
from labctl.data.load import load_dataset, prepare

FORMANTS = [f"F{i}_{at}" for at in ("ss", "20", "50", "80") for i in (1, 2, 3)]
IDX = {
    "source": "idx",
    "images": "train-images-idx3-ubyte.gz",
    "labels": "train-labels-idx1-ubyte.gz",
    "test_images": "t10k-images-idx3-ubyte.gz",
    "test_labels": "t10k-labels-idx1-ubyte.gz",
}


def settings_of(**settings: Any) -> Data:
    return TypeAdapter[Data](Data).validate_python(settings)


def dataset_of(features: Any, labels: Any, **more: Any) -> Dataset:
    def place(row: int, column: int | None) -> str:
        return f"t:{row}:{column}"

    return build_dataset("t", np.asarray(features, float), np.asarray(labels), ("a", "b"), place=place, **more)


def test_digits_are_split_and_filled_from_zero_to_one(tmp_path: Path) -> None:
    settings = settings_of(source="digits")
    dataset = load_dataset(settings, tmp_path)
    data = prepare(dataset, settings)
    assert (data.n_features, data.n_classes) == (64, 10)
    assert data.train_x.shape == (1438, 64)
    assert data.test_x.shape == (359, 64)
    assert data.train_x.dtype == data.test_x.dtype == np.float32
    assert data.train_x.min() == 0
    assert data.train_x.max() == 1
    np.testing.assert_array_equal(data.test_y, dataset.labels[data.test_index])
    assert data.fingerprint == dataset.fingerprint
    assert dataset.fingerprint.startswith("11561fd9d497e086")


def test_training_samples_are_thinned_out_and_the_test_part_is_left(tmp_path: Path) -> None:
    whole, thinned = settings_of(source="digits"), settings_of(source="digits", train_samples=200)
    dataset = load_dataset(whole, tmp_path)
    every, some = prepare(dataset, whole), prepare(dataset, thinned)
    assert some.train_x.shape == (200, 64)
    assert set(some.train_index) < set(every.train_index)
    np.testing.assert_array_equal(some.train_y, dataset.labels[some.train_index])
    np.testing.assert_array_equal(some.test_index, every.test_index)


def test_wine_has_names(tmp_path: Path) -> None:
    dataset = load_dataset(settings_of(source="wine"), tmp_path)
    assert dataset.class_names == ("class_0", "class_1", "class_2")
    assert dataset.feature_names[0] == "alcohol"
    assert dataset.fingerprint.startswith("38a4fbcb3afa0486")


def test_talkers_are_on_one_side(real_data: Path) -> None:
    settings = settings_of(
        source="csv", path="hillenbrand_7v12f.csv", label="vowel", features=FORMANTS, group="speaker", split="group"
    )
    dataset = load_dataset(settings, real_data / "vowels")
    data = prepare(dataset, settings)
    assert dataset.groups is not None
    assert not set(dataset.groups[data.train_index]) & set(dataset.groups[data.test_index])
    share = np.bincount(data.test_y) / np.bincount(dataset.labels)
    assert np.abs(share - 0.2).max() < 0.02


def test_the_official_split_is_kept(real_data: Path) -> None:
    settings = settings_of(**IDX, normalise="max")
    data = prepare(load_dataset(settings, real_data / "mnist"), settings)
    assert data.test_index.tolist() == list(range(60_000, 70_000))
    assert data.train_x.shape == (60_000, 784)
    assert data.train_x.max() == 1


def test_npz_arrays_are_chosen_by_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "my.npz", data=np.eye(6), target=np.arange(6) % 2, session=np.arange(6) // 2)
    settings = settings_of(
        source="npz", path="my.npz", features="data", labels="target", groups="session", split="group"
    )
    data = prepare(load_dataset(settings, tmp_path), settings)
    assert len(data.test_index) == 2
    assert data.test_index[0] % 2 == 0


@pytest.mark.parametrize("normalise", ["none", "standard", "min-max", "max"])
@given(changes=st.lists(st.floats(-1e6, 1e6), min_size=8, max_size=8))
def test_test_rows_change_nothing_in_training(normalise: str, changes: list[float]) -> None:
    settings = settings_of(source="wine", normalise=normalise)
    features = np.linspace(-3, 5, 80).reshape(40, 2)
    labels = np.arange(40) % 2
    before = prepare(dataset_of(features, labels), settings)
    assert len(before.test_index) == 8
    features[before.test_index, 0] = changes
    after = prepare(dataset_of(features, labels), settings)
    np.testing.assert_array_equal(after.train_x, before.train_x)
    np.testing.assert_array_equal(after.test_x[:, 1], before.test_x[:, 1])
    np.testing.assert_array_equal(after.normalisation.offset, before.normalisation.offset)
    np.testing.assert_array_equal(after.normalisation.scale, before.normalisation.scale)


@pytest.mark.parametrize(
    ("labels", "official_test", "message"),
    [
        ([0, 1, 0, 0], None, 't: class "b" has one row; a split needs at least two of every class'),
        ([0, 1, 0, 1], [0, 2], 't: class "a" has no training row'),
        ([0, 1, 0, 1], [3], 't: class "a" has no test row'),
    ],
)
def test_classes_on_one_side_are_named(labels: list[int], official_test: list[int] | None, message: str) -> None:
    official = None if official_test is None else np.array(official_test)
    dataset = dataset_of(np.ones((4, 2)), labels, official_test=official)
    with pytest.raises(InputError) as caught:
        prepare(dataset, settings_of(source="wine"))
    assert str(caught.value) == message


def test_a_split_by_group_must_be_possible() -> None:
    by_group = settings_of(source="npz", path="t.npz", groups="g", split="group")
    features, labels = np.ones((4, 2)), [0, 1, 0, 1]
    with pytest.raises(InputError) as caught:
        prepare(dataset_of(features, labels), by_group)
    assert str(caught.value) == (
        "t: a split by group needs groups, and the dataset has none; name them, or use split: stratified"
    )
    with pytest.raises(InputError) as caught:
        prepare(dataset_of(features, labels, official_test=np.array([2, 3])), by_group)
    assert str(caught.value) == "t: it has its own test part, which a split by group would ignore"


def test_a_value_beyond_float32_names_the_dataset() -> None:
    features = np.ones((4, 2))
    features[3, 1] = 1e200
    with pytest.raises(InputError, match=r"^t: row 3, feature 1: 1e\+200 does not fit normalised data$"):
        prepare(dataset_of(features, [0, 1, 0, 1]), settings_of(source="wine", normalise="none"))


def test_importing_is_light() -> None:
    program = "import sys, labctl.data.load, labctl.data.samples; print({'sklearn', 'scipy'} & set(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "set()"
