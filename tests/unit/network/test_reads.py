"""The mean of repeated reads."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labctl.network.reads import mean_of_reads


@given(st.integers(2, 9), st.integers(0, 2**32 - 1), st.sampled_from(["f4", "f8", "u1", "c8"]))
def test_the_order_of_reads_does_not_show_in_the_last_bit(reads: int, seed: int, dtype: str) -> None:
    generator = np.random.default_rng(seed)
    values = (generator.normal(0, 10.0 ** generator.integers(-9, 9, (3, reads, 2))) % 255).astype(dtype)
    mean = mean_of_reads(values)
    assert mean.tobytes() == mean_of_reads(values[:, generator.permutation(reads)]).tobytes()
    np.testing.assert_allclose(mean, values.astype(complex).mean(axis=1), rtol=1e-6)


@pytest.mark.parametrize(("dtype", "of_mean"), [("u1", "f4"), ("u2", "f4"), ("f4", "f4"), ("f8", "f8"), ("c8", "c8")])
def test_means_of_counts_are_no_counts(dtype: str, of_mean: str) -> None:
    assert mean_of_reads(np.array([[[1], [2]]], dtype)).dtype == np.dtype(of_mean)


def test_a_single_read_is_what_the_instrument_delivered() -> None:
    counts = np.array([[[7, 255]]], np.uint8)
    assert mean_of_reads(counts).dtype == np.uint8
    assert mean_of_reads(counts).tolist() == [[7, 255]]
