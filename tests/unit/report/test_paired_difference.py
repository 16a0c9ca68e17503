"""The paired difference of two classifiers."""

from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labctl.report.paired import paired_difference


def rights(text: str) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return np.array([mark == "+" for mark in text])


def test_the_interval_is_that_of_a_case_computed_by_hand() -> None:
    # d = 1 1 0 0 -1 0 0 1 0 0: mean 0.2, squared deviations 3 x 0.64 + 1.44 + 6 x 0.04 = 3.6, s = sqrt(3.6 / 9).
    found = paired_difference(rights("+++--++++-"), rights("--+-+++-+-"))
    assert found.mean == pytest.approx(0.2)
    assert found.high - found.mean == pytest.approx(1.959964 * sqrt(0.4 / 10))
    assert found.mean - found.low == pytest.approx(1.959964 * sqrt(0.4 / 10))
    assert found.verdict == "no clear difference"


def test_equal_classifiers_do_not_differ() -> None:
    found = paired_difference(rights("++-+"), rights("++-+"))
    assert (found.mean, found.low, found.high, found.verdict) == (0, 0, 0, "no clear difference")


def test_pairing_narrows_what_unpaired_accuracies_would_leave_open() -> None:
    run = rights("+" * 90 + "-" * 10)
    other = rights("+" * 80 + "-" * 20)
    found = paired_difference(run, other)
    unpaired = 1.959964 * sqrt(0.9 * 0.1 / 100 + 0.8 * 0.2 / 100)
    assert found.verdict == "better"
    assert found.high - found.mean < unpaired
    assert paired_difference(other, run).verdict == "worse"


def test_one_sample_bounds_nothing() -> None:
    found = paired_difference(rights("+"), rights("-"))
    assert (found.mean, found.low, found.high) == (1, -1, 1)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=60))
def test_the_mean_is_the_difference_of_accuracies_and_swapping_mirrors_it(pairs: list[tuple[bool, bool]]) -> None:
    right, other = (np.array(column) for column in zip(*pairs, strict=True))
    found, mirrored = paired_difference(right, other), paired_difference(other, right)
    assert found.mean == pytest.approx(right.mean() - other.mean())
    assert (found.low, found.high) == pytest.approx((-mirrored.high, -mirrored.low))
