"""What a learning rule asks for.

A rule never touches hardware: its methods are generators that yield `Measure` and are sent the responses, so that a
schedule decides how, when and whether each request becomes physical passes.
"""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from labctl.contract.layer import ResponseValues
from labctl.network.label import Vectors

Purpose = Literal["statistics", "train", "test", "evaluate", "predict", "baseline", "reference"]

ResultT = TypeVar("ResultT")
Requests = Generator["Measure", ResponseValues, ResultT]
"""A computation that yields measurement requests and is sent responses (groups, k, n_outputs) for each."""


@dataclass(frozen=True, slots=True)
class Measure:
    """Send `inputs` (groups, k, width) through the layer of `block` (counted from 0).

    The k rows of a group are compared with one another - a positive and a negative pass, the candidate labels of one
    sample - so they are measured next to each other in a counterbalanced order. `samples` (groups,) are indices into
    the data set, `labels` (groups, k) what was embedded.
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
