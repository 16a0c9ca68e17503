"""The loopback finds delays to a fraction of a sample, and every loss."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labctl_drivers.audio.loopback import Loopback, LoopbackError, TornError, Verdict, find, learn, marker

LEVEL = 0.25
N = 800


def path_of(delay: float, number: int, gain: float = 0.9, n: int = N) -> np.ndarray:
    """Return a recording of the loopback, by a path of its own: sums of sines, each delayed."""
    spectrum = np.fft.rfft(LEVEL * gain * marker(number, n).astype(np.float64), 4 * n)
    turned = spectrum * np.exp(-2j * np.pi * np.fft.rfftfreq(4 * n) * delay)
    noise = 1e-4 * np.random.default_rng(number).standard_normal(n)
    return (np.fft.irfft(turned)[:n] + noise).astype(np.float32)


@settings(deadline=None, max_examples=30)
@given(delay=st.floats(0, 2000))
def test_a_delay_is_found_to_a_thousandth_of_a_sample(delay: float) -> None:
    whole = int(delay)
    heard = np.concatenate([np.zeros(whole, np.float32), path_of(delay - whole, 1), np.zeros(300, np.float32)])
    assert find(heard, 1, N)[0] == pytest.approx(delay, abs=2e-2)
    recordings = [path_of(delay - whole, number) for number in range(4)]
    learnt = learn(recordings, list(range(4)), whole, LEVEL)
    assert learnt.delay == pytest.approx(delay, abs=2e-2)
    assert learnt.gain == pytest.approx(0.9, abs=0.02)


def loopback(delay: float = 0.25) -> Loopback:
    return Loopback(learn([path_of(delay, number) for number in range(4)], list(range(4)), 0, LEVEL), LEVEL)


@settings(deadline=None, max_examples=60)
@given(at=st.integers(100, N - 200), lost=st.integers(1, 60), number=st.integers(0, 3), how=st.sampled_from("dz"))
def test_lost_samples_are_noticed_wherever_they_are(at: int, lost: int, number: int, how: str) -> None:
    heard = path_of(0.25, number)
    assert loopback().examine(heard, number).verdict == Verdict.WHOLE
    if how == "d":
        heard = np.concatenate([heard[:at], heard[at + lost :], np.zeros(lost, np.float32)])
    else:
        heard[at : at + 8 + lost] = 0.0
    assert loopback().examine(heard, number).verdict in (Verdict.TORN, Verdict.MOVED)


@settings(deadline=None, max_examples=60)
@given(at=st.integers(0, N - 64), number=st.integers(0, 63))
def test_a_poor_cable_does_not_pass_silence_off_as_its_marker(at: int, number: int) -> None:
    def noisy(number: int) -> np.ndarray:
        noise = np.random.default_rng(number).standard_normal(N)
        return (path_of(0.0, number) + 0.22 * path_of(0.0, number).std() * noise).astype(np.float32)

    path = learn([noisy(each) for each in range(4)], list(range(4)), 0, LEVEL)
    assert 0.2 < path.flaw < 0.3
    heard = noisy(number)
    assert Loopback(path, LEVEL).examine(heard, number).verdict == Verdict.WHOLE
    heard[at : at + 64] = 0.0
    assert Loopback(path, LEVEL).examine(heard, number).verdict == Verdict.TORN


@settings(deadline=None, max_examples=30)
@given(at=st.integers(100, N - 200), lost=st.integers(32, 60))
def test_it_is_told_from_where_on_nothing_is_lost(at: int, lost: int) -> None:
    whole, torn = path_of(0.25, 1), path_of(0.25, 1)
    torn[at : at + lost] = 0.0
    slipped = np.concatenate([whole[:at], whole[at + lost :], np.zeros(lost, np.float32)])
    assert loopback().examine(whole, 1).whole_from == 0
    told = loopback().examine(torn, 1).whole_from
    assert told is not None
    assert at + lost - 16 <= told <= at + lost + 64
    assert loopback().examine(slipped, 1).whole_from is None


@pytest.mark.parametrize("shift", [-300, -3, 1, 17, 400])
def test_a_move_is_told_with_its_size(shift: int) -> None:
    long = np.concatenate([np.zeros(500, np.float32), path_of(0.25, 2), np.zeros(500, np.float32)])
    found = loopback().examine(long[500 - shift : 500 - shift + N], 2)
    assert found.verdict == Verdict.MOVED
    assert found.shift == pytest.approx(shift, abs=0.05)


def test_an_earlier_burst_is_not_taken_for_this_one() -> None:
    assert loopback().examine(path_of(0.25, 1), 2).verdict == Verdict.STALE


def test_silence_is_silence() -> None:
    assert loopback().examine(np.zeros(N, np.float32), 2).verdict == Verdict.SILENT


def test_nothing_is_learnt_of_silence() -> None:
    with pytest.raises(TornError, match="silent where its marker should be"):
        learn([np.zeros(N, np.float32)] * 4, list(range(4)), 0, LEVEL)


def test_what_is_no_cable_is_refused() -> None:
    echo = [path_of(0.0, number) + 0.7 * np.roll(path_of(0.0, number), 40) for number in range(4)]
    with pytest.raises(LoopbackError, match="no delayed copy"):
        learn(echo, list(range(4)), 0, LEVEL)


@settings(deadline=None, max_examples=80)
@given(shift=st.integers(-30 * N, 30 * N), number=st.integers(100, 300))
def test_no_jump_of_the_latency_makes_another_burst_of_this_one(shift: int, number: int) -> None:
    """Bursts follow one another without a gap, so that after a jump there is always some other marker to be heard."""
    first = number + (shift // N) - 1
    stream = np.concatenate([path_of(0.0, each) for each in range(first, first + 4)])
    begin = (number - first) * N + shift
    found = loopback(0.0).examine(stream[begin : begin + N], number)
    if abs(shift) > N:
        assert found.verdict in (Verdict.STALE, Verdict.TORN)
    elif found.verdict in (Verdict.WHOLE, Verdict.MOVED):
        assert found.shift == pytest.approx(-shift, abs=0.05)
