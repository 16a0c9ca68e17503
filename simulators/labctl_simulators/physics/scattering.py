"""Light through a linear medium, as its transmission matrix T: E_out = T E_in, T of shape (n_outputs, n_inputs).

Sources: J. W. Goodman, *Speckle Phenomena in Optics*, chapters 2 and 3 (circular Gaussian fields, negative
exponential intensities); S. M. Popoff et al., Phys. Rev. Lett. 104, 100601 (2010) (the transmission matrix of a
scattering medium); F. Mezzadri, Notices AMS 54, 592 (2007) (random unitary matrices).
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Real = NDArray[np.float64]
Complex = NDArray[np.complex128]

BLOCK_ROWS = 64
"""Rows of one matrix product. Products of one fixed shape add in one order wherever a row stands, so that a row's bits
depend on its drives alone; fewer rows are padded with zeros."""

TOLERANCE = 0.01
"""A matrix has a declared property when it departs from it by less than this (see `departure`)."""

Property = Literal["passive", "reciprocal", "unitary"]


def gaussian_medium(n_inputs: int, n_outputs: int, rng: np.random.Generator) -> Complex:
    """Return independent circular complex Gaussian elements of variance 1 / n_inputs.

    The mean output intensity is then the mean input intensity: <|E_out|²> = Σ|E_in|² / n_inputs.
    """
    parts = rng.standard_normal((n_outputs, n_inputs, 2)) * np.sqrt(0.5 / n_inputs)
    return parts.view(np.complex128)[..., 0]


def unitary_medium(n_modes: int, rng: np.random.Generator) -> Complex:
    """Return a lossless mixer of `n_modes` modes, drawn evenly (Haar) from all of them; Σ|E_out|² = Σ|E_in|²."""
    q, r = np.linalg.qr(gaussian_medium(n_modes, n_modes, rng))
    return q * np.exp(1j * np.angle(np.diagonal(r)))


def departure(matrix: Complex, declared: Property) -> float:
    """Return how far `matrix` is from having a property.

    Passive: excess of the largest singular value over 1. Reciprocal: ‖T - Tᵀ‖ / ‖T‖. Unitary: ‖T†T - 1‖ / √n. The
    last two are infinite for a matrix that is not square. Norms are Frobenius norms.
    """
    if declared == "passive":
        return max(0.0, float(np.linalg.norm(matrix, ord=2)) - 1.0)
    n_outputs, n_inputs = matrix.shape
    if n_outputs != n_inputs:
        return np.inf
    if declared == "reciprocal":
        return float(np.linalg.norm(matrix - matrix.T) / np.linalg.norm(matrix))
    return float(np.linalg.norm(matrix.conj().T @ matrix - np.eye(n_inputs)) / np.sqrt(n_inputs))


class BlockPropagator:
    """Computes `offset` + T E for up to `BLOCK_ROWS` fields at once, in single precision and real arithmetic.

    Real and imaginary parts stand side by side: outputs are (rows, 2 n_outputs), inputs (rows, 2 n_inputs), or
    (rows, n_inputs) when the input field has no imaginary part (`complex_inputs` false), which halves the work.
    """

    def __init__(self, matrix: NDArray[np.complexfloating], offset: Complex, *, complex_inputs: bool) -> None:
        transposed = matrix.T
        from_real = np.concatenate([transposed.real, transposed.imag], axis=1)
        from_imaginary = np.concatenate([-transposed.imag, transposed.real], axis=1)
        parts = np.concatenate([from_real, from_imaginary]) if complex_inputs else from_real
        self._matrix: NDArray[np.float32] = np.ascontiguousarray(parts, dtype=np.float32)
        self._offset: NDArray[np.float32] = np.concatenate([offset.real, offset.imag]).astype(np.float32)

    def propagate(self, parts: NDArray[np.float32], block_rows: int = BLOCK_ROWS) -> NDArray[np.float32]:
        """Return the output field's parts for the input field's `parts`, at most `block_rows` rows."""
        block = np.zeros((block_rows, len(self._matrix)), dtype=np.float32)
        block[: len(parts)] = parts
        return (block @ self._matrix)[: len(parts)] + self._offset


def intensity(parts: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return |E|² (rows, n) of fields given as real and imaginary parts (rows, 2 n)."""
    real, imaginary = np.split(parts, 2, axis=1)
    return np.square(real) + np.square(imaginary)
