"""A metasurface in a flat metal box: S-parameters as a function of the states of programmable elements.

Every element is a wire loaded by a resonant circuit whose resonance its state moves: a Lorentzian polarisability, as
in PhysFad (see `enclosure`). Walls, posts and antenna loads are eliminated exactly once per frequency, so a state
costs one linear system per frequency, of the size of the number of elements. Such boxes exist: J. Erb et al., *Control
of the scattering properties of complex systems by means of tunable metasurfaces*, arXiv 2309.00633 (a flat billiard
with varactor-tuned walls); F. T. Faul et al., arXiv 2407.00054 (a programmable metasurface on a flat chaotic cavity).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from labctl_simulators.physics.enclosure import (
    CLEARANCE_M,
    LIGHT_SPEED_M_PER_S,
    PERMEABILITY_H_PER_M,
    THICKEST_WIRE,
    WIRES_PER_WAVELENGTH,
    Complex,
    Plates,
    Real,
    Wires,
    impedances,
    joined,
    own_impedances,
    scatter,
    shorted,
    wall,
)

REFERENCE_OHM = 50.0
"""Impedance of the cables, to which S-parameters refer."""

MOST_FIXED_WIRES = 3000
"""More wires than this in walls and posts take minutes and gigabytes to eliminate."""


@dataclass(frozen=True)
class Element:
    """A resonant element: state 0 resonates at the first of `resonances_hz`, state 1 at the second, linear between.

    `quality` is that of its own losses; `coupling` is the power it radiates over the power it absorbs when it
    resonates between plates without walls (Q₀/Q_ext of D. M. Pozar, *Microwave Engineering*, chapter 6). Its circuit
    has the inductance L = Q μh / 4g, a capacitance that sets the resonance, and the resistance ω_r L / Q. A vanishing
    coupling leaves a vanishing polarisability.
    """

    resonances_hz: tuple[float, float]
    quality: float
    coupling: float

    def resonance_hz(self, states: Real) -> Real:
        """Return the resonance of every element, for `states` between 0 and 1."""
        low, high = self.resonances_hz
        return (1.0 - states) * low + states * high

    def loads(self, plates: Plates, frequencies_hz: Real, states: Real) -> Complex:
        """Return L · (ω_r/Q + i(ω - ω_r²/ω)) in ohm, of shape (n_frequencies, n_elements)."""
        resonance, swing = self._angular(frequencies_hz, states)
        loads = np.empty(np.broadcast_shapes(resonance.shape, swing.shape), dtype=np.complex128)
        loads.real = resonance / self.quality
        loads.imag = swing - resonance**2 / swing
        return self._inductance_h(plates) * loads

    def load_slopes(self, plates: Plates, frequencies_hz: Real, states: Real) -> Complex:
        """Return the derivatives of `loads` with respect to each element's state."""
        resonance, swing = self._angular(frequencies_hz, states)
        per_state = 2.0 * math.pi * (self.resonances_hz[1] - self.resonances_hz[0])
        slopes = np.empty(np.broadcast_shapes(resonance.shape, swing.shape), dtype=np.complex128)
        slopes.real = 1.0 / self.quality
        slopes.imag = -2.0 * resonance / swing
        return self._inductance_h(plates) * per_state * slopes

    def _angular(self, frequencies_hz: Real, states: Real) -> tuple[Real, Real]:
        return 2.0 * math.pi * self.resonance_hz(states)[None, :], 2.0 * math.pi * frequencies_hz[:, None]

    def _inductance_h(self, plates: Plates) -> float:
        return self.quality * PERMEABILITY_H_PER_M * plates.height_m / (4.0 * self.coupling)


@dataclass(frozen=True)
class Layout:
    """A box of `size_m` (length, width) and where its wires are; every length has since grown by `expansion`."""

    size_m: tuple[float, float]
    plates: Plates
    antennas: Wires
    elements: Wires
    posts: Wires
    expansion: float = 1.0


@dataclass(frozen=True)
class Pitch:
    """Where elements stand: `spacing_m` apart, `distance_m` in front of a wall; wires of `radius_m`."""

    spacing_m: float
    distance_m: float
    radius_m: float


def in_rows(n_elements: int, size_m: tuple[float, float], pitch: Pitch) -> Wires:
    """Return elements along one long wall and then along the other.

    Raises `ValueError` when they do not fit, or when wires would touch.
    """
    length, width = size_m
    if min(pitch.spacing_m, pitch.distance_m) <= 2.0 * pitch.radius_m or width <= 4.0 * pitch.distance_m:
        raise ValueError("elements touch one another or a wall: widen their pitch and distance, or thin their wires")
    per_row = math.floor((length - 2.0 * pitch.distance_m) / pitch.spacing_m) + 1
    if n_elements > 2 * per_row:
        raise ValueError(f"two walls of {length:g} m have room for {2 * per_row} elements, not {n_elements}")
    row, place = np.divmod(np.arange(n_elements), per_row)
    start = 0.5 * (length - (per_row - 1) * pitch.spacing_m)
    across = np.where(row == 0, pitch.distance_m, width - pitch.distance_m)
    points = np.stack([start + place * pitch.spacing_m, across], axis=1)
    return Wires(points, np.full(n_elements, pitch.radius_m))


def arrange(
    size_m: tuple[float, float],
    plates: Plates,
    elements: Wires,
    *,
    antenna_radius_m: Real,
    post_radius_m: Real,
    rng: np.random.Generator,
) -> Layout:
    """Place antennas (n,) and posts (n,) at random between the rows of elements. Raises `ValueError` without room."""
    n_antennas = len(antenna_radius_m)
    radius_m = np.concatenate([antenna_radius_m, post_radius_m])
    placed = scatter(size_m, CLEARANCE_M, radius_m, elements, rng)
    antennas = Wires(placed.points_m[:n_antennas], antenna_radius_m)
    return Layout(size_m, plates, antennas, elements, Wires(placed.points_m[n_antennas:], post_radius_m))


def first_mode_hz(size_m: tuple[float, float]) -> float:
    """Return the frequency below which no wave propagates in a box of `size_m`."""
    return 0.5 * LIGHT_SPEED_M_PER_S * math.hypot(1.0 / size_m[0], 1.0 / size_m[1])


def check_frequency(layout: Layout, frequency_hz: float) -> None:
    """Raise `ValueError` for a frequency at which the model does not hold for the layout, saying which limit breaks."""
    first_hz, plates = first_mode_hz(layout.size_m), layout.plates
    if frequency_hz <= first_hz:
        raise ValueError(
            f"{frequency_hz / 1e9:g} GHz lies below the box's first mode, {first_hz / 1e9:.4g} GHz; raise it or make "
            "the box larger"
        )
    if frequency_hz >= plates.cutoff_hz:
        raise ValueError(
            f"{frequency_hz / 1e9:g} GHz: plates {plates.height_m * 1e3:g} mm apart have one vertical field only below "
            f"{plates.cutoff_hz / 1e9:.4g} GHz; lower the frequency or the box's height"
        )
    thickest_m = THICKEST_WIRE * LIGHT_SPEED_M_PER_S / (2.0 * math.pi * frequency_hz)
    for what, wires in {"antennas": layout.antennas, "elements": layout.elements, "posts": layout.posts}.items():
        radius_m = float(wires.radius_m.max(initial=0.0))
        if radius_m > thickest_m:
            raise ValueError(
                f"{what} of radius {radius_m * 1e3:g} mm are no single dipoles at {frequency_hz / 1e9:g} GHz; up to "
                f"{thickest_m * 1e3:.3g} mm are: lower the frequency or make them thinner"
            )
    n_fixed = len(layout.posts) + 2.0 * sum(layout.size_m) * WIRES_PER_WAVELENGTH * frequency_hz / LIGHT_SPEED_M_PER_S
    if n_fixed > MOST_FIXED_WIRES:
        raise ValueError(
            f"the box takes {n_fixed:.0f} wires at {frequency_hz / 1e9:g} GHz, more than {MOST_FIXED_WIRES}: lower the "
            "frequency or make the box smaller"
        )


def check_spacing(radius_m: float) -> None:
    """Raise `ValueError` for wires that touch one another where they stand closest."""
    if radius_m >= 0.5 * CLEARANCE_M:
        raise ValueError(
            f"wires of radius {radius_m * 1e3:g} mm touch one another where they stand closest, "
            f"{CLEARANCE_M * 1e3:g} mm apart; make them thinner"
        )


def _walls(layout: Layout, highest_hz: float) -> Wires:
    return wall(layout.size_m, LIGHT_SPEED_M_PER_S / highest_hz / WIRES_PER_WAVELENGTH)


@dataclass(frozen=True)
class Reference:
    """The cavity with all elements in one `state`.

    `load` (n_frequencies, 1) is the elements' impedance then, `inverse` that of coupling and load together, `reach` the
    currents (n_frequencies, n_elements, n_antennas) by which it answers the antennas, `direct` the S-matrix.
    """

    state: float
    load: Complex
    inverse: Complex
    reach: Complex
    direct: Complex


@dataclass(frozen=True)
class MetasurfaceCavity:
    """What a box is to its elements and antennas, frequency by frequency.

    S(x) = `direct` - `reach`ᵀ (`coupling` + diag Z(x))⁻¹ `reach`, with `direct` (n_frequencies, n_antennas,
    n_antennas), `reach` (n_frequencies, n_elements, n_antennas) and `coupling` (n_frequencies, n_elements,
    n_elements) in ohm. `coupling` includes the antennas' cables; an element's own reactance in the open is left out of
    it, since the stated resonance contains it.
    """

    frequencies_hz: Real
    plates: Plates
    element: Element
    direct: Complex
    reach: Complex
    coupling: Complex

    @property
    def n_elements(self) -> int:
        """Number of programmable elements."""
        return self.coupling.shape[1]

    @cached_property
    def references(self) -> tuple[Reference, Reference]:
        """The cavity with all elements in state 0, and with all in state 1."""
        return self._reference(0.0), self._reference(1.0)

    def _reference(self, state: float) -> Reference:
        load = self.element.loads(self.plates, self.frequencies_hz, np.array([state]))
        system = self._system(np.full(self.n_elements, state))
        inverse: Complex = np.asarray(np.linalg.inv(system), dtype=np.complex128)
        currents = inverse @ self.reach
        direct = self.direct - self.reach.transpose(0, 2, 1) @ currents
        return Reference(state, load, inverse, currents, direct)

    def scattering(self, states: Real) -> Complex:
        """Return the S-matrix (n_frequencies, n_antennas, n_antennas) for `states` (n_elements,)."""
        currents = np.linalg.solve(self._system(states), self.reach)
        return self.direct - self.reach.transpose(0, 2, 1) @ currents

    def transmission(self, states: Real, paths: Sequence[tuple[int, int]]) -> Complex:
        """Return S of each path (to, from) as (n_paths, n_frequencies), as `scattering` would.

        Only elements that are not in the state of a reference take part in the solution: of one-bit elements at most
        half, since of the two references (all 0, all 1) the nearer one is used.
        """
        reference = max(self.references, key=lambda each: np.count_nonzero(states == each.state))
        to, source = (list(ends) for ends in zip(*paths, strict=True))
        moved = np.flatnonzero(states != reference.state)
        loads = self.element.loads(self.plates, self.frequencies_hz, states[moved])
        # A⁻¹ with A = A₀ + δ (Woodbury): what is left is a system in the moved elements, with 1/δ on its diagonal.
        system = reference.inverse[:, moved[:, None], moved[None, :]]
        diagonal = np.arange(len(moved))
        system[:, diagonal, diagonal] += 1.0 / (loads - reference.load)
        sources = sorted(set(source))
        solved = np.linalg.solve(system, reference.reach[:, moved[:, None], sources])
        used = solved[:, :, [sources.index(each) for each in source]]
        change = (reference.reach[:, moved[:, None], to] * used).sum(axis=1)
        return (reference.direct[:, to, source] + change).T

    def transmission_slopes(self, states: Real, paths: Sequence[tuple[int, int]]) -> Complex:
        """Return d S / d state as (n_paths, n_frequencies, n_elements).

        With λ = A⁻¹ r_to and c = A⁻¹ r_from, dS/dx_e = λ_e c_e dZ_e/dx_e: the adjoint system is the system itself,
        because the cavity is reciprocal.
        """
        currents = np.linalg.solve(self._system(states), self.reach)
        slopes = self.element.load_slopes(self.plates, self.frequencies_hz, states)
        return np.stack([currents[:, :, to] * currents[:, :, source] * slopes for to, source in paths])

    def _system(self, states: Real) -> Complex:
        system = self.coupling.copy()
        diagonal = np.arange(self.n_elements)
        system[:, diagonal, diagonal] += self.element.loads(self.plates, self.frequencies_hz, states)
        return system


def solve_cavity(layout: Layout, element: Element, frequencies_hz: Real) -> MetasurfaceCavity:
    """Eliminate walls, posts and antenna cables at every frequency (n,)."""
    n_antennas, n_elements = len(layout.antennas), len(layout.elements)
    described = joined(layout.antennas, layout.elements, layout.posts, _walls(layout, float(frequencies_hz.max())))
    wires = Wires(layout.expansion * described.points_m, layout.expansion * described.radius_m)
    plates = replace(layout.plates, height_m=layout.expansion * layout.plates.height_m)
    open_plates = replace(plates, quality=math.inf)
    element_radius_m = layout.expansion * layout.elements.radius_m
    direct: list[Complex] = []
    reach: list[Complex] = []
    coupling: list[Complex] = []
    solutions = zip(frequencies_hz.tolist(), impedances(plates, wires, frequencies_hz), strict=True)
    for frequency_hz, impedance in solutions:
        reduced = shorted(impedance, n_antennas + n_elements)
        across = reduced[n_antennas:, :n_antennas]
        cables = np.linalg.inv(reduced[:n_antennas, :n_antennas] + REFERENCE_OHM * np.eye(n_antennas))
        cables = 0.5 * (cables + cables.T)
        between = reduced[n_antennas:, n_antennas:] - across @ cables @ across.T
        between -= 1j * np.diag(own_impedances(open_plates, element_radius_m, frequency_hz).imag)
        direct.append(np.eye(n_antennas) - 2.0 * REFERENCE_OHM * cables)
        reach.append(math.sqrt(2.0 * REFERENCE_OHM) * across @ cables)
        coupling.append(0.5 * (between + between.T))
    return MetasurfaceCavity(frequencies_hz, plates, element, np.stack(direct), np.stack(reach), np.stack(coupling))


@dataclass(frozen=True)
class OrderShares:
    """Shares of a response's variance over random bits: `first` order (affine), `second` (pairs) and `higher`."""

    first: float
    second: float
    higher: float


def order_shares(bits: NDArray[np.floating], responses: NDArray[np.number]) -> OrderShares:
    """Return how much of the responses' variance is affine in the bits, quadratic, and of higher order.

    `bits` (n, n_bits) are independent fair 0 or 1, `responses` (n, n_outputs) real or complex. Nested least squares on
    products of ±1 (Walsh functions; R. O'Donnell, *Analysis of Boolean Functions*, Cambridge 2014, chapter 1), the
    residuals corrected for their degrees of freedom. Raises `ValueError` with fewer than twice as many rows as
    there are functions of order two and less.
    """
    n_rows, n_bits = bits.shape
    signs = 2.0 * np.asarray(bits, dtype=np.float64) - 1.0
    one, other = np.triu_indices(n_bits, 1)
    n_functions = 1 + n_bits + len(one)
    if n_rows < 2 * n_functions:
        raise ValueError(f"{n_bits} bits take at least {2 * n_functions} rows, got {n_rows}")
    affine = np.concatenate([np.ones((n_rows, 1)), signs], axis=1)
    pairs = signs[:, one] * signs[:, other]
    total = _residual_variance(affine[:, :1], responses)
    after_first = _residual_variance(affine, responses) / total
    after_second = _residual_variance(np.concatenate([affine, pairs], axis=1), responses) / total
    return OrderShares(1.0 - after_first, after_first - after_second, after_second)


def _residual_variance(functions: Real, responses: NDArray[np.number]) -> float:
    weights = np.linalg.lstsq(functions, responses, rcond=None)[0]
    residual = responses - functions @ weights
    return float(np.square(np.abs(residual)).sum()) / (len(functions) - functions.shape[1])
