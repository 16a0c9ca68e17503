import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from labctl.contract.errors import InputError
from labctl.data.splits import group_split, stratified_split, thin_out

fractions = st.floats(0.01, 0.99)
seeds = st.integers(0, 2**32)


@st.composite
def class_numbers(draw: st.DrawFn) -> NDArray[np.int64]:
    """Labels with at least two rows of every class, in any order."""
    counts = draw(st.lists(st.integers(2, 40), min_size=2, max_size=6))
    labels = np.repeat(np.arange(len(counts)), counts)
    return labels[draw(st.permutations(range(len(labels))))]


@st.composite
def grouped(draw: st.DrawFn, max_groups: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Labels without a gap, and a group for each row."""
    n_classes = draw(st.integers(2, 4))
    rows = st.tuples(st.integers(0, n_classes - 1), st.integers(1, max_groups))
    table = np.array(draw(st.lists(rows, min_size=n_classes, max_size=40)))
    return np.unique(table[:, 0], return_inverse=True)[1], table[:, 1]


def counts_per_group(labels: NDArray[Any], groups: NDArray[Any]) -> NDArray[np.int64]:
    classes = range(int(labels.max()) + 1)
    return np.array([[np.sum((labels == c) & (groups == g)) for c in classes] for g in np.unique(groups)])


def can_be_split(counts: NDArray[np.int64]) -> bool:
    """Whether any set of groups, tried one by one, has every class on both sides."""
    choices = itertools.product([False, True], repeat=len(counts))
    return any((counts[side := np.array(c)].any(0) & counts[~side].any(0)).all() for c in choices)


@given(labels=class_numbers(), fraction=fractions, seed=seeds)
def test_stratified_sides_are_disjoint_complete_and_sorted(
    labels: NDArray[np.int64], fraction: float, seed: int
) -> None:
    train, test = stratified_split(labels, fraction, seed)
    assert train.dtype == test.dtype == np.int64
    assert sorted([*train, *test]) == list(range(len(labels)))
    assert (np.diff(train) > 0).all()
    assert (np.diff(test) > 0).all()


@given(labels=class_numbers(), fraction=fractions, seed=seeds)
def test_every_class_is_within_one_row_of_its_share(labels: NDArray[np.int64], fraction: float, seed: int) -> None:
    train, test = stratified_split(labels, fraction, seed)
    totals = np.bincount(labels)
    n_test = np.bincount(labels[test], minlength=len(totals))
    assert (np.abs(n_test - totals * fraction) < 1 + 1e-9).all()
    assert (n_test > 0).all()
    assert (np.bincount(labels[train], minlength=len(totals)) > 0).all()


@given(labels=class_numbers(), fraction=fractions, seed=seeds)
def test_a_seed_names_one_split(labels: NDArray[np.int64], fraction: float, seed: int) -> None:
    first = stratified_split(labels, fraction, seed)
    second = stratified_split(labels.copy(), fraction, seed)
    np.testing.assert_array_equal(first[1], second[1])


def test_splits_are_the_same_on_every_platform() -> None:
    labels = np.arange(30) % 3
    groups = np.arange(30) // 3
    assert stratified_split(labels, 0.2, 7)[1].tolist() == [12, 13, 16, 20, 21, 23]
    assert group_split(labels, groups, 0.2, 7)[1].tolist() == [15, 16, 17, 21, 22, 23]
    assert thin_out(labels, 6, 7).tolist() == [5, 12, 13, 14, 24, 25]


@given(labels=class_numbers(), data=st.data(), seed=seeds)
def test_a_part_of_the_rows_has_every_class_in_proportion(
    labels: NDArray[np.int64], data: st.DataObject, seed: int
) -> None:
    totals = np.bincount(labels)
    n = data.draw(st.integers(len(totals), len(labels)))
    rows = thin_out(labels, n, seed)
    assert len(rows) == n
    assert (np.diff(rows) > 0).all()
    share = totals * n / len(labels)
    counts = np.bincount(labels[rows], minlength=len(totals))
    assert (counts >= 1).all()
    if share.min() >= 1:
        assert (np.abs(counts - share) < 1 + 1e-9).all()


def test_fewer_rows_are_drawn_from_among_more() -> None:
    labels = np.arange(1000) % 10
    few, more = (set(thin_out(labels, n, 3).tolist()) for n in (100, 500))
    assert few < more


@pytest.mark.parametrize("n", [1, 31])
def test_rows_that_cannot_be_drawn_are_refused(n: int) -> None:
    with pytest.raises(InputError, match=f"train_samples is {n}, but .* 30 samples of 3 classes; expected 3 to 30"):
        thin_out(np.arange(30) % 3, n, 0)


def test_the_size_is_the_fraction() -> None:
    labels = np.repeat([0, 1, 2], [71, 59, 48])
    assert len(stratified_split(labels, 0.2, 0)[1]) == 36
    assert len(stratified_split(np.repeat(np.arange(7), 37), 0.2, 0)[1]) == 52


def test_seeds_give_independent_splits() -> None:
    labels = np.arange(1000) % 4
    tests = [set(stratified_split(labels, 0.2, seed)[1].tolist()) for seed in range(30)]
    shared = [len(a & b) / 200 for a, b in itertools.combinations(tests, 2)]
    assert abs(np.mean(shared) - 0.2) < 0.01


def test_every_row_is_as_likely_as_another() -> None:
    labels = np.repeat([0, 1], 20)
    times = sum(np.isin(np.arange(40), stratified_split(labels, 0.25, seed)[1]) for seed in range(400))
    assert np.abs(times - 100).max() < 5 * np.sqrt(400 * 0.25 * 0.75)


@pytest.mark.parametrize(
    ("labels", "fraction", "seed", "message"),
    [
        ([0, 0, 1], 0.5, 0, 'class "ih" has one row; a split needs at least two of every class'),
        ([0, 0, 1, 1], 0.0, 0, "the test fraction must lie between 0 and 1, got 0"),
        ([0, 0, 1, 1], 1.0, 0, "the test fraction must lie between 0 and 1, got 1"),
        ([0, 0, 1, 1], float("nan"), 0, "the test fraction must lie between 0 and 1, got nan"),
        ([0, 0, 1, 1], 0.5, -1, "a split seed must not be negative, got -1"),
    ],
)
def test_what_cannot_be_split_is_said(labels: list[int], fraction: float, seed: int, message: str) -> None:
    with pytest.raises(InputError) as caught:
        stratified_split(np.array(labels), fraction, seed, ("ae", "ih"))
    assert str(caught.value) == message


@given(table=grouped(6), fraction=fractions, seed=seeds)
def test_a_group_split_is_found_whenever_there_is_one(
    table: tuple[NDArray[np.int64], NDArray[np.int64]], fraction: float, seed: int
) -> None:
    labels, groups = table
    if not can_be_split(counts_per_group(labels, groups)):
        with pytest.raises(InputError):
            group_split(labels, groups, fraction, seed)
        return
    train, test = group_split(labels, groups, fraction, seed)
    assert sorted([*train, *test]) == list(range(len(labels)))
    assert not set(groups[train]) & set(groups[test])
    assert set(labels[train]) == set(labels[test]) == set(labels)
    np.testing.assert_array_equal(group_split(labels, groups, fraction, seed)[1], test)


def test_talkers_are_shared_out_evenly() -> None:
    generator = np.random.Generator(np.random.PCG64(3))
    groups = generator.integers(0, 100, 1000)
    labels = generator.integers(0, 7, 1000)
    drawn: set[tuple[int, ...]] = set()
    for seed in range(10):
        _, test = group_split(labels, groups, 0.2, seed)
        drawn.add(tuple(test))
        share = np.bincount(labels[test]) / np.bincount(labels)
        assert np.abs(share - 0.2).max() < 0.03
    assert len(drawn) == 10


def test_only_the_grouping_matters_not_its_numbers() -> None:
    labels, groups = np.arange(60) % 3, np.arange(60) // 4
    np.testing.assert_array_equal(
        group_split(labels, groups, 0.3, 5)[1], group_split(labels, groups * 1000 - 7, 0.3, 5)[1]
    )


@pytest.mark.parametrize(
    ("labels", "groups", "message"),
    [
        (
            [0, 0, 1, 1],
            [0, 1, 1, 1],
            'all rows of class "ih" are in one group; a split by group needs it in at least two',
        ),
        (
            [0, 0, 1, 1, 2, 2],
            [0, 1, 1, 2, 2, 0],
            "found no split of the 3 groups that has every class on both sides",
        ),
    ],
)
def test_groups_that_cannot_be_split_are_said(labels: list[int], groups: list[int], message: str) -> None:
    with pytest.raises(InputError) as caught:
        group_split(np.array(labels), np.array(groups), 0.3, 0, ("ae", "ih", "uw"))
    assert str(caught.value) == message
