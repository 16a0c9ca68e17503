"""Undoes what is known to have happened to responses, channel by channel and one thing after the other."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labctl.contract.layer import ResponseValues
from labctl.drift.baseline import as_numbers, single
from labctl.drift.response_map import ResponseMap


@dataclass(frozen=True)
class Correction:
    """`scale` (C,) and `shift` (C,): a response becomes scale · response + shift."""

    scale: NDArray[np.inexact]
    shift: NDArray[np.inexact]

    def apply(self, responses: ResponseValues) -> ResponseValues:
        """Return corrected responses (..., C) in single precision."""
        return single(as_numbers(responses) * self.scale + self.shift)


@dataclass(frozen=True)
class InTurn:
    """What undoes one thing after the other; nothing at all, too."""

    steps: tuple[Correction | ResponseMap, ...] = ()

    def apply(self, responses: ResponseValues) -> ResponseValues:
        """Return responses (..., C) after all steps, in single precision."""
        for step in self.steps:
            responses = step.apply(responses)
        return single(responses)
