"""Sound in a rectangular box: rigid-wall modes, damped by what the walls absorb.

Sources: H. Kuttruff, *Room Acoustics* (Spon), chapter "The sound field in a closed space (wave theory)" for the
modes, chapter "Reverberation" for the decay; R. H. Small, *Closed-box loudspeaker systems*, J. Audio Eng. Soc. 20
(1972) for the loudspeaker. All modes share one damping constant, the one that makes the box decay as Eyring says.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Real = NDArray[np.float64]
Complex = NDArray[np.complex128]

TRUNCATION_DB = 100.0
"""An impulse response ends where its exponential envelope has fallen by this much."""

MOST_MODES = 50_000
LONGEST_RESPONSE_S = 10.0
"""More modes or a longer response take minutes and gigabytes to sum."""

WALL_DISTANCE_M = 0.1
SPACING_M = 0.15


@dataclass(frozen=True)
class Box:
    """A box of `size_m` (length, width, height) filled with air, its walls absorbing the fraction `absorption`."""

    size_m: tuple[float, float, float]
    absorption: float
    temperature_c: float

    @property
    def volume_m3(self) -> float:
        """Volume."""
        return math.prod(self.size_m)

    @property
    def surface_m2(self) -> float:
        """Area of the six walls."""
        length, width, height = self.size_m
        return 2.0 * (length * width + width * height + height * length)

    @property
    def sound_speed_m_per_s(self) -> float:
        """Speed of sound in dry air as an ideal gas: 331.3 m/s at 0 °C, growing with the root of temperature."""
        return 331.3 * math.sqrt(1.0 + self.temperature_c / 273.15)

    @property
    def air_density_kg_per_m3(self) -> float:
        """Density of dry air at 101.325 kPa."""
        return 101_325.0 / (287.05 * (self.temperature_c + 273.15))

    @property
    def reverberation_time_s(self) -> float:
        """Time for a decay of 60 dB by Eyring: 24 ln 10 V / (-c S ln(1 - α))."""
        absorbed = -self.surface_m2 * math.log1p(-self.absorption)
        return 24.0 * math.log(10.0) * self.volume_m3 / (self.sound_speed_m_per_s * absorbed)

    @property
    def damping_per_s(self) -> float:
        """Decay constant δ of the pressure amplitude, 3 ln 10 / T60."""
        return 3.0 * math.log(10.0) / self.reverberation_time_s

    @property
    def response_time_s(self) -> float:
        """Length of an impulse response."""
        return self.reverberation_time_s * TRUNCATION_DB / 60.0

    def mode_count(self, highest_hz: float) -> float:
        """Return about how many modes lie below `highest_hz`: 4 π V (f / c)³ / 3, their asymptotic number."""
        return 4.0 * math.pi / 3.0 * self.volume_m3 * (highest_hz / self.sound_speed_m_per_s) ** 3


@dataclass(frozen=True)
class Loudspeaker:
    """A small closed box: a monopole whose volume acceleration is a second-order high-pass of its voltage.

    `pressure_at_1m_pa` is the free-field peak pressure at 1 m, far above resonance, for a sine of full scale.
    The quality factor is above 0.5 (an oscillating diaphragm).
    """

    resonance_hz: float
    quality: float
    pressure_at_1m_pa: float

    @property
    def pole_per_s(self) -> complex:
        """The pole with positive imaginary part of s² / (s² + s ω₀/Q + ω₀²)."""
        resonance_rad_per_s = 2.0 * math.pi * self.resonance_hz
        damping = 1.0 / (2.0 * self.quality)
        return resonance_rad_per_s * complex(-damping, math.sqrt(1.0 - damping**2))


def mode_numbers(box: Box, highest_hz: float) -> NDArray[np.int64]:
    """Return the numbers (n_modes, 3) of half waves along each side of every mode up to `highest_hz`."""
    halves = [np.arange(int(2.0 * highest_hz * side / box.sound_speed_m_per_s) + 1) for side in box.size_m]
    numbers = np.stack(np.meshgrid(*halves, indexing="ij"), axis=-1).reshape(-1, 3)
    return numbers[mode_frequencies_hz(box, numbers) <= highest_hz]


def mode_frequencies_hz(box: Box, numbers: NDArray[np.int64]) -> Real:
    """Return c/2 · √((l/Lx)² + (m/Ly)² + (n/Lz)²) for mode numbers (n_modes, 3)."""
    return 0.5 * box.sound_speed_m_per_s * np.linalg.norm(numbers / np.array(box.size_m), axis=1)


def mode_shapes(box: Box, numbers: NDArray[np.int64], points_m: Real) -> Real:
    """Return the shapes (n_modes, n_points), products of cosines whose mean square over the box is one."""
    phase = np.pi * numbers[:, None, :] * points_m[None, :, :] / np.array(box.size_m)
    norm = np.sqrt(np.where(numbers > 0, 2.0, 1.0)).prod(axis=1)
    return norm[:, None] * np.cos(phase).prod(axis=2)


def impulse_responses(
    box: Box,
    loudspeaker: Loudspeaker,
    speakers_m: Real,
    microphones_m: Real,
    *,
    samplerate_hz: float,
    highest_mode_hz: float,
) -> Real:
    """Return pressures in pascal (n_taps, n_speakers, n_microphones) per full-scale sample at a loudspeaker.

    Positions are (n, 3) metres from a corner. Each tap is the continuous impulse response times the sample period,
    so a discrete convolution approximates the integral. The sum over modes is exact in time: every pole of
    (mode x loudspeaker) rings with its residue. The mode 0, uniform compression, is one of them.
    """
    numbers = mode_numbers(box, highest_mode_hz)
    shapes_at_speakers = mode_shapes(box, numbers, speakers_m)
    shapes_at_microphones = mode_shapes(box, numbers, microphones_m)
    # A monopole of volume acceleration a makes the pressure ρ a / (4 π r), and drives mode ψ by ρ c² a ψ / V.
    source = 4.0 * math.pi * loudspeaker.pressure_at_1m_pa * box.sound_speed_m_per_s**2 / box.volume_m3
    coupling = source * shapes_at_speakers[:, :, None] * shapes_at_microphones[:, None, :]
    poles, weights = _ringing(box, loudspeaker, mode_frequencies_hz(box, numbers), coupling)
    n_taps = math.ceil(box.response_time_s * samplerate_hz)
    return _sum_of_exponentials(poles, weights, n_taps, 1.0 / samplerate_hz) / samplerate_hz


def _ringing(box: Box, loudspeaker: Loudspeaker, modes_hz: Real, coupling: Real) -> tuple[Complex, Complex]:
    """Expand s² / ((s² + 2 δ s + ω²)(s² + s ω₀/Q + ω₀²)) of every mode into poles (n,) and weights (n, ...).

    The response is the real part of the sum; of a conjugate pair only one pole is kept, with twice its residue.
    """
    damping = box.damping_per_s
    swing: Complex = np.sqrt(((2.0 * np.pi * modes_hz) ** 2 - damping**2).astype(np.complex128))
    upper, lower = -damping + 1j * swing, -damping - 1j * swing
    driver = loudspeaker.pole_per_s

    def residue(pole: Complex, partner: Complex) -> Complex:
        return pole**2 / ((pole - partner) * (pole - driver) * (pole - np.conj(driver)))

    poles = np.concatenate([upper, lower])
    residues = np.concatenate([residue(upper, lower), residue(lower, upper)])
    kept = poles.imag >= 0.0
    share = np.where(poles.imag > 0.0, 2.0, 1.0)
    of_driver = 2.0 * driver**2 / ((driver - upper) * (driver - lower) * (2j * driver.imag))
    weights = (share * residues)[:, None, None] * np.concatenate([coupling, coupling])
    driver_weight = np.tensordot(of_driver, coupling, axes=1)
    return np.append(poles[kept], driver), np.concatenate([weights[kept], driver_weight[None]])


def _sum_of_exponentials(poles: Complex, weights: Complex, n_steps: int, step_s: float) -> Real:
    """Return Re Σ weight · exp(pole · k · step) as (n_steps, ...).

    With k = i·block + j the exponential factors, so that block + n/block of them per pole are enough.
    """
    block = math.isqrt(n_steps) + 1
    fine: Complex = np.exp(poles[:, None] * (step_s * np.arange(block)))
    coarse: Complex = np.exp(poles[:, None] * (step_s * block * np.arange(-(-n_steps // block))))
    # Re(a b) = Re a · Re b - Im a · Im b, as one real product.
    fine_parts: Real = np.concatenate([fine.real, -fine.imag])
    responses: list[Real] = []
    for weight in weights.reshape(len(poles), -1).T:
        rotated = coarse * weight[:, None]
        responses.append((np.concatenate([rotated.real, rotated.imag]).T @ fine_parts).reshape(-1)[:n_steps])
    return np.stack(responses, axis=1).reshape(n_steps, *weights.shape[1:])


def check_size(box: Box, highest_mode_hz: float) -> None:
    """Raise `ValueError` for a box whose impulse responses would take too long to compute."""
    n_modes = box.mode_count(highest_mode_hz)
    if n_modes > MOST_MODES:
        raise ValueError(
            f"a box of {box.volume_m3:g} m³ has about {n_modes:.2g} modes below {highest_mode_hz:g} Hz; up to "
            f"{MOST_MODES} are computed: make it smaller"
        )
    if box.response_time_s > LONGEST_RESPONSE_S:
        raise ValueError(
            f"the box rings for {box.response_time_s:.3g} s; up to {LONGEST_RESPONSE_S:g} s are computed: raise its "
            "absorption or make it smaller"
        )


def place(box: Box, n_points: int, rng: np.random.Generator) -> Real:
    """Return random positions (n_points, 3) at least 0.1 m from the walls and 0.15 m from one another.

    Raises `ValueError` when the box has no room for them.
    """
    sides = np.array(box.size_m)
    if (sides <= 2.0 * WALL_DISTANCE_M).any():
        raise ValueError(f"a box of {box.size_m} m has no place {WALL_DISTANCE_M} m away from every wall")
    for _ in range(1000):
        points = rng.uniform(WALL_DISTANCE_M, sides - WALL_DISTANCE_M, size=(n_points, 3))
        if _spacing_m(points) >= SPACING_M:
            return points
    raise ValueError(f"a box of {box.size_m} m has no room for {n_points} transducers {SPACING_M} m apart")


def _spacing_m(points: Real) -> float:
    distances = np.linalg.norm(points[:, None, :] - points[None, :, :], axis=2)
    return float((distances + np.diag(np.full(len(points), np.inf))).min())
