"""What some layers can do besides being measured. A layer offers a capability by having its methods."""

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from labctl.contract.layer import Drives, Misfit


@runtime_checkable
class Differentiable(Protocol):
    """A layer that knows its own derivative: an exact simulator, never hardware.

    Learning rules of this package never ask for it; backpropagation, as an upper reference, does.
    """

    def differentiate(self, drives: Drives, upstream: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return the gradient (n, n_inputs) of Σ upstream · response with respect to `drives` (n, n_inputs).

        `upstream` is (n, n_outputs); responses are taken without noise or drift. The layer is open. Raises
        `DriveError` for drives that cannot be measured.
        """
        ...


@runtime_checkable
class DomainLimited(Protocol):
    """A layer that accepts less than the ranges and levels of its inputs say.

    It is asked before a run is begun, so that drives known then are not refused in its middle.
    """

    def misfit(self, drives: Drives) -> Misfit | None:
        """Return the first of `drives` (n, n_inputs) that the layer would refuse though all are within its inputs'
        ranges and levels; open or not.
        """
        ...
