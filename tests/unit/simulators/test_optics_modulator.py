"""The panel: levels, sign of the phase, zero order, dead pixels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from labctl_simulators.physics.modulator import Modulator, Panel, panel

AMPLITUDE = Modulator(256, None)
PHASE = Modulator(256, 2 * np.pi)


def built(modulator: Modulator, n_inputs: int = 50, seed: int = 0, **changes: float) -> Panel:
    given = {"fill": 1.0, "pixels_per_input": 1, "dead_share": 0.0} | changes
    return panel(
        modulator,
        n_inputs,
        fill=given["fill"],
        pixels_per_input=int(given["pixels_per_input"]),
        dead_share=given["dead_share"],
        rng=np.random.default_rng(seed),
    )


def test_a_drive_is_an_amplitude_or_a_positive_phase() -> None:
    drives = np.array([0.0, 0.25, 1.0])
    np.testing.assert_array_equal(AMPLITUDE.field(drives), drives)
    np.testing.assert_allclose(PHASE.field(drives), [1.0, 1j, 1.0], atol=1e-12)
    assert Modulator(256, 1.0).field(np.ones(1))[0] == pytest.approx(np.exp(1j))


@given(st.floats(0, 1, width=32), st.integers(2, 65536))
def test_the_panel_shows_the_nearest_level(drive: float, levels: int) -> None:
    modulator = Modulator(levels, None)
    (level,) = modulator.shown_levels(np.array([drive], dtype=np.float32))
    assert 0 <= level < levels
    assert abs(modulator.level_fields()[level].real - drive) <= 0.5 / (levels - 1) + 1e-7


def test_two_levels_are_a_binary_panel() -> None:
    drives = np.array([0.0, 0.4, 0.6, 1.0], dtype=np.float32)
    np.testing.assert_array_equal(Modulator(2, None).shown_levels(drives), [0, 0, 1, 1])
    np.testing.assert_allclose(Modulator(2, np.pi).level_fields(), [1, -1], atol=1e-12)


def test_more_levels_come_closer_by_a_twelfth_of_a_step_squared() -> None:
    drives = np.random.default_rng(0).random(100_000, dtype=np.float32)
    for levels in (4, 16, 256):
        modulator = Modulator(levels, None)
        error = modulator.level_fields().real[modulator.shown_levels(drives)] - drives
        assert error.var() * (levels - 1) ** 2 == pytest.approx(1 / 12, rel=0.02)


@pytest.mark.parametrize("modulator", [AMPLITUDE, PHASE])
def test_the_slope_is_the_derivative_of_the_field(modulator: Modulator) -> None:
    drives, step = np.linspace(0.1, 0.9, 9), 1e-6
    numerical = (modulator.field(drives + step) - modulator.field(drives - step)) / (2 * step)
    np.testing.assert_allclose(modulator.slope(drives), numerical, atol=1e-8)


def test_a_whole_panel_modulates_everything() -> None:
    whole = built(PHASE)
    np.testing.assert_array_equal(whole.active, 1.0)
    np.testing.assert_array_equal(whole.static, 0.0)


def test_gaps_reflect_unmodulated() -> None:
    gaps = built(AMPLITUDE, fill=0.9)
    np.testing.assert_allclose(gaps.active, 0.9)
    np.testing.assert_allclose(gaps.static, 0.1)


@pytest.mark.parametrize("seed", range(10))
def test_dead_pixels_take_their_share_of_a_macro_pixel(seed: int) -> None:
    dark, bright = (built(m, 400, seed, fill=0.8, pixels_per_input=100, dead_share=0.05) for m in (AMPLITUDE, PHASE))
    dead = 1 - dark.active / 0.8
    assert dead.mean() == pytest.approx(0.05, abs=0.006)
    assert dead.std() == pytest.approx(np.sqrt(0.05 * 0.95 / 100), rel=0.15)
    np.testing.assert_allclose(dark.static, 0.2)  # stuck at amplitude 0
    np.testing.assert_allclose(bright.static, 0.2 + 0.8 * dead)  # stuck at phase 0


def test_dead_pixels_are_the_same_for_the_same_seed() -> None:
    first, again, other = (built(AMPLITUDE, dead_share=0.3, seed=seed).active for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
