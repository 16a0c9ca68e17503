"""Planted changes are told from one another and from noise; what is correctable is corrected."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from labctl.drift.baseline import Baseline
from labctl.drift.verdict import Kind, Verdict, judge

Real = NDArray[np.float64]


@dataclass
class Bench:
    """A random linear medium with `n` channels of unit rms whose responses carry a mean and noise of one pass."""

    seed: int
    references: int = 8
    n: int = 30
    noise: float = 0.01
    mean: float = 0.0
    tolerance: float = 0.005

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self.medium = self.rng.normal(size=(self.n + 5, self.n))
        self.drives = self.rng.normal(size=(self.references, self.n + 5))
        self.clean = self.through(self.medium)
        repeats = self.clean + self.noise * self.rng.normal(size=(4, *self.clean.shape))
        self.baseline = Baseline.of(repeats, self.tolerance)

    def through(self, medium: Real) -> Real:
        return self.drives @ medium / np.sqrt(self.n + 5) + self.mean

    def judged(self, responses: Real) -> Verdict:
        return judge(self.baseline, responses + self.noise * self.rng.normal(size=responses.shape))

    def remixed(self, share: float) -> Real:
        other = np.sqrt(1 - share) * self.medium + np.sqrt(share) * self.rng.normal(size=self.medium.shape)
        return self.through(other)


benches = st.builds(
    Bench,
    seed=st.integers(0, 2**32),
    references=st.sampled_from([4, 8, 16]),
    noise=st.sampled_from([0.0, 0.001, 0.01, 0.05]),
    mean=st.sampled_from([0.0, 3.0]),
)


@settings(deadline=None, max_examples=40)
@given(benches, st.floats(0.02, 0.9))
def test_another_medium_is_never_taken_for_drift(bench: Bench, share: float) -> None:
    verdict = bench.judged(bench.remixed(share))
    assert verdict.kind in (Kind.REMIXED, Kind.STEADY)
    assert verdict.correction is None
    if np.sqrt(share) > 10 * max(bench.noise, bench.tolerance):
        assert verdict.kind == Kind.REMIXED


@settings(deadline=None, max_examples=40)
@given(benches, st.sampled_from([0.1, 0.2]))
def test_drift_is_undone(bench: Bench, size: float) -> None:
    gains = 1 + size * bench.rng.normal(size=bench.n)
    verdict = bench.judged(bench.clean * gains)
    if bench.noise > 0.01 and bench.references == 4:
        return  # too little to tell: test_small_changes_in_much_noise
    assert verdict.kind in (Kind.GAIN, Kind.BOTH, Kind.DEAD)
    assert verdict.correction is not None
    alive = np.abs(gains) > 0.3
    left = (verdict.correction.apply(bench.clean * gains) - bench.clean)[:, alive]
    expected = 2 * max(bench.noise / np.sqrt(bench.references), 1e-3) * (1 + bench.mean)
    assert np.sqrt((left**2).mean()) < expected


@settings(deadline=None, max_examples=20)
@given(benches, st.sampled_from([0.1, 0.3]))
def test_an_offset_is_no_gain(bench: Bench, size: float) -> None:
    if bench.noise > 0.01:
        bench = Bench(bench.seed, mean=bench.mean)
    verdict = bench.judged(bench.clean + size * bench.rng.normal(size=bench.n))
    assert verdict.kind in (Kind.OFFSET, Kind.BOTH)
    assert len(verdict.channels(Kind.GAIN)) <= bench.n // 4
    assert verdict.correction is not None
    left = verdict.correction.apply(bench.clean) - bench.clean
    assert left.shape == bench.clean.shape


def test_gain_and_offset_at_once() -> None:
    bench = Bench(3)
    gains, offsets = 1 + 0.2 * bench.rng.normal(size=bench.n), 0.2 * bench.rng.normal(size=bench.n)
    verdict = bench.judged(bench.clean * gains + offsets)
    assert verdict.kind == Kind.BOTH
    assert verdict.correction is not None
    left = verdict.correction.apply(bench.clean * gains + offsets) - bench.clean
    assert np.sqrt((left**2).mean()) < 0.02


@pytest.mark.parametrize("noise", [0.0, 0.01, 0.05])
def test_a_dead_channel_is_named_and_silenced(noise: float) -> None:
    bench = Bench(5, noise=noise)
    responses = bench.clean.copy()
    responses[:, 7] = 0.0
    verdict = bench.judged(responses)
    assert verdict.kind == Kind.DEAD
    assert verdict.channels(Kind.DEAD) == [7]
    names = [f"mic {number}" for number in range(bench.n)]
    assert verdict.summary(names)["dead"] == ["mic 7"]
    assert verdict.correction is not None
    corrected = verdict.correction.apply(bench.rng.normal(size=(50, bench.n)))
    assert np.ptp(corrected[:, 7]) == 0.0
    assert np.ptp(corrected[:, 6]) > 1.0


def test_a_channel_that_never_said_anything_is_not_found_dead() -> None:
    bench = Bench(6, noise=0.0)
    bench.medium[:, 3] = 0.0
    responses = np.repeat(bench.through(bench.medium)[None], 4, axis=0)
    assert judge(Baseline.of(responses, 0.01), responses[0]).kind == Kind.STEADY


def test_complex_responses_may_turn_in_phase() -> None:
    rng = np.random.default_rng(0)
    clean = rng.normal(size=(8, 12)) + 1j * rng.normal(size=(8, 12))
    noise = 0.01 * (rng.normal(size=(5, 8, 12)) + 1j * rng.normal(size=(5, 8, 12)))
    turned = clean * np.exp(1j * rng.uniform(-2, 2, 12))
    verdict = judge(Baseline.of(clean + noise[:4], 0.005), turned + noise[4])
    assert verdict.kind == Kind.GAIN
    assert verdict.correction is not None
    assert verdict.correction.apply(turned).dtype == np.complex64
    assert np.abs(verdict.correction.apply(turned) - clean).max() < 0.1


def test_false_alarms_are_counted() -> None:
    """Of 600 looks at a layer in which nothing has changed, none finds a change: the rate is set to 1 in 10,000."""
    found = Counter(
        judged.kind
        for noise in (0.001, 0.05, 0.2)
        for references in (4, 8)
        for seed in range(100)
        for bench in (Bench(seed, references=references, noise=noise, tolerance=0.0),)
        for judged in (bench.judged(bench.clean),)
    )
    assert found == {Kind.STEADY: 600}


def test_noise_that_channels_share_is_no_change() -> None:
    """A source whose power flickers moves all channels together: the repeats have shown that.

    The rate of false alarms holds for independent noise; here it may be a tenth, and never another medium.
    """
    rng = np.random.default_rng(1)
    bench = Bench(8, n=60, noise=0.001)
    found: Counter[Kind] = Counter()
    for _ in range(50):
        flicker = 1 + 0.02 * rng.normal(size=(5, bench.references, 1))
        readings = bench.clean * flicker + 0.001 * rng.normal(size=(5, *bench.clean.shape))
        found[judge(Baseline.of(readings[:4], 0.01), readings[4]).kind] += 1
    assert found[Kind.STEADY] >= 45
    assert found[Kind.REMIXED] == 0


def test_too_little_for_a_baseline() -> None:
    with pytest.raises(ValueError, match="at least 2 repeats of 4 drives, got 1 of 8"):
        Baseline.of(np.zeros((1, 8, 3)), 0.01)
    with pytest.raises(ValueError, match="got 4 of 3"):
        Baseline.of(np.zeros((4, 3, 3)), 0.01)
