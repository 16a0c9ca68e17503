"""The light path of an optical layer: panel, medium and camera pixels, from drives to expected signals in counts."""

import numpy as np
from numpy.typing import NDArray

from labctl_simulators.physics.modulator import Modulator, Panel
from labctl_simulators.physics.scattering import BLOCK_ROWS, BlockPropagator

Real = NDArray[np.float64]
Complex = NDArray[np.complex128]


def brightness(modulator: Modulator, panel: Panel, matrix: Complex, rms_drive: float) -> float:
    """Return the mean over all outputs of the intensity for independent drives of that root mean square.

    The unmodulated field interferes with itself, everything else adds in power: the mean over media of random phase.
    """
    modulated = np.square(np.abs(matrix * panel.active)).sum(axis=1) * modulator.power(rms_drive)
    return float((modulated + np.square(np.abs(matrix @ panel.static))).mean())


class LightPath:
    """Signals s = `counts` · |T (static + active ⊙ m(x))|², T being `matrix` (n_outputs, n_inputs), x the drives.

    `fields` and `signals` differ in what they are for: `fields` shows the panel's levels, in blocks and in single
    precision, and is what a measurement uses; `signals` and `gradient` take drives as continuous, in double precision.
    """

    def __init__(self, modulator: Modulator, panel: Panel, matrix: Complex, counts: float) -> None:
        self._modulator = modulator
        # Folded into one affine map of m(x), scaled so that |.|² is in counts.
        scaled = matrix * np.sqrt(counts)
        self._gains: NDArray[np.complex64] = (scaled * panel.active).astype(np.complex64)
        self._offset = scaled @ panel.static
        self._propagator = BlockPropagator(self._gains, self._offset, complex_inputs=modulator.modulates_phase)
        fields = modulator.level_fields()
        tables = (fields.real, fields.imag) if modulator.modulates_phase else (fields.real,)
        self._tables = tuple(table.astype(np.float32) for table in tables)

    def fields(self, drives: NDArray[np.float32], block_rows: int = BLOCK_ROWS) -> NDArray[np.float32]:
        """Return the real and imaginary parts (n, 2 n_outputs) of the field for at most `block_rows` drives."""
        levels = self._modulator.shown_levels(drives)
        return self._propagator.propagate(np.concatenate([table[levels] for table in self._tables], axis=1), block_rows)

    def signals(self, drives: Real) -> Real:
        """Return the signals (n, n_outputs) for `drives` (n, n_inputs)."""
        return np.square(np.abs(self._field(drives)))

    def gradient(self, drives: Real, upstream: Real) -> Real:
        """Return the gradient (n, n_inputs) of sum(upstream * signals): 2 Re[m'(x) Σ_m u_m E_m* T_mk active_k]."""
        weighted: Complex = 2.0 * upstream * self._field(drives).conj()
        return ((weighted @ self._gains) * self._modulator.slope(drives)).real

    def _field(self, drives: Real) -> Complex:
        return self._modulator.field(drives) @ self._gains.T + self._offset
