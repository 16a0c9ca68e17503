"""Divides a dataset into a training and a test part, the same way on every platform.

Random order comes from sorting the raw stream of PCG64, which NumPy promises to keep, rather than from its shuffling,
which may change between versions.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from labctl.contract.errors import InputError
from labctl.data.dataset import Labels

Split = tuple[Labels, Labels]
"""Sorted row numbers of the training part and of the test part."""

_SPLIT_STREAM = int.from_bytes(b"splt", "big")
_THIN_STREAM = int.from_bytes(b"thin", "big")
_MAX_DRAWS = 100


def stratified_split(labels: Labels, test_fraction: float, seed: int, class_names: Sequence[str] = ()) -> Split:
    """Draw the test part class by class, in proportion.

    The test part has round(n * test_fraction) rows, shared out by largest remainder, so that each class is within one
    row of its share; every class has at least one row on both sides, even if that makes the test part larger or
    smaller. Raises `InputError` for a class with a single row.
    """
    _check_settings(test_fraction, seed)
    counts = np.bincount(labels)
    if counts.min() < 2:
        name = _class_name(int(counts.argmin()), class_names)
        raise InputError(f"{name} has one row; a split needs at least two of every class")
    n_test = np.clip(_share_out(counts, test_fraction), 1, counts - 1)
    return _sides(_drawn(labels, n_test, _random_order(_stream(seed, _SPLIT_STREAM), len(labels))))


def thin_out(labels: Labels, n: int, seed: int) -> Labels:
    """Return the sorted numbers of `n` of the rows, drawn class by class in proportion; at least one of every class.

    Of two numbers of rows the smaller draws, but for one row of a class, from among those of the larger. Raises
    `InputError` when there are not so many rows, or more classes than `n`.
    """
    counts = np.bincount(labels)
    if not len(counts) <= n <= len(labels):
        raise InputError(
            f"train_samples is {n}, but the training part has {len(labels)} samples of {len(counts)} classes; expected "
            f"{len(counts)} to {len(labels)}"
        )
    order = _random_order(_stream(seed, _THIN_STREAM), len(labels))
    return np.flatnonzero(_drawn(labels, _at_least_one(_share_out(counts, n / len(labels))), order)).astype(np.int64)


def _share_out(counts: NDArray[np.int64], fraction: float) -> NDArray[np.int64]:
    """Return how many rows of each class make up a fraction of all rows, by largest remainder."""
    share = counts * fraction
    n = np.floor(share).astype(np.int64)
    left_over = round(int(counts.sum()) * fraction) - int(n.sum())
    n[np.argsort(n - share, kind="stable")[:left_over]] += 1
    return n


def _at_least_one(n_of_class: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the same number of rows in all, with one for every class, taken from the largest."""
    n = np.maximum(n_of_class, 1)
    for _ in range(int(n.sum() - n_of_class.sum())):
        n[n.argmax()] -= 1
    return n


def _drawn(labels: Labels, n_of_class: NDArray[np.int64], order: Labels) -> NDArray[np.bool_]:
    """Return which rows are the first so many of each class in `order`."""
    drawn = np.zeros(len(labels), dtype=np.bool_)
    for number, n in enumerate(n_of_class):
        drawn[order[labels[order] == number][:n]] = True
    return drawn


def group_split(
    labels: Labels, groups: Labels, test_fraction: float, seed: int, class_names: Sequence[str] = ()
) -> Split:
    """Draw whole groups, so that no group has rows on both sides and the classes are as even as a search can make them.

    Groups join the test part in random order while that makes it more even; then single groups change sides as long
    as that does. If a class is missing on one side the draw is repeated. Raises `InputError` when a class lies in a
    single group, or when no draw has every class on both sides.
    """
    _check_settings(test_fraction, seed)
    group = np.unique(groups, return_inverse=True)[1]
    counts = np.zeros((int(group.max()) + 1, int(labels.max()) + 1), dtype=np.int64)
    np.add.at(counts, (group, labels), 1)
    alone = np.flatnonzero((counts > 0).sum(axis=0) < 2)
    if len(alone):
        name = _class_name(int(alone[0]), class_names)
        raise InputError(f"all rows of {name} are in one group; a split by group needs it in at least two")
    stream = _stream(seed, _SPLIT_STREAM)
    for _ in range(_MAX_DRAWS):
        in_test = _draw_groups(counts, test_fraction, _random_order(stream, len(counts)))
        if counts[in_test].any(axis=0).all() and counts[~in_test].any(axis=0).all():
            return _sides(in_test[group])
    raise InputError(f"found no split of the {len(counts)} groups that has every class on both sides")


def _draw_groups(counts: NDArray[np.int64], test_fraction: float, order: Labels) -> NDArray[np.bool_]:
    """Return which groups form the test part; `counts` is (n_groups, n_classes)."""
    totals = counts.sum(axis=0)
    in_test = np.zeros(len(counts), dtype=np.bool_)
    n_test = np.zeros_like(totals)
    uneven = _unevenness(n_test, totals, test_fraction)
    for group in order:
        joined = _unevenness(n_test + counts[group], totals, test_fraction)
        if joined < uneven:
            in_test[group], n_test, uneven = True, n_test + counts[group], joined
    while True:
        changed = n_test + np.where(in_test[:, None], -counts, counts)
        after = _unevenness(changed, totals, test_fraction)
        group = after.argmin()
        if after[group] >= uneven:
            return in_test
        in_test[group], n_test, uneven = ~in_test[group], changed[group], after[group]


def _unevenness(n_test: NDArray[np.int64], totals: NDArray[np.int64], test_fraction: float) -> NDArray[np.float64]:
    """Return how far class counts (..., n_classes) of a test part are from their share.

    The sum of squared deviations of the classes' test fractions; a class that is missing on one side weighs more than
    all deviations together. Rounded, so that the order of summation cannot decide between equals.
    """
    deviation: NDArray[np.float64] = np.square(n_test / totals - test_fraction).sum(axis=-1)
    missing: NDArray[np.int64] = ((n_test == 0) | (n_test == totals)).sum(axis=-1)
    uneven: NDArray[np.float64] = np.round(deviation + len(totals) * missing, 12)
    return uneven


def _check_settings(test_fraction: float, seed: int) -> None:
    if not 0 < test_fraction < 1:
        raise InputError(f"the test fraction must lie between 0 and 1, got {test_fraction:g}")
    if seed < 0:
        raise InputError(f"a split seed must not be negative, got {seed}")


def _class_name(number: int, class_names: Sequence[str]) -> str:
    return f'class "{class_names[number]}"' if class_names else f"class number {number}"


def _stream(seed: int, name: int) -> np.random.PCG64:
    return np.random.PCG64(np.random.SeedSequence([seed, name]))


def _random_order(stream: np.random.PCG64, n: int) -> Labels:
    return np.argsort(stream.random_raw(n), kind="stable")


def _sides(in_test: NDArray[np.bool_]) -> Split:
    return np.flatnonzero(~in_test).astype(np.int64), np.flatnonzero(in_test).astype(np.int64)
