"""The number that is read of an S-parameter: what simulated and real layers mean by the same word."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from labctl.contract.layer import Channel

Readout = Literal["amplitude", "complex", "power", "decibel"]


@dataclass(frozen=True)
class Reading:
    """How S (any shape) becomes responses (n_outputs,): one per value, or one for each of its `parts`, side by side.

    `unit` and `low` describe a response.
    """

    unit: str
    low: float
    read: Callable[[NDArray[np.complex128]], NDArray[np.float64]]
    parts: tuple[str, ...] = ("",)


READINGS: Mapping[Readout, Reading] = {
    "amplitude": Reading("1", 0.0, lambda signal: np.abs(signal).reshape(-1)),
    "power": Reading("1", 0.0, lambda signal: np.square(np.abs(signal)).reshape(-1)),
    "decibel": Reading("dB", -math.inf, lambda signal: 20.0 * np.log10(np.abs(signal)).reshape(-1)),
    "complex": Reading(
        "1", -math.inf, lambda signal: np.stack([signal.real, signal.imag], axis=-1).reshape(-1), (".re", ".im")
    ),
}
"""Readings by name; `complex` gives real and imaginary part of each value, one after the other."""


def readout_channels(
    parameters: Iterable[str], frequencies_hz: NDArray[np.float64], readout: Readout
) -> tuple[Channel, ...]:
    """Return the channels of S-parameters read at frequencies (n,), parameter by parameter: `S21@3.3GHz`."""
    reading = READINGS[readout]
    return tuple(
        Channel(f"{parameter}@{frequency_hz / 1e9:.9g}GHz{part}", reading.unit, reading.low, math.inf)
        for parameter in parameters
        for frequency_hz in frequencies_hz.tolist()
        for part in reading.parts
    )
