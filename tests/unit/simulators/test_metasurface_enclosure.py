"""The flat box against what is known of such boxes without computing them."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labctl_simulators.physics.enclosure import (
    CLEARANCE_M,
    LIGHT_SPEED_M_PER_S,
    PERMEABILITY_H_PER_M,
    Plates,
    Wires,
    impedances,
    joined,
    own_impedances,
    scatter,
    shorted,
    wall,
)

OPEN = Plates(0.02, math.inf)
SIZE_M = (0.6, 0.45)
NOTHING = Wires(np.zeros((0, 2)), np.zeros(0))
IMPEDANCE_OF_SPACE_OHM = 376.73


def wires(n_wires: int, seed: int) -> Wires:
    rng = np.random.default_rng(seed)
    return Wires(rng.uniform(0.0, 0.5, (n_wires, 2)), rng.uniform(0.5e-3, 3e-3, n_wires))


def matrix(plates: Plates, group: Wires, frequency_hz: float) -> np.ndarray:
    return next(impedances(plates, group, np.array([frequency_hz])))


def box(frequency_hz: float) -> Wires:
    return wall(SIZE_M, LIGHT_SPEED_M_PER_S / frequency_hz / 10)


def test_plates_pass_one_field_below_cutoff() -> None:
    assert OPEN.cutoff_hz == pytest.approx(7.49e9, rel=1e-3)


def test_a_wire_between_plates_radiates_as_zheng_antonsen_and_ott_say() -> None:
    """Their radiation resistance of a quasi-two-dimensional port is k h η₀ / 4 · J₀²(ka)."""
    wavenumber = 2 * np.pi * 4e9 / LIGHT_SPEED_M_PER_S
    own = own_impedances(OPEN, np.array([1e-4]), 4e9)[0]
    assert own.real == pytest.approx(wavenumber * 0.02 * IMPEDANCE_OF_SPACE_OHM / 4, rel=1e-4)
    assert own.imag > own.real


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([20.0, 300.0, math.inf]))
def test_any_arrangement_is_reciprocal_and_passive(seed: int, quality: float) -> None:
    impedance = matrix(Plates(0.02, quality), wires(12, seed), 3.3e9)
    np.testing.assert_allclose(impedance, impedance.T, rtol=0, atol=1e-12 * np.abs(impedance).max())
    assert np.linalg.eigvalsh(impedance.real).min() > -1e-9 * np.abs(impedance.real).max()


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000))
def test_power_put_into_wires_is_what_flies_away(seed: int) -> None:
    """½ I* Re Z I against the far field ∮|E|²/2η of the same currents, summed over directions."""
    group, wavenumber = wires(6, seed), 2 * np.pi * 3.3e9 / LIGHT_SPEED_M_PER_S
    rng = np.random.default_rng(seed)
    currents = rng.standard_normal(6) + 1j * rng.standard_normal(6)
    angles = np.linspace(0.0, 2 * np.pi, 2000, endpoint=False)
    towards = np.stack([np.cos(angles), np.sin(angles)])
    from scipy.special import jv

    rings = jv(0, wavenumber * group.radius_m)
    pattern = np.exp(1j * wavenumber * group.points_m @ towards).T @ (currents * rings)
    # |E|² = (ωμ/4)² · 2/(π k r) · |pattern|² far away, over the circumference and the height.
    field = (2 * np.pi * 3.3e9 * PERMEABILITY_H_PER_M / 4) ** 2 * 2 / (np.pi * wavenumber) * np.square(np.abs(pattern))
    radiated = field.mean() * 2 * np.pi * OPEN.height_m / (2 * IMPEDANCE_OF_SPACE_OHM)
    supplied = 0.5 * (currents.conj() @ matrix(OPEN, group, 3.3e9) @ currents).real
    assert supplied == pytest.approx(radiated, rel=1e-4)


def test_fields_of_sources_add() -> None:
    """Superposition, through an elimination: voltages of two currents together are the sum of each alone."""
    group = joined(wires(3, 1), wires(9, 2))
    reduced = shorted(matrix(OPEN, group, 3.3e9), 3)
    everything = np.linalg.inv(matrix(OPEN, group, 3.3e9))
    # The same system solved the other way round: prescribed voltages, all currents.
    voltages = np.array([1.0, -2.0, 0.5j])
    currents = everything[:3, :3] @ voltages
    np.testing.assert_allclose(reduced @ currents, voltages, atol=1e-10)
    each = [reduced[:, port] * currents[port] for port in range(3)]
    np.testing.assert_allclose(sum(each), voltages, atol=1e-10)


def test_short_circuits_carry_currents_that_hold_their_voltage_at_zero() -> None:
    whole = matrix(OPEN, joined(wires(2, 3), wires(20, 4)), 3.3e9)
    ports = np.array([1.0, 0.3j])
    shorts = -np.linalg.solve(whole[2:, 2:], whole[2:, :2] @ ports)
    voltages = whole @ np.concatenate([ports, shorts])
    np.testing.assert_allclose(voltages[2:], 0.0, atol=1e-9)
    np.testing.assert_allclose(voltages[:2], shorted(whole, 2) @ ports, rtol=1e-9)


def test_a_wall_of_wires_lets_hardly_any_power_out() -> None:
    """No losses and one port: all of the power comes back, but for what leaks between the wires."""
    for frequency_hz in (3.1e9, 3.3e9, 3.5e9):
        probe = Wires(np.array([[0.21, 0.17]]), np.array([3e-3]))
        inside = shorted(matrix(OPEN, joined(probe, box(3.5e9)), frequency_hz), 1)[0, 0]
        reflection = (inside - 50.0) / (inside + 50.0)
        assert 1.0 - 1e-4 < abs(reflection) <= 1.0 + 1e-12
        assert abs(inside.real) < 1e-3 * abs(inside.imag)


def test_the_box_resonates_where_a_rectangle_does() -> None:
    """A weakly coupled pair of probes sees the modes c/2 · √((m/a)² + (n/b)²), to the width of a wall's wire."""
    modes = [0.5 * LIGHT_SPEED_M_PER_S * math.hypot(m / 0.6, n / 0.45) for m, n in ((1, 1), (2, 1), (1, 2))]
    pair = Wires(np.array([[0.13, 0.11], [0.41, 0.29]]), np.full(2, 1e-5))
    for mode_hz in modes:
        frequencies_hz = mode_hz * np.linspace(0.98, 1.02, 41)
        group = joined(pair, wall(SIZE_M, 0.02))
        solved = impedances(Plates(0.02, 2000.0), group, frequencies_hz)
        transfer = np.array([abs(shorted(each, 2)[0, 1]) for each in solved])
        assert frequencies_hz[transfer.argmax()] == pytest.approx(mode_hz, rel=0.004)


@pytest.mark.parametrize("quality", [50.0, 150.0])
def test_energy_decays_with_the_stated_quality(quality: float) -> None:
    """Transfer impedances over a band, transformed into time: energy falls as exp(-ωt/Q), averaged over pairs."""
    frequencies_hz = np.linspace(3.0e9, 3.6e9, 121)
    ports = scatter(SIZE_M, CLEARANCE_M, np.full(8, 1e-5), NOTHING, np.random.default_rng(5))
    group = joined(ports, wall(SIZE_M, 0.012))
    transfer = np.stack([shorted(each, 8) for each in impedances(Plates(0.02, quality), group, frequencies_hz)])
    pairs = transfer[:, *np.triu_indices(8, 1)] * np.hanning(121)[:, None]
    energy = np.square(np.abs(np.fft.ifft(pairs, 1024, axis=0))).mean(axis=1)
    time_s = np.arange(1024) / 1024 * 120 / 0.6e9
    tail = (energy < energy.max() * 10**-0.3) & (energy > energy.max() * 10**-2.3) & (time_s > time_s[energy.argmax()])
    tail &= time_s < 0.6 * time_s[-1]
    decay_per_s = -np.polyfit(time_s[tail], np.log(energy[tail]), 1)[0]
    assert 2 * np.pi * 3.3e9 / decay_per_s == pytest.approx(quality, rel=0.12)


def test_a_wall_has_its_own_surface_and_no_corner_twice() -> None:
    grid = wall(SIZE_M, 0.01)
    assert 2 * np.pi * grid.radius_m.sum() == pytest.approx(2 * sum(SIZE_M))
    distances = np.linalg.norm(grid.points_m[:, None] - grid.points_m[None], axis=2) + np.eye(len(grid))
    assert 0.009 < distances.min() <= 0.01


@given(st.integers(0, 10_000))
def test_posts_keep_their_distances(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first = scatter(SIZE_M, CLEARANCE_M, np.full(6, 2e-3), NOTHING, rng)
    second = scatter(SIZE_M, CLEARANCE_M, np.full(6, 2e-3), first, rng)
    points = np.concatenate([first.points_m, second.points_m])
    assert (points >= CLEARANCE_M).all()
    assert (points <= np.array(SIZE_M) - CLEARANCE_M).all()
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)[np.triu_indices(12, 1)]
    assert distances.min() >= CLEARANCE_M


@pytest.mark.parametrize(("size_m", "n_posts"), [(SIZE_M, 200), ((0.08, 0.45), 1)])
def test_a_box_without_room_is_refused(size_m: tuple[float, float], n_posts: int) -> None:
    with pytest.raises(ValueError, match="no room"):
        scatter(size_m, CLEARANCE_M, np.full(n_posts, 2e-3), NOTHING, np.random.default_rng(0))
