"""What a learning rule asks for.

A rule never touches hardware: its methods are generators that yield `Measure` and are sent the responses, so that a
schedule decides how, when and whether each request becomes physical passes.
"""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from labctl.network.label import Vectors

Purpose = Literal["statistics", "train", "view", "twin", "test", "evaluate", "predict", "baseline", "reference", "map"]
"""What rows are for. `train` rows carry the data set's own samples; those of a `view` or a `twin` do not."""

ResultT = TypeVar("ResultT")
Requests = Generator["Measure | Differentiate | Write", NDArray[Any], ResultT]
"""A computation that yields requests and is sent for each what it asks for: responses, a derivative, or nothing."""


@dataclass(frozen=True, slots=True)
class Measure:
    """Send `inputs` (groups, k, width) through the layer of `block` (counted from 0).

    The answer is responses (groups, k, n_outputs). The k rows of a group are compared with one another - a positive and
    a negative pass, the candidate labels of one sample - so they are measured next to each other in a counterbalanced
    order. `samples` (groups,) are indices into the data set, `labels` (groups, k) what was embedded.
    """

    block: int
    inputs: Vectors
    samples: NDArray[np.int64]
    labels: NDArray[np.int64]
    purpose: Purpose

    @property
    def n_rows(self) -> int:
        """Number of rows asked for."""
        return self.labels.size


@dataclass(frozen=True, slots=True)
class Differentiate:
    """Send `upstream` (n, n_outputs) back through the layer of `block` at `inputs` (n, width).

    The answer is the gradient (n, n_inputs) of sum(upstream * response) with respect to the drives. Only a simulator
    that is `Differentiable` can be asked; it takes no pass.
    """

    block: int
    inputs: Vectors
    upstream: Vectors


@dataclass(frozen=True, slots=True)
class Write:
    """Let the layer of `block` have its own parameters at `values` (n_parameters,) from the next measurement on."""

    block: int
    values: NDArray[np.float64]
