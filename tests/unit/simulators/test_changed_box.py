"""A warm metasurface cavity and a displaced post: other responses, more so the larger the change, never more power."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from labctl_simulators.physics.air import Air
from labctl_simulators.physics.changed_box import ALUMINIUM_PER_K, displaced, warmed
from labctl_simulators.physics.enclosure import CLEARANCE_M, LIGHT_SPEED_M_PER_S, Plates, impedances
from labctl_simulators.physics.metasurface import Element, Layout, Pitch, arrange, in_rows, solve_cavity
from numpy.typing import NDArray

SIZE_M = (0.6, 0.45)
N_ELEMENTS = 12
ONE_BIT = Element((3.17e9, 3.43e9), 287.0, 19.0)
FREQUENCIES_HZ = np.linspace(3.1e9, 3.5e9, 6)
PATHS = [(1, 0), (2, 0), (3, 1)]
AIR = Air.humid(20.0, 0.5)
SEEDS = range(3)


@cache
def layout(seed: int, n_posts: int = 8) -> Layout:
    return arrange(
        SIZE_M,
        Plates(0.02, 200.0),
        in_rows(N_ELEMENTS, SIZE_M, Pitch(0.028, 0.022, 1e-3)),
        antenna_radius_m=np.full(4, 3e-3),
        post_radius_m=np.full(n_posts, 3e-3),
        rng=np.random.default_rng(seed),
    )


def transmitted(box: Layout) -> NDArray[np.complex128]:
    """Return S of ten patterns, having checked that the box is passive and reciprocal."""
    cavity = solve_cavity(box, ONE_BIT, FREQUENCIES_HZ)
    patterns = np.random.default_rng(9).integers(0, 2, (10, N_ELEMENTS)).astype(float)
    scattering = cavity.scattering(patterns[0])
    assert np.linalg.svd(scattering)[1].max() <= 1.0 + 1e-9
    np.testing.assert_allclose(scattering, scattering.transpose(0, 2, 1), atol=1e-10)
    return np.array([cavity.transmission(pattern, PATHS) for pattern in patterns])


def likeness(one: NDArray[np.complex128], other: NDArray[np.complex128]) -> float:
    return float(abs(np.vdot(one, other)) / np.linalg.norm(one) / np.linalg.norm(other))


def test_the_warmer_the_box_the_less_it_is_what_it_was() -> None:
    for seed in SEEDS:
        before = transmitted(layout(seed))
        same, *changed = (likeness(before, transmitted(warmed(layout(seed), AIR, t))) for t in (20, 25, 35, 55))
        assert same == pytest.approx(1.0, abs=1e-12)
        assert 1.0 > changed[0] > changed[1] > changed[2] > 0.9, changed


def test_a_post_that_has_gone_far_re_mixes_more_than_one_that_was_nudged() -> None:
    for seed in SEEDS:
        before = transmitted(layout(seed))
        moved = [transmitted(displaced(layout(seed), distance_m)) for distance_m in (1e-3, 1e-2, 3e-2)]
        likenesses = [likeness(before, each) for each in moved]
        assert 1.0 > likenesses[0] > likenesses[1] > likenesses[2] > 0.3, likenesses
        energies = [np.linalg.norm(each) / np.linalg.norm(before) for each in moved]
        assert 0.8 < min(energies) <= max(energies) < 1.25, energies


def test_what_has_grown_by_a_part_resonates_lower_by_that_part() -> None:
    """Without air, at a frequency lower by the expansion, all impedances are what they were but for rounding."""
    vacuum = Air(20.0, 0.0)
    warm = replace(warmed(layout(0), vacuum, 55.0), plates=layout(0).plates)
    assert warm.expansion == pytest.approx(1.0 + 35.0 * ALUMINIUM_PER_K)
    wires = replace(layout(0).posts, points_m=warm.expansion * layout(0).posts.points_m)
    wires = replace(wires, radius_m=warm.expansion * wires.radius_m)
    plates = replace(warm.plates, height_m=warm.expansion * warm.plates.height_m)
    lower = next(impedances(plates, wires, np.array([3.3e9 / warm.expansion])))
    cold = next(impedances(layout(0).plates, layout(0).posts, np.array([3.3e9])))
    np.testing.assert_allclose(lower, cold, rtol=1e-6)


def test_an_undisturbed_box_is_what_it_was_to_the_bit() -> None:
    plates = layout(0).plates
    vacuum_per_m = 2.0 * np.pi * 3.3e9 / LIGHT_SPEED_M_PER_S
    assert plates.wavenumber_per_m(3.3e9) == vacuum_per_m * complex(np.sqrt(1.0 - 1j / plates.quality))
    np.testing.assert_array_equal(transmitted(warmed(layout(0), AIR, 20.0)), transmitted(layout(0)))


def test_the_post_goes_as_far_as_it_is_told_to_a_place_of_its_own() -> None:
    for distance_m in (0.01, 0.1, 0.2):
        before, after = layout(2).posts.points_m, displaced(layout(2), distance_m).posts.points_m
        np.testing.assert_array_equal(after[1:], before[1:])
        assert np.linalg.norm(after[0] - before[0]) == pytest.approx(distance_m)
        others = np.concatenate([after[1:], layout(2).antennas.points_m, layout(2).elements.points_m])
        assert np.linalg.norm(others - after[0], axis=1).min() >= CLEARANCE_M


def test_no_room_and_no_post() -> None:
    with pytest.raises(ValueError, match=r"the first post has no room 2 m from where it stands; move it less far"):
        displaced(layout(0), 2.0)
    with pytest.raises(ValueError, match="no post stands in the box that could be moved"):
        displaced(layout(0, n_posts=0), 0.01)


def test_air_has_the_index_of_the_recommendation() -> None:
    """The vapour pressure over water at 15 °C is 17.04 hPa in every steam table."""
    dry = Air(15.0, 0.0)
    assert 1e6 * (dry.refractive_index - 1.0) == pytest.approx(77.6 * 1013.25 / 288.15)
    humid = Air.humid(15.0, 1.0)
    assert humid.vapour_hpa == pytest.approx(17.04, abs=0.05)
    assert 1e6 * (humid.refractive_index - dry.refractive_index) / humid.vapour_hpa == pytest.approx(4.5, abs=0.1)


def test_air_keeps_its_water_until_it_condenses() -> None:
    assert AIR.brought_to(35.0).vapour_hpa == AIR.vapour_hpa
    assert AIR.brought_to(0.0) == Air.humid(0.0, 1.0)
    assert AIR.brought_to(35.0).refractive_index < AIR.refractive_index
