"""Responses now explained by responses then, channel by channel: y = g·b + o."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Real = NDArray[np.float64]


@dataclass(frozen=True)
class Affine:
    """The best g and o (C,) by least squares, and mean squares (C,) in units of the spread squared.

    `explained` is what g and o explain better than g = 1, o = 0, per degree of freedom (2); `unexplained` what they
    leave, per degree of freedom (`freedom`). `left`, `left_by_gain` and `left_by_offset` are the sums of squares that
    both, a gain alone and an offset alone leave.
    """

    gains: NDArray[np.inexact]
    offsets: NDArray[np.inexact]
    freedom: int
    explained: Real
    unexplained: Real
    left: Real
    left_by_gain: Real
    left_by_offset: Real

    @classmethod
    def fitted(cls, then: NDArray[np.inexact], now: NDArray[np.inexact], spread: Real) -> "Affine":
        """Fit `now` (R, C) to `then` (R, C), whose differences are expected to be of the size of `spread` (C,)."""
        centre_then, centre_now = then.mean(axis=0), now.mean(axis=0)
        moved_then, moved_now = then - centre_then, now - centre_now
        slope = _ratio((np.conj(moved_then) * moved_now).sum(axis=0), power(moved_then))
        through_zero = _ratio((np.conj(then) * now).sum(axis=0), power(then))
        square, freedom = spread**2, len(now) - 2
        left = power(moved_now - slope * moved_then) / square
        return cls(
            gains=slope,
            offsets=centre_now - slope * centre_then,
            freedom=freedom,
            explained=(power(now - then) / square - left) / 2,
            unexplained=left / freedom,
            left=left,
            left_by_gain=power(now - through_zero * then) / square,
            left_by_offset=power(moved_now - moved_then) / square,
        )


def power(values: NDArray[np.inexact]) -> Real:
    """Return the sum of squared moduli (C,) over the first axis."""
    return (np.abs(values) ** 2).sum(axis=0)


def _ratio(above: NDArray[np.inexact], below: Real) -> NDArray[np.inexact]:
    """Return the quotient, 1 where there is nothing to divide by."""
    return np.divide(above, below, out=np.ones_like(above), where=below > 0)
