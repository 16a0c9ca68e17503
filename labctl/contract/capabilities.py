"""What some layers can do beyond measuring: small protocols, asked for with `isinstance`."""

from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from labctl.contract.layer import Drives


@runtime_checkable
class Differentiable(Protocol):
    """A simulated layer whose physics has an exact derivative; never used by PhyLL, only by rules it is compared with."""

    def differentiate(self, drives: Drives, upstream: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        """Return the gradient (n, n_inputs) of sum(upstream * responses) at `drives` (n, n_inputs).

        `upstream` is (n, n_outputs). The responses differentiated have no noise, no drift and no quantisation.
        Raises `DriveError` for drives or an upstream that do not fit the layer.
        """
        ...
