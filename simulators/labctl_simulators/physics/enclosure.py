"""A flat metal box for microwaves: thin vertical wires between two plates, coupled by the field between them.

Below the frequency at which half a wavelength fits between the plates, the field is vertical and obeys the Helmholtz
equation in two dimensions: the box is a microwave billiard (H.-J. Stöckmann, *Quantum Chaos: An Introduction*,
Cambridge 1999, chapter 2). Everything in it is a wire: antennas and elements carry loads, walls and posts are short
circuits. A thin wire scatters as one dipole, so this is the coupled-dipole model of metasurface cavities (R. Faqiri,
C. Saigre-Tardif, G. C. Alexandropoulos, N. Shlezinger, M. F. Imani, P. del Hougne, *PhysFad*, IEEE Trans. Wireless
Commun. 22 (2023) 580), written in the impedances of X. Zheng, T. M. Antonsen, E. Ott, *Statistics of impedance and
scattering matrices in chaotic microwave cavities*, Electromagnetics 26 (2006) 3. Currents flow in rings of the wires'
radius and fields are averaged over the same rings (Galerkin), so every matrix is symmetric and passive. Time
dependence is exp(+iωt).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Real = NDArray[np.float64]
Complex = NDArray[np.complex128]

LIGHT_SPEED_M_PER_S = 299_792_458.0
PERMEABILITY_H_PER_M = 1.256_637_061e-6

WIRES_PER_WAVELENGTH = 10
"""Wires of a wall at the shortest wavelength. Their radius is their spacing over 2π: the surface of the wires is then
that of the wall, and the grid reflects as the wall does (A. C. Ludwig, *Wire grid modeling of surfaces*, IEEE Trans.
Antennas Propag. 35 (1987) 1045)."""

THICKEST_WIRE = 0.3
"""Largest wavenumber times radius of a wire that scatters as a single dipole; what is left out is of its square."""

CLEARANCE_M = 0.05
"""Smallest distance of posts and antennas from one another and from walls and elements."""


@dataclass(frozen=True)
class Plates:
    """Two plates `height_m` apart. What they and the filling absorb lets a field decay with `quality`, or never.

    `index` is the refractive index between them, over that of the air in which the box was described.
    """

    height_m: float
    quality: float
    index: float = 1.0

    @property
    def cutoff_hz(self) -> float:
        """Frequency above which the field is no longer uniform from plate to plate."""
        return LIGHT_SPEED_M_PER_S / (2.0 * self.height_m)

    def wavenumber_per_m(self, frequency_hz: float) -> complex:
        """Return k with k² = (nω/c)² (1 - i/Q), by which a field in a closed box decays as exp(-ωt/2Q)."""
        vacuum_per_m = 2.0 * math.pi * frequency_hz / LIGHT_SPEED_M_PER_S
        return self.index * vacuum_per_m * complex(np.sqrt(1.0 - 1j / self.quality))

    def radiation_ohm(self, frequency_hz: float) -> float:
        """Return ωμh/4, the radiation resistance of a thin wire between plates without walls."""
        return 0.5 * math.pi * frequency_hz * PERMEABILITY_H_PER_M * self.height_m


@dataclass(frozen=True)
class Wires:
    """Vertical wires at `points_m` (n, 2) with radii `radius_m` (n,)."""

    points_m: Real
    radius_m: Real

    def __len__(self) -> int:
        return len(self.points_m)


def joined(*groups: Wires) -> Wires:
    """Return all wires of `groups`, in order."""
    return Wires(
        np.concatenate([group.points_m for group in groups]), np.concatenate([group.radius_m for group in groups])
    )


def wall(size_m: tuple[float, float], spacing_m: float) -> Wires:
    """Return the walls of a box of `size_m` as wires at most `spacing_m` apart, corners included."""
    length, width = size_m
    n_long, n_wide = math.ceil(length / spacing_m), math.ceil(width / spacing_m)
    along, across = np.arange(n_long) * length / n_long, np.arange(n_wide) * width / n_wide
    sides = [
        np.stack([along, np.zeros(n_long)], axis=1),
        np.stack([np.full(n_wide, length), across], axis=1),
        np.stack([length - along, np.full(n_long, width)], axis=1),
        np.stack([np.zeros(n_wide), width - across], axis=1),
    ]
    spacings = np.repeat([length / n_long, width / n_wide] * 2, [n_long, n_wide] * 2)
    return Wires(np.concatenate(sides), spacings / (2.0 * math.pi))


def scatter(
    size_m: tuple[float, float], margin_m: float, radius_m: Real, keep_off: Wires, rng: np.random.Generator
) -> Wires:
    """Return wires of `radius_m` (n,) at random places, `CLEARANCE_M` from one another and from `keep_off`.

    They are at least `margin_m` from the walls. Raises `ValueError` when the box has no room for them.
    """
    low, high = np.full(2, margin_m), np.array(size_m) - margin_m
    points_m = keep_off.points_m
    for _ in radius_m:
        candidates = low + rng.random((1000, 2)) * (high - low)
        distances_m = np.linalg.norm(candidates[:, None, :] - points_m[None, :, :], axis=2)
        free = np.flatnonzero((distances_m >= CLEARANCE_M).all(axis=1))
        if not free.size or (high <= low).any():
            raise ValueError(
                f"a box of {size_m[0]:g} m x {size_m[1]:g} m has no room for {len(radius_m)} posts and antennas "
                f"{CLEARANCE_M:g} m apart"
            )
        points_m = np.concatenate([points_m, candidates[free[:1]]])
    return Wires(points_m[len(keep_off) :], radius_m)


def impedances(plates: Plates, wires: Wires, frequencies_hz: Real) -> Iterator[Complex]:
    """Yield for each frequency the impedances (n, n) in ohm of `wires` between plates without walls.

    Z_ij = ωμh/4 · J₀(kρ_i) J₀(kρ_j) H₀⁽²⁾(k r_ij), with `own_impedances` on the diagonal.
    """
    from scipy.special import hankel2, jv

    apart_m: Real = np.linalg.norm(wires.points_m[:, None, :] - wires.points_m[None, :, :], axis=2)
    np.fill_diagonal(apart_m, 1.0)
    # A wall's wires repeat their distances, and a Hankel function of complex argument is slow.
    distances_m, pair = np.unique(np.round(apart_m, 9), return_inverse=True)
    for frequency_hz in frequencies_hz.tolist():
        wavenumber = plates.wavenumber_per_m(frequency_hz)
        ring: Complex = np.asarray(jv(0, wavenumber * wires.radius_m), dtype=np.complex128)
        mutual: Complex = np.asarray(hankel2(0, wavenumber * distances_m), dtype=np.complex128)[pair]
        mutual = plates.radiation_ohm(frequency_hz) * ring[:, None] * ring[None, :] * mutual.reshape(apart_m.shape)
        np.fill_diagonal(mutual, own_impedances(plates, wires.radius_m, frequency_hz))
        yield mutual


def own_impedances(plates: Plates, radius_m: Real, frequency_hz: float) -> Complex:
    """Return ωμh/4 · J₀(kρ) H₀⁽²⁾(kρ) in ohm, the impedance of a ring of radius ρ between plates without walls."""
    from scipy.special import hankel2, jv

    argument = plates.wavenumber_per_m(frequency_hz) * radius_m
    own: Complex = np.asarray(jv(0, argument) * hankel2(0, argument), dtype=np.complex128)
    return plates.radiation_ohm(frequency_hz) * own


def shorted(impedance: Complex, n_kept: int) -> Complex:
    """Return the impedances (n_kept, n_kept) of the first wires when all others are short circuits.

    An exact elimination (Schur complement): Z_kk - Z_ks Z_ss⁻¹ Z_sk.
    """
    kept, across, shorts = impedance[:n_kept, :n_kept], impedance[n_kept:, :n_kept], impedance[n_kept:, n_kept:]
    reduced = kept - across.T @ np.linalg.solve(shorts, across)
    # Rounding must not make a reciprocal medium non-reciprocal.
    return 0.5 * (reduced + reduced.T)
