"""Goodness: the cosine between the magnitude of an output and the block's reference."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labctl.network.goodness import goodness, reference_direction

FLOATS = [np.dtype(np.float32), np.dtype(np.float64)]


@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.sampled_from(FLOATS), st.floats(-15, 15))
def test_goodness_is_the_cosine_whatever_the_scale_and_the_signs(
    seed: int, units: int, dtype: np.dtype[np.floating], log_scale: float
) -> None:
    generator = np.random.default_rng(seed)
    reference = reference_direction(units, generator, dtype)
    outputs = generator.standard_normal((4, 3, units)).astype(dtype) * dtype.type(10.0**log_scale)
    magnitude = np.abs(outputs.astype(np.float64))
    expected = magnitude @ reference.astype(np.float64) / np.linalg.norm(magnitude, axis=-1)
    found = goodness(outputs, reference)
    tolerance = 8 * units * float(np.finfo(dtype).eps)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected, atol=tolerance)
    assert (np.abs(found) <= 1 + tolerance).all()
    assert np.array_equal(found, goodness(-outputs, reference))


def test_goodness_reaches_its_bounds() -> None:
    reference = np.array([0.6, -0.8])
    assert goodness(np.array([0.6, 0.0]), reference) == pytest.approx(0.6)
    assert goodness(np.array([0.0, -5.0]), reference) == pytest.approx(-0.8)
    assert goodness(np.array([3.0, -4.0]), np.array([0.6, 0.8])) == pytest.approx(1.0)


@pytest.mark.parametrize("dtype", FLOATS)
def test_a_vector_of_zeros_has_goodness_zero(dtype: np.dtype[np.floating]) -> None:
    assert goodness(np.zeros((2, 3), dtype), np.full(3, 3**-0.5, dtype)).tolist() == [0, 0]


@pytest.mark.parametrize("dtype", FLOATS)
def test_reference_is_a_unit_vector_of_the_seed(dtype: np.dtype[np.floating]) -> None:
    first, again = (reference_direction(20, np.random.default_rng(3), dtype) for _ in range(2))
    assert first.dtype == dtype
    assert np.linalg.norm(first) == pytest.approx(1, rel=1e-6)
    assert np.array_equal(first, again)
