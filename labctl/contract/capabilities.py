"""What some layers can do besides being measured. A layer offers a capability by having its methods."""

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from labctl.contract.layer import Drives


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
