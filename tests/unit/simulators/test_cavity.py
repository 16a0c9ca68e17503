"""The box against what is known of boxes without computing them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labctl_simulators.physics.cavity import (
    SPACING_M,
    WALL_DISTANCE_M,
    Box,
    Loudspeaker,
    check_size,
    impulse_responses,
    mode_numbers,
    mode_shapes,
    place,
)

DESK = Box((1.2, 0.9, 0.7), 0.16, 20.0)
DAMPED = Box((1.2, 0.9, 0.7), 0.8, 20.0)
HARD = Box((1.2, 0.9, 0.7), 0.01, 20.0)
DRIVER = Loudspeaker(174.0, 0.66, 1.0)
RATE_HZ = 16_000.0


def responses(box: Box, speakers: np.ndarray, microphones: np.ndarray, driver: Loudspeaker = DRIVER) -> np.ndarray:
    return impulse_responses(box, driver, speakers, microphones, samplerate_hz=RATE_HZ, highest_mode_hz=2000.0)


def at_frequencies(response: np.ndarray, frequency_hz: np.ndarray) -> np.ndarray:
    return np.exp(-2j * np.pi * frequency_hz[:, None] * np.arange(len(response)) / RATE_HZ) @ response


def high_pass(driver: Loudspeaker, frequency_hz: np.ndarray) -> np.ndarray:
    ratio = 1j * frequency_hz / driver.resonance_hz
    return ratio**2 / (ratio**2 + ratio / driver.quality + 1.0)


def points(n_points: int, seed: int) -> np.ndarray:
    return place(DESK, n_points, np.random.default_rng(seed))


def test_textbook_air() -> None:
    assert DESK.sound_speed_m_per_s == pytest.approx(343.2, abs=0.1)
    assert DESK.air_density_kg_per_m3 == pytest.approx(1.204, abs=0.001)


def test_eyring_tends_to_sabine_for_hard_walls() -> None:
    sabine_s = 0.161 * HARD.volume_m3 / (HARD.surface_m2 * HARD.absorption)
    assert HARD.reverberation_time_s == pytest.approx(sabine_s, rel=0.01)
    assert DESK.reverberation_time_s == pytest.approx(0.137, abs=0.001)


def test_number_of_modes_is_weyls() -> None:
    """Kuttruff: 4π/3 V (f/c)³ + π/4 S (f/c)² + L/8 f/c with L the length of all edges."""
    ratio = 3000.0 / DESK.sound_speed_m_per_s
    edges_m = 4 * sum(DESK.size_m)
    expected = 4 * np.pi / 3 * DESK.volume_m3 * ratio**3 + np.pi / 4 * DESK.surface_m2 * ratio**2 + edges_m / 8 * ratio
    assert len(mode_numbers(DESK, 3000.0)) == pytest.approx(expected, rel=0.01)


def test_mode_shapes_are_orthonormal() -> None:
    numbers = mode_numbers(DESK, 500.0)
    axes = [(np.arange(40) + 0.5) / 40 * side for side in DESK.size_m]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    shapes = mode_shapes(DESK, numbers, grid)
    np.testing.assert_allclose(shapes @ shapes.T / len(grid), np.eye(len(numbers)), atol=1e-12)


def test_a_hard_box_resonates_at_its_modes() -> None:
    corner = np.array([[0.0, 0.0, 0.0]])
    opposite = np.array([HARD.size_m])
    response = responses(HARD, corner, opposite)[:, 0, 0]
    spectrum = np.abs(np.fft.rfft(response, 2**18))
    frequency_hz = np.fft.rfftfreq(2**18, 1 / RATE_HZ)
    speed = HARD.sound_speed_m_per_s
    for mode_hz in (speed / 2 / 1.2, speed / 2 / 0.9, speed / 2 / 0.7):
        near = np.abs(frequency_hz - mode_hz) < 2.0
        assert frequency_hz[near][spectrum[near].argmax()] == pytest.approx(mode_hz, abs=0.5)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000))
def test_reciprocity(seed: int) -> None:
    here, there = points(3, seed), points(3, seed + 1)
    forth, back = responses(DESK, here, there), responses(DESK, there, here)
    np.testing.assert_allclose(forth, back.transpose(0, 2, 1), atol=1e-12 * np.abs(forth).max())


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000))
def test_passivity(seed: int) -> None:
    """A source in a passive box never draws power: pressure over volume velocity has no negative real part.

    The volume acceleration is iω times the velocity; both ends lie at one point; the driver is divided out.
    """
    point = points(1, seed)
    frequency_hz = np.arange(100.0, 1500.0, 7.0)
    pressure = at_frequencies(responses(DESK, point, point)[:, 0, 0], frequency_hz)
    impedance = pressure / high_pass(DRIVER, frequency_hz) * 1j * frequency_hz
    assert (impedance.real > -1e-3 * np.abs(impedance).max()).all()


def test_energy_decays_with_eyrings_time() -> None:
    """Schroeder's backward integral, averaged over pairs, fitted from -5 to -35 dB (ISO 3382, T30)."""
    response = responses(DESK, points(4, 1), points(4, 2))
    energy = np.square(response).mean(axis=(1, 2))
    decay_db = 10 * np.log10(np.cumsum(energy[::-1])[::-1] / energy.sum())
    fitted = (decay_db < -5) & (decay_db > -35)
    slope_db_per_s = np.polyfit(np.flatnonzero(fitted) / RATE_HZ, decay_db[fitted], 1)[0]
    assert -60 / slope_db_per_s == pytest.approx(DESK.reverberation_time_s, rel=0.05)
    assert (np.diff(decay_db) <= 0).all()


def test_a_response_ends_100_db_down() -> None:
    response = responses(DESK, points(4, 1), points(4, 2))
    tail, peak = np.abs(response[-50:]).max(), np.abs(response).max()
    assert -110 < 20 * np.log10(tail / peak) < -85


def test_the_first_sound_arrives_with_the_speed_of_sound() -> None:
    speaker, microphone = np.array([[0.1, 0.4, 0.3]]), np.array([[1.1, 0.4, 0.3]])
    response = np.abs(responses(DAMPED, speaker, microphone)[:, 0, 0])
    arrival = np.flatnonzero(response > 0.5 * response.max())[0] / RATE_HZ
    assert arrival == pytest.approx(1.0 / DAMPED.sound_speed_m_per_s, abs=2.5e-4)
    assert response[: int((arrival - 5e-4) * RATE_HZ)].max() < 0.25 * response.max()


def test_nearby_the_pressure_is_the_free_fields() -> None:
    """At 5 cm the direct sound, 1/r of that at 1 m, dominates a well damped box; the mean over places is close."""
    speakers = points(6, 3)
    microphones = speakers + np.array([0.05, 0.0, 0.0])
    response = impulse_responses(DAMPED, DRIVER, speakers, microphones, samplerate_hz=RATE_HZ, highest_mode_hz=6000.0)
    transfer = at_frequencies(np.einsum("tii->ti", response), np.arange(800.0, 1500.0, 20.0))
    assert np.sqrt(np.square(np.abs(transfer)).mean()) == pytest.approx(1.0 / 0.05, rel=0.2)


def test_the_loudspeaker_is_a_second_order_high_pass() -> None:
    point, other = points(1, 5), points(1, 6)
    higher = Loudspeaker(800.0, 0.7, 2.0)
    frequency_hz = np.array([50.0, 100.0, 200.0, 400.0, 800.0, 1600.0])
    low, high = (
        at_frequencies(responses(DESK, point, other, each)[:, 0, 0], frequency_hz) for each in (DRIVER, higher)
    )
    expected = 2.0 * high_pass(higher, frequency_hz) / high_pass(DRIVER, frequency_hz)
    np.testing.assert_allclose(high / low, expected, rtol=0.02)


@given(st.integers(0, 10_000))
def test_places_keep_their_distances(seed: int) -> None:
    placed = points(8, seed)
    assert (placed >= WALL_DISTANCE_M).all()
    assert (placed <= np.array(DESK.size_m) - WALL_DISTANCE_M).all()
    distances = np.linalg.norm(placed[:, None] - placed[None], axis=2)[np.triu_indices(8, 1)]
    assert distances.min() >= SPACING_M


def test_a_box_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="no place"):
        place(Box((0.15, 1.0, 1.0), 0.1, 20.0), 1, np.random.default_rng(0))
    with pytest.raises(ValueError, match="no room for 60"):
        place(Box((0.4, 0.4, 0.4), 0.1, 20.0), 60, np.random.default_rng(0))


def test_modes_are_counted_well_enough_to_refuse_too_many() -> None:
    exact = len(mode_numbers(DESK, 4000.0))
    assert 0.7 * exact < DESK.mode_count(4000.0) < exact


@pytest.mark.parametrize(
    ("size_m", "absorption", "says"),
    [((50.0, 40.0, 9.0), 0.2, "modes below 4000 Hz"), ((1.0, 1.0, 1.0), 1e-3, "rings")],
)
def test_a_box_that_takes_too_long_to_compute_is_refused(
    size_m: tuple[float, float, float], absorption: float, says: str
) -> None:
    check_size(DESK, 4000.0)
    with pytest.raises(ValueError, match=says):
        check_size(Box(size_m, absorption, 20.0), 4000.0)
