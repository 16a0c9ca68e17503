"""Slow drift: a smooth function of laboratory time alone, so that any row can be computed without its predecessors."""

import math

import numpy as np

PERIODS_S = (30.0, 600.0)
N_TERMS = 4


class SlowDrift:
    """A relative gain 1 + a few slow sines of random period and phase, with rms `rms` in all."""

    def __init__(self, rms: float, rng: np.random.Generator) -> None:
        self._amplitude = rms * math.sqrt(2.0 / N_TERMS)
        rad_per_s = 2.0 * np.pi / np.exp(rng.uniform(*np.log(PERIODS_S), size=N_TERMS))
        phases = rng.uniform(0.0, 2.0 * np.pi, size=N_TERMS)
        self._terms: list[tuple[float, float]] = list(zip(rad_per_s.tolist(), phases.tolist(), strict=True))

    def gain(self, time_s: float) -> float:
        """Return the gain at a laboratory time."""
        return 1.0 + self._amplitude * sum(math.sin(rate * time_s + phase) for rate, phase in self._terms)
