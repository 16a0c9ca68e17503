"""The order of passes within an acquisition.

With memory or drift a fixed order would write the label into the responses: the rows of a group (a positive and a
negative pass, the candidate labels of a sample) therefore take turns at being measured first.
"""

import numpy as np
from numpy.typing import NDArray


def counterbalanced_order(groups: int, k: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Return the acquisition order of `groups` x `k` rows as indices into the flattened (groups, k) request.

    Groups come in random order, each group's rows next to one another. In every k consecutive groups each column
    takes each place exactly once (a randomised Latin square, Fisher 1935), so over an acquisition the places of any
    column differ in number by at most one per incomplete square.
    """
    order = generator.permutation(groups)
    if k == 1:
        return order
    squares = -(-groups // k)
    rows, places, columns = generator.random((3, squares, k)).argsort(axis=2)
    cyclic = (rows[:, :, None] + places[:, None, :]) % k
    turns = columns[np.arange(squares)[:, None, None], cyclic].reshape(-1, k)[:groups]
    return (order[:, None] * k + turns).ravel()
