"""A spatial light modulator: from drives in [0, 1] to the field that leaves the panel.

Fields are relative to the illumination and follow the time convention exp(-iωt): a longer optical path is a phase
factor exp(+iφ).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Real = NDArray[np.float64]
Complex = NDArray[np.complex128]


@dataclass(frozen=True)
class Modulator:
    """How one pixel's field follows its drive x: m(x) = x, or m(x) = exp(i · `stroke_rad` · x) when that is a number.

    The panel shows the nearest of `levels` equidistant drives from 0 to 1.
    """

    levels: int
    stroke_rad: float | None

    @property
    def modulates_phase(self) -> bool:
        """Whether the field is complex."""
        return self.stroke_rad is not None

    def field(self, drives: Real) -> Complex:
        """Return m(x), elementwise."""
        if self.stroke_rad is None:
            return drives.astype(np.complex128)
        return np.exp(1j * self.stroke_rad * drives)

    def slope(self, drives: Real) -> Complex:
        """Return dm/dx, elementwise."""
        if self.stroke_rad is None:
            return np.ones(drives.shape, dtype=np.complex128)
        return 1j * self.stroke_rad * self.field(drives)

    def power(self, rms_drive: float) -> float:
        """Return the mean of |m|² over drives whose root mean square is `rms_drive`."""
        return rms_drive**2 if self.stroke_rad is None else 1.0

    def shown_levels(self, drives: NDArray[np.float32]) -> NDArray[np.intp]:
        """Return the level, 0 to `levels` - 1, that the panel shows for each drive."""
        return np.rint(drives * np.float32(self.levels - 1)).astype(np.intp)

    def level_fields(self) -> Complex:
        """Return m (levels,) of every level."""
        return self.field(np.linspace(0.0, 1.0, self.levels))


@dataclass(frozen=True)
class Panel:
    """Macro-pixels: the mean field over macro-pixel k is static_k + active_k · m(x_k), both of shape (n_inputs,)."""

    active: Real
    static: Complex


def panel(
    modulator: Modulator,
    n_inputs: int,
    *,
    fill: float,
    pixels_per_input: int,
    dead_share: float,
    rng: np.random.Generator,
) -> Panel:
    """Return a panel whose macro-pixels hold `pixels_per_input` pixels each, dead ones drawn with `rng`.

    The share `fill` of a pixel's area modulates; the rest reflects unmodulated (m = 1), which is the zero order. A
    dead pixel stays at level 0 for ever.
    """
    dead: Real = rng.binomial(pixels_per_input, dead_share, size=n_inputs) / pixels_per_input
    stuck = modulator.field(np.zeros(1))[0]
    return Panel(active=fill * (1.0 - dead), static=(1.0 - fill) + fill * stuck * dead)
