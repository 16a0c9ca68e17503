import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labctl_drivers.layers.multitone import FADE_S, burst_timing, check_tones, multitone

TIMING = burst_timing(16_000.0, settle_s=0.02, window_s=0.1, gap_s=0.03, averages=2)
TONES_HZ = (150.0, 230.0, 470.0, 1010.0)


def test_a_burst_is_settle_windows_gap() -> None:
    assert (TIMING.settle, TIMING.window, TIMING.gap, TIMING.n_samples) == (320, 1600, 480, 4000)
    assert TIMING.duration_s == pytest.approx(0.25)


@settings(deadline=None)
@given(st.lists(st.floats(0, 1, width=32), min_size=8, max_size=8))
def test_what_is_played_is_read_out_exactly(levels: list[float]) -> None:
    design = multitone(TONES_HZ, TIMING, "schroeder")
    amplitudes = np.array(levels, dtype=np.float32).reshape(2, 4) / 4
    np.testing.assert_allclose(design.analyse(design.synthesise(amplitudes)), amplitudes, atol=1e-6)


def test_delay_is_phase() -> None:
    design = multitone(TONES_HZ, TIMING, "schroeder")
    burst = design.synthesise(np.full((1, 4), 0.25, dtype=np.float32))
    delayed = np.concatenate([np.zeros((20, 1), dtype=np.float32), burst])[: len(burst)]
    expected = 0.25 * np.exp(-2j * np.pi * np.array(TONES_HZ) * 20 / 16_000)
    np.testing.assert_allclose(design.analyse(delayed)[0], expected, atol=1e-6)


def test_noise_is_averaged_over_windows() -> None:
    design = multitone(TONES_HZ, TIMING, "zero")
    noise = np.random.default_rng(0).standard_normal((TIMING.n_samples, 400)).astype(np.float32)
    expected = np.sqrt(4 / (TIMING.window * TIMING.averages))
    assert np.sqrt(np.square(np.abs(design.analyse(noise))).mean()) == pytest.approx(expected, rel=0.05)


def test_all_tones_at_full_amplitude_stay_below_their_sum() -> None:
    for phases in ("schroeder", "zero"):
        burst = multitone(TONES_HZ, TIMING, phases).synthesise(np.full((1, 4), 0.25, dtype=np.float32))
        assert np.abs(burst).max() <= 1.0 + 1e-6


def test_schroeder_phases_keep_the_peak_low() -> None:
    tones = tuple(float(tone) for tone in range(100, 2100, 100))
    peaks = {
        phases: np.abs(multitone(tones, TIMING, phases).synthesise(np.full((1, 20), 0.05, dtype=np.float32))).max()
        for phases in ("schroeder", "zero")
    }
    assert peaks["schroeder"] < 0.5 * peaks["zero"]


def test_fades_are_smooth_and_the_rest_of_the_gap_is_silent() -> None:
    burst = multitone((1010.0,), TIMING, "zero").synthesise(np.ones((1, 1), dtype=np.float32))[:, 0]
    n_fade = round(FADE_S * 16_000)
    assert burst[0] == 0.0
    assert not burst[-TIMING.gap + n_fade :].any()
    steepest = 2 * np.pi * 1010.0 / 16_000
    assert np.abs(np.diff(burst)).max() < 1.1 * steepest


@pytest.mark.parametrize(
    ("tones_hz", "says"),
    [
        ((331.0,), "tone 331 Hz has 33.1 periods in the window of 100 ms; whole periods have 330 Hz and 340 Hz"),
        ((8000.0,), "not between 0 and 8000 Hz"),
        ((0.0,), "not between"),
        ((-10.0,), "not between"),
        ((150.0, 230.0, 150.0), "tone 150 Hz is listed twice"),
    ],
)
def test_tones_that_cannot_be_told_apart_are_refused(tones_hz: tuple[float, ...], says: str) -> None:
    with pytest.raises(ValueError, match=says.split(";")[0]) as caught:
        check_tones(tones_hz, TIMING)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"settle_s": 0.001}, "settle of 1 ms is too short"),
        ({"gap_s": 0.004}, "gap of 4 ms is too short"),
        ({"window_s": 0.10001}, "window of 100.01 ms is 1600.16 samples at 16000 Hz"),
    ],
)
def test_times_that_do_not_fit_are_refused(change: dict[str, float], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        burst_timing(16_000.0, averages=1, **({"settle_s": 0.02, "window_s": 0.1, "gap_s": 0.03} | change))
