from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from labctl.contract.errors import InputError
from labctl.data.normalise import Normalisation, NormalisationKind, fit_normalisation

KINDS: tuple[NormalisationKind, ...] = ("none", "standard", "min-max", "max")
TRAIN = np.array([[1.0, 5.0, -10.0], [2.0, 5.0, 0.0], [4.0, 5.0, 30.0]])

tables = hnp.arrays(
    np.float64,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=8),
    elements=st.integers(-1000, 1000).map(lambda n: n / 8),
)


@given(train=tables)
def test_min_max_fills_zero_to_one(train: NDArray[np.float64]) -> None:
    normalised = fit_normalisation(train, "min-max").apply(train)
    varies = np.ptp(train, axis=0) > 0
    assert normalised.dtype == np.float32
    assert (normalised.min(axis=0) == 0).all()
    np.testing.assert_array_equal(normalised.max(axis=0), varies.astype(float))


@given(train=tables)
def test_standard_has_mean_zero_and_deviation_one(train: NDArray[np.float64]) -> None:
    normalised = fit_normalisation(train, "standard").apply(train).astype(np.float64)
    np.testing.assert_allclose(normalised.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(normalised.std(axis=0), np.ptp(train, axis=0) > 0, atol=1e-5)


@given(train=tables)
def test_max_divides_by_one_number(train: NDArray[np.float64]) -> None:
    largest = np.abs(train).max()
    normalised = fit_normalisation(train, "max").apply(train)
    np.testing.assert_allclose(normalised, train / largest if largest else train, rtol=1e-6)


@given(train=tables)
def test_none_changes_the_type_alone(train: NDArray[np.float64]) -> None:
    np.testing.assert_array_equal(fit_normalisation(train, "none").apply(train), train.astype(np.float32))


@pytest.mark.parametrize("kind", ["standard", "min-max"])
def test_a_constant_feature_is_zero_even_where_it_differs_later(kind: NormalisationKind) -> None:
    train = np.full((7, 2), 0.1)
    train[:, 1] = np.arange(7)
    assert (fit_normalisation(train, kind).apply(np.array([[0.1, 0], [99.0, 1]]))[:, 0] == 0).all()


def test_images_of_zeros_stay_zeros() -> None:
    train = np.zeros((3, 4), dtype=np.uint8)
    assert (fit_normalisation(train, "max").apply(train) == 0).all()


def test_later_samples_are_not_clipped() -> None:
    normalised = fit_normalisation(TRAIN, "min-max").apply(np.array([[7.0, 5.0, -50.0]]))
    assert normalised.tolist() == [[2.0, 0.0, -1.0]]


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32])
def test_the_stored_type_does_not_matter(dtype: type[np.generic]) -> None:
    train = np.array([[0, 200], [250, 10], [7, 90]])
    for kind in KINDS:
        expected = fit_normalisation(train.astype(np.float64), kind).apply(train.astype(np.float64))
        np.testing.assert_array_equal(fit_normalisation(train.astype(dtype), kind).apply(train.astype(dtype)), expected)


def test_many_rows_are_normalised_like_few() -> None:
    rows = np.arange(30_000.0).reshape(10_000, 3)
    normalisation = fit_normalisation(rows, "standard")
    assert (normalisation.apply(rows)[9_000:] == normalisation.apply(rows[9_000:])).all()


@pytest.mark.parametrize(
    ("kind", "values"),
    [("standard", [0, 1e-200]), ("min-max", [0, 5e-324]), ("min-max", [-1.7e308, 1.7e308]), ("max", [0, 1e-310])],
)
def test_a_spread_that_is_no_ordinary_number_is_refused(kind: NormalisationKind, values: list[float]) -> None:
    with pytest.raises(InputError) as caught:
        fit_normalisation(np.array([[0.0, value] for value in values]), kind)
    feature = 0 if kind == "max" else 1
    low, high = (0.0, 0.0) if kind == "max" else values
    assert str(caught.value) == f"feature {feature} runs from {low:g} to {high:g}, which cannot be normalised"


def test_a_value_beyond_float32_is_refused() -> None:
    with pytest.raises(InputError, match=r"^row 1, feature 0: 1e\+300 does not fit normalised data$"):
        fit_normalisation(TRAIN, "none").apply(np.array([[1.0, 1, 1], [1e300, 1, 1]]))


@pytest.mark.parametrize("shape", [(4, 2), (3,), (1, 3, 1)])
def test_another_number_of_features_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError) as caught:
        fit_normalisation(TRAIN, "none").apply(np.zeros(shape))
    assert str(caught.value) == f"expected samples of 3 features, got an array of shape {shape}"


@pytest.mark.parametrize("kind", KINDS)
def test_arrays_hold_all_of_it(kind: NormalisationKind, tmp_path: Any) -> None:
    normalisation = fit_normalisation(TRAIN, kind)
    np.savez(tmp_path / "bundle.npz", allow_pickle=False, **normalisation.to_arrays())
    with np.load(tmp_path / "bundle.npz") as arrays:
        restored = Normalisation.from_arrays(arrays)
    assert restored.kind == kind
    np.testing.assert_array_equal(restored.apply(TRAIN), normalisation.apply(TRAIN))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": np.array("minmax")}, "not a normalisation: kind minmax, shapes (3,) and (3,)"),
        ({"scale": np.ones(2)}, "not a normalisation: kind none, shapes (3,) and (2,)"),
    ],
)
def test_arrays_of_something_else_are_refused(changes: dict[str, NDArray[Any]], message: str) -> None:
    arrays = fit_normalisation(TRAIN, "none").to_arrays()
    with pytest.raises(InputError) as caught:
        Normalisation.from_arrays({**arrays, **changes})
    assert str(caught.value) == message


def test_missing_arrays_are_named() -> None:
    with pytest.raises(InputError, match=r"^a normalisation lacks offset, scale$"):
        Normalisation.from_arrays({"kind": np.array("none")})
