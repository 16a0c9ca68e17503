"""Tells gain, offset, a dead channel and a re-mixed medium apart, and from noise.

Per channel the reading y of R reference drives is explained by the baseline b as y = g·b + o. What g and o explain
better than g = 1, o = 0 is drift of the electronics; what they leave unexplained is another medium. Both are F-tests
against the baseline's own scatter, at a rate of false alarms that holds for all channels together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labctl.contract.layer import ResponseValues
from labctl.drift.affine import Affine, Real, power
from labctl.drift.baseline import Baseline, as_numbers, surprise
from labctl.drift.correction import Correction

FALSE_ALARMS = 1e-4
"""Chance that a layer in which nothing has changed is found changed in one look at it."""

DEAD_GAIN = 0.1
"""A channel whose response to the drives has shrunk to less than this share is dead."""

MEASURABLE = 0.1
"""The death of a channel is noticed where its gain can be told to this standard error."""

SIMPLER = 0.01
"""A channel is said to have both gain and offset when one of them alone is this unlikely to explain it, in any of them.

It is also how unlikely a channel is to be steady that is said to have drifted when the layer as a whole surely has.
"""

NAMED = 8
"""So many channels are named one by one."""


class Kind(StrEnum):
    """What has become of a channel, or of the whole layer."""

    STEADY = "steady"
    GAIN = "gain"
    OFFSET = "offset"
    BOTH = "gain and offset"
    DEAD = "dead"
    REMIXED = "re-mixed"


@dataclass(frozen=True)
class Verdict:
    """What became of each channel: `kinds` (C,) of `Kind`, and the best `gains` and `offsets` (C,).

    `kind` is what counts for the layer: re-mixed before dead before drift. `correction` undoes gain and offset and
    silences dead channels; it is None for a steady layer and for a re-mixed one, whose gains mean nothing.
    """

    kind: Kind
    kinds: NDArray[np.object_]
    gains: NDArray[np.inexact]
    offsets: NDArray[np.inexact]
    correction: Correction | None

    def channels(self, *kinds: Kind) -> list[int]:
        """Return the numbers of the channels of `kinds`."""
        return [int(number) for number in np.flatnonzero(np.isin(self.kinds, kinds))]

    def summary(self, names: Sequence[str]) -> Mapping[str, Any]:
        """Return as JSON values what a log should say; `names` (C,) of the channels."""
        counts = {str(kind): len(self.channels(kind)) for kind in Kind if kind in self.kinds}
        facts: dict[str, Any] = {"verdict": str(self.kind), "channels": counts}
        for kind in (Kind.DEAD, Kind.REMIXED):
            if numbers := self.channels(kind):
                facts[str(kind)] = [names[number] for number in numbers[:NAMED]]
        drifted = self.channels(Kind.GAIN, Kind.OFFSET, Kind.BOTH)
        if drifted and self.kind != Kind.REMIXED:
            worst = sorted(drifted, key=lambda number: -abs(self.gains[number] - 1))[:NAMED]
            facts["gains"] = {names[number]: round(float(abs(self.gains[number])), 4) for number in worst}
        return facts


def judge(baseline: Baseline, responses: ResponseValues) -> Verdict:
    """Return the verdict on `responses` (R, C), one pass of every reference drive."""
    now = as_numbers(responses)
    fit = Affine.fitted(baseline.mean, now, baseline.spread)
    dead = _dead(baseline, now, fit.gains)
    kinds = _kinds(baseline, fit, dead)
    kind = _overall(kinds)
    correction = None if kind in (Kind.STEADY, Kind.REMIXED) else _correction(baseline, now, dead)
    return Verdict(kind, kinds, fit.gains, fit.offsets, correction)


def _kinds(baseline: Baseline, fit: Affine, dead: NDArray[np.bool_]) -> NDArray[np.object_]:
    n_channels, rate = len(dead), FALSE_ALARMS / (2 * len(dead))
    remixed = fit.unexplained > _threshold(fit.freedom, baseline.freedom, rate)
    if _together(fit.unexplained[~dead], fit.freedom, baseline):
        remixed = ~dead
    if _together(fit.explained[~dead], 2, baseline):
        rate = SIMPLER
    changed = fit.explained > _threshold(2, baseline.freedom, rate)
    one_more = _threshold(1, baseline.freedom, SIMPLER / n_channels)
    gain_alone, offset_alone = fit.left_by_gain - fit.left, fit.left_by_offset - fit.left
    kinds = np.full(n_channels, Kind.STEADY, dtype=object)
    kinds[changed] = Kind.BOTH
    kinds[changed & (offset_alone <= one_more)] = Kind.OFFSET
    kinds[changed & (gain_alone <= one_more) & (gain_alone <= offset_alone)] = Kind.GAIN
    kinds[remixed] = Kind.REMIXED
    kinds[dead] = Kind.DEAD
    return kinds


def _dead(baseline: Baseline, now: NDArray[np.inexact], gains: NDArray[np.inexact]) -> NDArray[np.bool_]:
    """Return which channels (C,) followed the drives and no longer do."""
    freedom = len(now) - 1
    then = power(baseline.mean - baseline.mean.mean(axis=0))
    still = power(now - now.mean(axis=0))
    error = np.divide(baseline.spread, np.sqrt(then), out=np.full(len(then), np.inf), where=then > 0)
    noise = freedom * baseline.noise**2 * _threshold(freedom, baseline.freedom, FALSE_ALARMS)
    follows_not = (np.abs(gains) < DEAD_GAIN + 3 * error) & (still <= np.maximum(DEAD_GAIN**2 * then, noise))
    return (error < MEASURABLE) & follows_not


def _together(ratios: Real, freedom: int, baseline: Baseline) -> bool:
    """Return whether `ratios` of all living channels together are more than chance and common noise explain.

    Fisher's method: minus twice the sum of the logarithms of n independent chances is chi-squared with 2n degrees.
    """
    from scipy.stats import chi2

    if not len(ratios):
        return False
    n = min(baseline.independent, len(ratios))
    limit = float(chi2.isf(FALSE_ALARMS / 4, 2 * n)) / (2 * n)
    return surprise(ratios, freedom, baseline.freedom) > limit


def _overall(kinds: NDArray[np.object_]) -> Kind:
    present = set(kinds.tolist())
    for kind in (Kind.REMIXED, Kind.DEAD, Kind.BOTH):
        if kind in present:
            return kind
    if {Kind.GAIN, Kind.OFFSET} <= present:
        return Kind.BOTH
    return Kind.GAIN if Kind.GAIN in present else Kind.OFFSET if Kind.OFFSET in present else Kind.STEADY


def _correction(baseline: Baseline, now: NDArray[np.inexact], dead: NDArray[np.bool_]) -> Correction:
    """Return what undoes gain and offset of all channels and silences dead ones.

    Gains and offsets scatter over the channels by as much as the estimates do beyond their own error; estimates are
    drawn towards "no change" accordingly (empirical Bayes, Efron and Morris, JASA 68:117, 1973). So a channel in which
    next to nothing can be seen is not made worse, and a layer without offsets is corrected for gain alone.
    """
    then, alive = baseline.mean, ~dead
    noise = np.where(baseline.noise > 0, baseline.noise, baseline.spread)
    rms = np.sqrt(power(then) / len(then))
    unit = np.where(rms > 0, rms, 1.0)
    design = then / unit  # both unknowns in shares of the channel's rms: (g - 1) and o / rms
    weight = (unit / noise) ** 2
    change = (now - then) / unit
    n = float(len(then))
    a, b, d = power(design) * weight, design.sum(axis=0) * weight, n * weight
    right_gain, right_offset = (np.conj(design) * change).sum(axis=0) * weight, change.sum(axis=0) * weight
    free = np.maximum(a * d - np.abs(b) ** 2, np.finfo(np.float64).tiny)
    gain, offset = (d * right_gain - np.conj(b) * right_offset) / free, (a * right_offset - b * right_gain) / free
    tau_gain = _scatter(gain[alive], (d / free)[alive])
    tau_offset = _scatter(offset[alive], (a / free)[alive])
    # Posterior mean with variances tau: (X'WX + D^-1)^-1 X'Wy, written so that a variance may be zero.
    det = (1 + tau_gain * a) * (1 + tau_offset * d) - tau_gain * tau_offset * np.abs(b) ** 2
    gain = tau_gain * ((1 + tau_offset * d) * right_gain - tau_offset * np.conj(b) * right_offset) / det
    offset = tau_offset * ((1 + tau_gain * a) * right_offset - tau_gain * b * right_gain) / det
    lost = np.abs(1 + gain) < DEAD_GAIN
    silent = dead | lost
    scale = 1.0 / np.where(silent, 1.0, 1 + gain)
    shift = -offset * unit * scale
    scale[silent] = 0.0
    shift[silent] = then.mean(axis=0)[silent]
    return Correction(scale, shift)


def _scatter(estimates: NDArray[np.inexact], variances: Real) -> float:
    """Return the variance of the true values, of which `estimates` are, each with an error of `variances`.

    Moment estimate weighted by precision, zero where the errors explain it all.
    """
    if not len(estimates):
        return 0.0
    weights = 1.0 / variances**2
    excess = (weights * (np.abs(estimates) ** 2 - variances)).sum() / weights.sum()
    return max(float(excess), 0.0)


def _threshold(freedom: int, freedom_of_noise: int, rate: float) -> float:
    from scipy.stats import f

    return float(f.isf(rate, freedom, freedom_of_noise))
