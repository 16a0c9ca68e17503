"""The metasurface cavity against the limits that any such cavity must keep, over many media."""

import dataclasses
import math
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labctl_simulators.physics.enclosure import Plates, Wires, own_impedances
from labctl_simulators.physics.metasurface import (
    Element,
    Layout,
    MetasurfaceCavity,
    Pitch,
    arrange,
    check_frequency,
    check_spacing,
    in_rows,
    order_shares,
    solve_cavity,
)

SIZE_M = (1.2, 0.9)
PITCH = Pitch(0.028, 0.022, 1e-3)
ONE_BIT = Element((3.17e9, 3.43e9), 287.0, 19.0)
LOSSY = Plates(0.02, 300.0)
LOSSLESS = Plates(0.02, math.inf)
N_ELEMENTS = 12
FREQUENCIES_HZ = np.array([3.15e9, 3.3e9, 3.45e9])
PATHS = [(1, 0), (2, 0), (3, 1)]


def layout(seed: int, plates: Plates = LOSSY, n_posts: int = 30, size_m: tuple[float, float] = SIZE_M) -> Layout:
    return arrange(
        size_m,
        plates,
        in_rows(N_ELEMENTS, size_m, PITCH),
        antenna_radius_m=np.full(4, 3e-3),
        post_radius_m=np.full(n_posts, 3e-3),
        rng=np.random.default_rng(seed),
    )


@cache
def small(seed: int) -> MetasurfaceCavity:
    """A box of a quarter of the area, at one frequency: 0.05 s."""
    return solve_cavity(layout(seed, n_posts=8, size_m=(0.6, 0.45)), ONE_BIT, np.array([3.3e9]))


def with_element(cavity: MetasurfaceCavity, element: Element) -> MetasurfaceCavity:
    return dataclasses.replace(cavity, element=element)


@pytest.fixture(scope="module")
def cavity() -> MetasurfaceCavity:
    return solve_cavity(layout(1), ONE_BIT, FREQUENCIES_HZ)


def bits(n_rows: int, seed: int = 0, n_elements: int = N_ELEMENTS) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2, (n_rows, n_elements)).astype(float)


@settings(max_examples=12, deadline=None)
@given(
    st.integers(0, 9),
    st.lists(st.floats(0.0, 1.0), min_size=N_ELEMENTS, max_size=N_ELEMENTS),
    st.floats(1.0, 1e4),
    st.floats(1e-3, 1e3),
)
def test_any_state_of_any_medium_is_reciprocal_and_passive(
    seed: int, states: list[float], quality: float, coupling: float
) -> None:
    element = Element(ONE_BIT.resonances_hz, quality, coupling)
    scattering = with_element(small(seed), element).scattering(np.array(states))
    np.testing.assert_allclose(scattering, scattering.transpose(0, 2, 1), atol=1e-10)
    assert np.linalg.svd(scattering)[1].max() <= 1.0 + 1e-9


def test_without_losses_no_power_is_lost() -> None:
    """Plates and elements without losses: all singular values are one, but for what leaks through the walls."""
    lossless = Element(ONE_BIT.resonances_hz, 1e12, 1e12 / 15.0)
    for seed in (1, 2):
        closed = solve_cavity(layout(seed, LOSSLESS), lossless, np.array([3.2e9, 3.35e9]))
        for states in bits(4, seed):
            singular = np.linalg.svd(closed.scattering(states))[1]
            assert singular.max() <= 1.0 + 1e-9
            assert singular.min() > 1.0 - 1e-3


def test_what_is_lost_is_what_the_resistances_of_the_elements_take() -> None:
    """Lossless plates, lossy elements: 1 - Σ|S|² is Σ R|I|², but for the walls' leakage."""
    lossy = solve_cavity(layout(3, LOSSLESS), ONE_BIT, np.array([3.3e9]))
    states = bits(1, 4)[0]
    loads = ONE_BIT.loads(LOSSLESS, lossy.frequencies_hz, states)[0]
    currents = -np.linalg.solve(lossy.coupling[0] + np.diag(loads), lossy.reach[0])
    # `reach` is scaled by √2 against unit waves on the cables: I = √2 · currents.
    taken = 2.0 * (loads.real[:, None] * np.square(np.abs(currents))).sum(axis=0)
    missing = 1.0 - np.square(np.abs(lossy.scattering(states)[0])).sum(axis=0)
    np.testing.assert_allclose(missing, taken, rtol=2e-3)
    assert missing.max() > 0.05


def test_strong_speckle_has_rayleigh_amplitudes() -> None:
    """|S| of paths between antennas over 24 media: exponential intensity, by mean ratio and by distribution."""
    intensities = []
    for seed in range(24):
        medium = solve_cavity(layout(seed), ONE_BIT, np.array([3.2e9, 3.4e9]))
        transmitted = medium.transmission(bits(1, seed)[0], [(1, 0), (2, 0), (3, 0), (2, 1), (3, 1), (3, 2)])
        intensities.append(np.square(np.abs(transmitted)))
    shares = np.sort(np.ravel(np.array(intensities)))
    shares /= shares.mean()
    assert np.square(shares).mean() == pytest.approx(2.0, abs=0.5)
    empirical = (np.arange(len(shares)) + 0.5) / len(shares)
    assert np.abs(empirical - (1.0 - np.exp(-shares))).max() < 1.63 / math.sqrt(len(shares))


def test_media_differ() -> None:
    first, second = (small(seed).scattering(np.zeros(N_ELEMENTS)) for seed in (0, 1))
    assert np.abs(first - second).max() > 0.1


def test_transmission_is_the_whole_solution(cavity: MetasurfaceCavity) -> None:
    """Solving for the elements that differ from a reference changes nothing, from none to all of them."""
    mixed = np.linspace(0.0, 1.0, N_ELEMENTS)
    for states in (np.zeros(N_ELEMENTS), np.ones(N_ELEMENTS), *bits(6), mixed, 0.3 + 0.5 * mixed):
        whole = cavity.scattering(states)
        expected = [whole[:, to, source] for to, source in PATHS]
        np.testing.assert_allclose(cavity.transmission(states, PATHS), expected, atol=1e-10)


def test_reduction_is_exact() -> None:
    """The reduced cavity against one system of all wires, antenna cables and loads, solved at once."""
    from labctl_simulators.physics.enclosure import LIGHT_SPEED_M_PER_S, impedances, joined, wall

    arranged = layout(0, n_posts=8, size_m=(0.6, 0.45))
    walls = wall(arranged.size_m, LIGHT_SPEED_M_PER_S / 3.3e9 / 10)
    whole = next(
        impedances(LOSSY, joined(arranged.antennas, arranged.elements, arranged.posts, walls), np.array([3.3e9]))
    )
    states = bits(1, 7)[0]
    loads = np.zeros(len(whole), dtype=complex)
    loads[:4] = 50.0
    own = own_impedances(Plates(0.02, math.inf), arranged.elements.radius_m, 3.3e9)
    loads[4 : 4 + N_ELEMENTS] = ONE_BIT.loads(LOSSY, np.array([3.3e9]), states)[0] - 1j * own.imag
    admittance = np.linalg.inv(whole + np.diag(loads))[:4, :4]
    np.testing.assert_allclose(small(0).scattering(states)[0], np.eye(4) - 100.0 * admittance, atol=1e-10)


def test_superposition_of_sources(cavity: MetasurfaceCavity) -> None:
    """Waves into two antennas at once leave as the sum of what each alone sends, whatever the elements' states."""
    system = cavity.coupling[0] + np.diag(ONE_BIT.loads(LOSSY, FREQUENCIES_HZ, bits(1)[0])[0])
    waves = np.array([1.0, -0.4j, 0.0, 0.0])
    together = cavity.direct[0] @ waves - cavity.reach[0].T @ np.linalg.solve(system, cavity.reach[0] @ waves)
    np.testing.assert_allclose(together, cavity.scattering(bits(1)[0])[0] @ waves, atol=1e-12)


def test_a_single_element_between_open_plates_is_a_lorentzian() -> None:
    """Alone it absorbs and radiates as stated: half width f/2 (1/Q + g/Q), and g times more radiated than absorbed."""
    element = Element((3.3e9, 3.4e9), 200.0, 4.0)
    frequencies_hz = 3.3e9 * (1.0 + np.linspace(-0.05, 0.05, 4001))
    plates = Plates(0.02, math.inf)
    loads = element.loads(plates, frequencies_hz, np.zeros(1))[:, 0]
    radiation = np.array([plates.radiation_ohm(frequency_hz) for frequency_hz in frequencies_hz])
    current = np.square(np.abs(1.0 / (loads + radiation)))
    wide = frequencies_hz[current > 0.5 * current.max()]
    assert frequencies_hz[current.argmax()] == pytest.approx(3.3e9, rel=1e-3)
    assert 3.3e9 / (wide[-1] - wide[0]) == pytest.approx(200.0 / 5.0, rel=0.01)
    middle = np.abs(frequencies_hz - 3.3e9).argmin()
    assert radiation[middle] / loads[middle].real == pytest.approx(4.0, rel=1e-6)


def test_bits_flip_the_phase_of_a_reflecting_element() -> None:
    """The defaults against what they were taken from: 180° ± 20° over 200 MHz, and at least 0.9 of the amplitude.

    The formula they come from has no losses and one bandwidth for both states; with both, four degrees more.
    """
    frequencies_hz = np.linspace(3.2e9, 3.4e9, 21)
    radiation = np.array([LOSSLESS.radiation_ohm(frequency_hz) for frequency_hz in frequencies_hz])
    off, on = (ONE_BIT.loads(LOSSLESS, frequencies_hz, np.array([state]))[:, 0] for state in (0.0, 1.0))
    reflections = [(load - radiation) / (load + radiation) for load in (off, on)]
    turned = np.degrees(np.angle(reflections[0] / reflections[1])) % 360.0
    np.testing.assert_allclose(turned, 180.0, atol=24.0)
    assert min(np.abs(each).min() for each in reflections) > 0.89


def test_vanishing_coupling_is_affine_in_the_polarisabilities(cavity: MetasurfaceCavity) -> None:
    """S - S₀ tends to a sum over elements, each its own polarisability 1/Z; the departure is of second order."""
    states = bits(1, 3)[0]
    departures = []
    for coupling in (1e-2, 1e-3, 1e-4):
        element = Element(ONE_BIT.resonances_hz, 287.0, coupling)
        weak = with_element(cavity, element)
        loads = element.loads(LOSSY, FREQUENCIES_HZ, states)
        alone = np.einsum("fea,fe,feb->fab", cavity.reach, 1.0 / loads, cavity.reach)
        change = cavity.direct - weak.scattering(states)
        departures.append(np.abs(change - alone).max() / np.abs(alone).max())
    assert departures[0] < 0.2
    assert departures[1] == pytest.approx(departures[0] / 10, rel=0.2)
    assert departures[2] == pytest.approx(departures[1] / 10, rel=0.2)


def test_coupling_makes_the_response_less_affine(cavity: MetasurfaceCavity) -> None:
    rows = bits(1000, 5)
    firsts = []
    for coupling in (1e-3, 0.2, 2.0, 19.0):
        coupled = with_element(cavity, Element(ONE_BIT.resonances_hz, 287.0, coupling))
        firsts.append(order_shares(rows, np.array([coupled.transmission(row, PATHS).ravel() for row in rows])).first)
    assert firsts[0] > 0.999
    assert firsts == sorted(firsts, reverse=True)
    assert firsts[-1] < 0.95


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000))
def test_slopes_are_those_of_finite_differences(seed: int) -> None:
    states = np.random.default_rng(seed).uniform(0.1, 0.9, N_ELEMENTS)
    slopes = small(0).transmission_slopes(states, PATHS)
    step = 1e-6
    for index in range(0, N_ELEMENTS, 5):
        moved = np.zeros(N_ELEMENTS)
        moved[index] = step
        change = small(0).transmission(states + moved, PATHS) - small(0).transmission(states - moved, PATHS)
        np.testing.assert_allclose(slopes[:, :, index], change / (2 * step), atol=1e-6 * np.abs(slopes).max())


def test_walsh_orders_of_a_known_function() -> None:
    """All 2⁸ rows of 3 s₀ + 2 s₁s₂ + s₃s₄s₅ + 5: energies 9, 4 and 1; rows drawn at random estimate them."""
    whole = np.array([[(row >> bit) & 1 for bit in range(8)] for row in range(256)], dtype=float)
    drawn = bits(4000, 9, 8)
    for rows, tolerance in ((whole, 0.03), (drawn, 0.03)):
        signs = 2 * rows - 1
        response = 5 + 3 * signs[:, 0] + 2j * signs[:, 1] * signs[:, 2] + signs[:, 3] * signs[:, 4] * signs[:, 5]
        shares = order_shares(rows, response[:, None])
        found = (shares.first, shares.second, shares.higher)
        np.testing.assert_allclose(found, (9 / 14, 4 / 14, 1 / 14), atol=tolerance)
        assert sum(found) == pytest.approx(1.0)


def test_few_rows_do_not_make_a_response_look_affine() -> None:
    """Twice as many rows as functions: a response that is all of third order is still reported as such."""
    rows = bits(160, 2)
    signs = 2 * rows - 1
    triples = np.stack([signs[:, k] * signs[:, k + 1] * signs[:, k + 2] for k in range(N_ELEMENTS - 2)], axis=1)
    assert order_shares(rows, triples).higher == pytest.approx(1.0, abs=0.1)


def test_orders_take_enough_rows() -> None:
    with pytest.raises(ValueError, match="at least 158 rows, got 157"):
        order_shares(bits(157), np.ones((157, 1)))


@pytest.mark.parametrize(
    ("frequency_hz", "says"),
    [(0.2e9, "first mode, 0.2082 GHz"), (7.6e9, "below 7.495 GHz"), (5.5e9, "no single dipoles at 5.5 GHz")],
)
def test_frequencies_beyond_the_model_are_refused(frequency_hz: float, says: str) -> None:
    check_frequency(layout(0), 3.3e9)
    with pytest.raises(ValueError, match=says):
        check_frequency(layout(0), frequency_hz)


def test_wires_that_touch_are_refused() -> None:
    check_spacing(3e-3)
    with pytest.raises(ValueError, match="touch one another"):
        check_spacing(25e-3)


def test_a_box_too_large_to_solve_is_refused() -> None:
    with pytest.raises(ValueError, match="make the box smaller"):
        check_frequency(layout(0, size_m=(12.0, 9.0)), 3.3e9)


@pytest.mark.parametrize(
    ("n_elements", "pitch", "says"),
    [
        (84, PITCH, "room for 84 elements, not 85"),
        (12, Pitch(0.0015, 0.022, 1e-3), "touch"),
        (12, Pitch(0.028, 0.0015, 1e-3), "touch"),
        (12, Pitch(0.028, 0.25, 1e-3), "touch"),
    ],
)
def test_elements_that_do_not_fit_are_refused(n_elements: int, pitch: Pitch, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        in_rows(n_elements + (pitch is PITCH), SIZE_M, pitch)


def test_elements_stand_in_two_rows() -> None:
    rows: Wires = in_rows(84, SIZE_M, PITCH)
    assert np.unique(rows.points_m[:, 1]).tolist() == pytest.approx([0.022, 0.878])
    assert np.diff(rows.points_m[:42, 0]) == pytest.approx(0.028)
    assert rows.points_m[:, 0].min() >= PITCH.distance_m
    assert rows.points_m[:, 0].max() <= SIZE_M[0] - PITCH.distance_m
