"""The camera against the EMVA 1288 model."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from labctl_simulators.physics.camera import Camera, electrons_per_count, full_scale, saturated_share

N = 200_000


def camera(
    bits: int = 12,
    dark_level: int = 0,
    mean_counts: float = 500.0,
    noise: float = 0.0,
    electrons_per_count: float | None = None,
    read_noise_electrons: float = 0.0,
) -> Camera:
    return Camera(bits, dark_level, mean_counts, noise, electrons_per_count, read_noise_electrons)


def normal(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(n, dtype=np.float32)


def frame(camera: Camera, signal: float, seed: int = 0) -> np.ndarray:
    values, _ = camera.expose(np.full(N, signal, dtype=np.float32), normal(N, seed))
    return values.astype(np.float64)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("signal", [40.0, 400.0, 2500.0])
def test_the_variance_of_shot_noise_is_the_mean_over_the_gain(signal: float, seed: int) -> None:
    """Photon transfer: σ² = K μ with K counts per electron; rounding adds 1/12."""
    values = frame(camera(electrons_per_count=2.5), signal, seed)
    assert values.mean() == pytest.approx(signal, abs=0.2)
    assert values.var() - 1 / 12 == pytest.approx(signal / 2.5, rel=0.02)


def test_few_electrons_have_the_mean_and_variance_of_a_poisson_law_over_read_noise() -> None:
    electrons = np.random.default_rng(1).poisson(6.0, N) + np.random.default_rng(2).normal(0.0, 7.0, N)
    expected = np.rint(100 + electrons / 2.0)
    values = frame(camera(dark_level=100, electrons_per_count=2.0, read_noise_electrons=7.0), 3.0, 3)
    assert values.mean() == pytest.approx(expected.mean(), abs=0.03)
    assert values.std() == pytest.approx(expected.std(), rel=0.01)
    # The laws themselves: the largest distance between their distribution functions.
    levels = np.arange(80, 130)
    distance = np.abs([(values <= level).mean() - (expected <= level).mean() for level in levels]).max()
    assert distance < 0.006


def test_read_noise_is_there_in_the_dark_above_the_dark_level() -> None:
    values = frame(camera(dark_level=64, electrons_per_count=2.0, read_noise_electrons=8.0), 0.0)
    assert values.mean() == pytest.approx(64.0, abs=0.05)
    assert values.var() - 1 / 12 == pytest.approx(16.0, rel=0.02)


def test_the_even_noise_is_a_share_of_the_exposed_mean_whatever_the_signal() -> None:
    for signal in (100.0, 1000.0):
        assert frame(camera(noise=0.01), signal).var() - 1 / 12 == pytest.approx(25.0, rel=0.02)


@pytest.mark.parametrize("bits", [8, 10, 12])
def test_quantisation_errs_by_at_most_half_a_count_and_by_a_twelfth_in_variance(bits: int) -> None:
    sensor = camera(bits=bits)
    signal = np.random.default_rng(0).uniform(0, sensor.full_scale, N).astype(np.float32)
    values, saturated = sensor.expose(signal, normal(N, 1))
    error = values - signal
    assert np.abs(error).max() <= 0.5
    assert error.var() == pytest.approx(1 / 12, rel=0.02)
    assert saturated == pytest.approx(0.5 / sensor.full_scale, abs=1e-3)


def test_values_have_the_type_a_camera_delivers() -> None:
    assert [camera(bits=bits).dtype.name for bits in (8, 10, 12)] == ["uint8", "uint16", "uint16"]
    assert [camera(bits=bits).full_scale for bits in (8, 10, 12)] == [255, 1023, 4095]


@given(st.lists(st.floats(0, 1e5, width=32), min_size=1, max_size=50), st.sampled_from([8, 10, 12]), st.integers(0, 99))
def test_values_stay_within_the_converter_and_saturation_is_counted(signals: list[float], bits: int, seed: int) -> None:
    sensor = camera(bits=bits, electrons_per_count=10.0, read_noise_electrons=20.0)
    values, saturated = sensor.expose(np.array(signals, dtype=np.float32), normal(len(signals), seed))
    assert values.dtype == sensor.dtype
    assert values.max() <= sensor.full_scale
    assert saturated == np.count_nonzero(values == sensor.full_scale) / len(signals)


def test_light_beyond_full_scale_saturates() -> None:
    values, saturated = camera(bits=8).expose(np.array([10, 254, 300, 9000], np.float32), normal(4, 0))
    assert values.tolist() == [10, 254, 255, 255]
    assert saturated == 0.5


def test_saturated_share_of_speckle() -> None:
    speckle = np.random.default_rng(0).exponential(0.25, N)
    assert saturated_share(0.25) == pytest.approx((speckle > 1).mean(), rel=0.05)


def test_a_full_well_is_full_scale_and_gain_takes_less() -> None:
    assert electrons_per_count(8, 0, 25_500, gain=1.0) == pytest.approx(100)
    assert electrons_per_count(12, 95, 8_000, gain=2.0) == pytest.approx(1.0)
    assert full_scale(12) == 4095
