"""What the responses to reference drives were, and how far they scatter by themselves."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labctl.contract.layer import ResponseValues
from labctl.drift.affine import Real

LEAST_REFERENCES = 4
"""Gain and offset are two numbers; what is left of four drives tells whether they explain what happened."""

LEAST_REPEATS = 2


@dataclass(frozen=True)
class Baseline:
    """Responses to R reference drives on C channels before anything changed.

    `mean` (R, C) over the repeats; `noise` (C,) standard deviation of a single pass around it, from `freedom`
    independent deviations per channel. A reading is expected within `spread` (C,) of the mean: noise, that of the
    mean itself, and the `tolerance`, a share of the channel's rms that counts as no change. `independent`
    is as how many independent channels their noise counts, 1 to C: a source that flickers moves them all together.
    """

    mean: NDArray[np.inexact]
    noise: Real
    freedom: int
    spread: Real
    independent: float

    @classmethod
    def of(cls, responses: ResponseValues, tolerance: float) -> "Baseline":
        """Return the baseline of `responses` (repeats, R, C).

        Raises `ValueError` for fewer than 2 repeats or 4 drives.
        """
        values = as_numbers(responses)
        repeats, references, _ = values.shape
        if repeats < LEAST_REPEATS or references < LEAST_REFERENCES:
            least = f"{LEAST_REPEATS} repeats of {LEAST_REFERENCES} drives"
            raise ValueError(f"a baseline takes at least {least}, got {repeats} of {references}")
        mean = values.mean(axis=0)
        freedom = references * (repeats - 1)
        variance: Real = (np.abs(values - mean) ** 2).sum(axis=(0, 1)) / freedom
        rms: Real = np.sqrt((np.abs(mean) ** 2).mean(axis=0))
        # A channel that is silent, or whose counts never change, still has the resolution of its neighbours.
        floor = tolerance * np.maximum(rms, 0.1 * float(np.median(rms)))
        spread = np.sqrt(variance * (1 + 1 / repeats) + floor**2)
        spread = np.where(spread > 0, spread, np.finfo(np.float64).tiny ** 0.5)
        independent = _independent(values - mean, np.sqrt(variance), freedom)
        return cls(mean, np.sqrt(variance), freedom, spread, independent)


def _independent(deviations: NDArray[np.inexact], noise: Real, freedom: int) -> float:
    """Return the effective number of independent channels in `deviations` (repeats, R, C).

    Participation ratio of the eigenvalues of their correlations, from which the ratio that independent channels would
    show in so few deviations is taken away: 1/n = sum(l^2) / sum(l)^2 - 1/freedom.
    """
    n_channels = len(noise)
    noisy = noise > 0
    scaled = deviations.reshape(-1, n_channels)[:, noisy] / noise[noisy]
    if not scaled.any():
        return float(n_channels)
    gram = scaled @ np.conj(scaled.T)
    inverse = float((np.abs(gram) ** 2).sum() / np.abs(np.trace(gram)) ** 2) - 1 / freedom
    return float(np.clip(1 / max(inverse, 1 / n_channels), 1.0, n_channels))


def surprise(ratios: Real, freedom: int, freedom_of_noise: int) -> float:
    """Return the mean of -log(p) over F-distributed `ratios` (C,): 1 where chance alone is at work, more otherwise."""
    from scipy.stats import f

    return float(-f.logsf(ratios, freedom, freedom_of_noise).mean())


def as_numbers(responses: ResponseValues) -> NDArray[np.inexact]:
    """Return responses in double precision: floats as float64, complex as complex128, counts as float64."""
    return responses.astype(np.complex128 if responses.dtype.kind == "c" else np.float64)


def single(values: ResponseValues) -> ResponseValues:
    """Return values in the single precision of their kind."""
    return values.astype(np.complex64 if values.dtype.kind == "c" else np.float32)
