"""The acquisition order: random, groups kept together, places shared out evenly."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from labctl.orchestrator.order import counterbalanced_order

shapes = st.tuples(st.integers(1, 60), st.integers(1, 12), st.integers(0, 2**32 - 1))


@given(shapes)
def test_order_is_a_permutation_with_groups_next_to_one_another(shape):
    groups, k, seed = shape
    order = counterbalanced_order(groups, k, np.random.default_rng(seed))
    assert sorted(order) == list(range(groups * k))
    by_group = (order // k).reshape(groups, k)
    assert (by_group == by_group[:, :1]).all()


@given(shapes)
def test_every_column_takes_every_place_equally_often(shape):
    groups, k, seed = shape
    columns = (counterbalanced_order(groups, k, np.random.default_rng(seed)) % k).reshape(groups, k)
    for place in range(k):
        counts = np.bincount(columns[:, place], minlength=k)
        assert counts.max() - counts.min() <= 1


def test_half_of_the_positives_come_first_and_which_is_random():
    firsts = {tuple(counterbalanced_order(6, 2, np.random.default_rng(seed))[::2] % 2) for seed in range(50)}
    assert {sum(first) for first in firsts} == {3}
    assert len(firsts) == 2**3  # one of either kind in every two groups
