"""Alignment by an electrical loopback: one output is wired to one input and plays a marker during every burst.

The marker is noise within a band that every converter passes, known to the sample. Where it is heard says by how much
output and input are apart, to a small fraction of a sample; that it is heard without a flaw says that no sample of the
burst was lost, whatever the audio system reports. Markers take turns, so many that no other burst is taken for this one
when the latency jumps.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Real = NDArray[np.float64]
Signal = NDArray[np.float32]

N_MARKERS = 64
FARTHEST = 2**17
"""A latency does not jump by more samples than this, or half the number of markers in bursts."""

PERIOD = 2**15
BAND = (0.02, 0.4)
"""Of the sample rate: above what couplings block, below what converters' filters do."""

BLOCK = 64
"""A flaw is looked for in blocks of so many samples."""

LEAST_FLAW = 0.05
FLAW_MARGIN = 4.0
"""A block is flawed that differs from what is expected by more than this, and this times the worst one on opening,"""

MOST_FLAW = 0.5
"""but in any case by more than this: silence in place of half a block differs by 0.7."""

WORST_PATH = 0.3
"""A loopback that differs by more from a delayed copy of the marker than this, on opening, is none."""

LEAST_SAMPLES = 4 * BLOCK

MOVED_SAMPLES = 0.1
"""A delay that moves by more is another one."""

SILENT = 0.03
"""Of the marker's expected level, in a loopback that is cut."""


class LoopbackError(Exception):
    """The loopback cannot be used; the message says why."""


class TornError(LoopbackError):
    """What the loopback returns is not what it was sent; on a busy computer samples may have been lost."""


class Verdict(Enum):
    """What the loopback says of a recording."""

    WHOLE = "whole"
    MOVED = "moved"
    TORN = "torn"
    STALE = "stale"
    SILENT = "silent"


@dataclass(frozen=True)
class Heard:
    """What was found in a recording of the loopback: `shift` samples later than expected; 0 unless whole or moved.

    From sample `whole_from` to its end it is as expected; None where it ends otherwise.
    """

    verdict: Verdict
    shift: float = 0.0
    whole_from: int | None = None


@dataclass(frozen=True)
class Path:
    """The way from output to input: `delay` in samples, its standard `uncertainty`, `gain`, and the worst block's
    share that is not the marker.
    """

    delay: float
    uncertainty: float
    gain: float
    flaw: float

    @property
    def frames(self) -> int:
        """The delay in whole frames."""
        return round(self.delay)


def marker(number: int, n_samples: int) -> Signal:
    """Return the marker (n_samples,) of the burst of that number, with a peak of one."""
    return _marker(number % N_MARKERS, n_samples)


@lru_cache(maxsize=2 * N_MARKERS)
def _marker(which: int, n_samples: int) -> Signal:
    rng = np.random.default_rng(np.random.SeedSequence(17, spawn_key=(which,)))
    share = np.fft.rfftfreq(PERIOD)
    spectrum = np.exp(2j * np.pi * rng.random(len(share))) * ((share >= BAND[0]) & (share <= BAND[1]))
    noise = np.fft.irfft(spectrum)
    return np.resize(noise / np.abs(noise).max(), n_samples).astype(np.float32)


def find(heard: Signal, number: int, n_marker: int) -> tuple[float, float]:
    """Return how many samples after the start of `heard` the marker begins, and its gain; the best match in any case.

    The whole samples come from the peak of the cross-correlation, the fraction from the slope of the cross-spectrum's
    phase over frequency.
    """
    n_transform = 1 << (len(heard) + n_marker - 1).bit_length()
    played: NDArray[np.complex128] = np.fft.rfft(marker(number, n_marker).astype(np.float64), n_transform)
    cross = np.fft.rfft(heard.astype(np.float64), n_transform) * played.conj()
    if not np.any(cross):
        return 0.0, 0.0
    correlation = np.fft.irfft(cross)
    peak = int(np.argmax(np.abs(correlation)))
    whole = peak if peak < n_transform - n_marker else peak - n_transform
    rad_per_sample = 2.0 * np.pi * np.fft.rfftfreq(n_transform)
    turned = cross * np.exp(1j * rad_per_sample * whole) * np.sign(correlation[peak])
    slope = np.sum(np.abs(turned) * rad_per_sample * np.angle(turned)) / np.sum(np.abs(turned) * rad_per_sample**2)
    position = whole - float(slope)
    aligned = cross * np.exp(1j * rad_per_sample * position)
    return position, float(aligned.real.sum() / np.sum(np.abs(played) ** 2))


def delayed(number: int, n_samples: int, delay: float) -> Real:
    """Return the marker of a burst of `n_samples` as it is after `delay` samples, a fraction of one."""
    n_transform = 1 << (n_samples + 2 * BLOCK).bit_length()
    spectrum = np.fft.rfft(marker(number, n_samples).astype(np.float64), n_transform)
    turn = np.exp(-2j * np.pi * np.fft.rfftfreq(n_transform) * delay)
    return np.fft.irfft(spectrum * turn)[:n_samples]


def learn(recordings: list[Signal], numbers: list[int], frames: int, level: float) -> Path:
    """Return the path that recordings of whole bursts show, each begun `frames` after its burst.

    `level` is the peak at which the marker was played. Raises `LoopbackError` for what is no plain delay.
    """
    found = [find(heard, number, len(heard)) for heard, number in zip(recordings, numbers, strict=True)]
    shifts, gains = np.array(found).T
    gain = float(gains.mean())
    if abs(gain) < SILENT * level:
        raise TornError("the loopback is silent where its marker should be")
    remainder = float(shifts.mean())
    flaws = [
        _flaw(heard - gain * delayed(number, len(heard), remainder), gain * marker(number, len(heard)))
        for heard, number in zip(recordings, numbers, strict=True)
    ]
    if max(np.abs(heard).max() for heard in recordings) > 0.99:
        raise LoopbackError("the loopback is clipped; lower its level, or the gain of its input")
    if max(flaws) > WORST_PATH or np.ptp(shifts) > MOVED_SAMPLES:
        raise TornError(
            f"what the loopback returns is no delayed copy of what it is sent ({max(flaws):.0%} of it differ, delays "
            f"differ by {np.ptp(shifts):.2g} samples): is it an electrical cable, and are effects and mixing off?"
        )
    uncertainty = float(shifts.std(ddof=1) / np.sqrt(len(shifts)))
    return Path(frames + remainder, uncertainty, gain / level, max(flaws))


class Loopback:
    """Says of recordings of the loopback what became of them, given the `path` and the marker's `level`."""

    def __init__(self, path: Path, level: float) -> None:
        self.path = path
        self._level = level
        self._gain = path.gain * level
        self._tolerance = min(max(LEAST_FLAW, FLAW_MARGIN * path.flaw), MOST_FLAW)
        self._expected: dict[tuple[int, int], tuple[Real, Real]] = {}

    @property
    def remainder(self) -> float:
        """By what part of a sample recordings are later than their bursts."""
        return self.path.delay - self.path.frames

    def moved(self, shift: float) -> "Loopback":
        """Return the loopback whose delay is `shift` samples longer."""
        return Loopback(replace(self.path, delay=self.path.delay + shift), self._level)

    def examine(self, heard: Signal, number: int) -> Heard:
        """Examine what was recorded (n,) from `path.frames` after the beginning of the burst of that number.

        A burst has at least `LEAST_SAMPLES`.
        """
        expected, slope = self._expect(number % N_MARKERS, len(heard))
        rest = heard - expected
        shift = -float(rest @ slope / (slope @ slope))
        is_there = abs(shift) <= MOVED_SAMPLES
        flawed = np.flatnonzero(_flaws(rest + shift * slope, expected) > self._tolerance)
        if is_there and not flawed.size:
            return Heard(Verdict.WHOLE, shift, 0)
        if np.sqrt(np.mean(heard**2)) < SILENT * np.sqrt(np.mean(expected**2)):
            return Heard(Verdict.SILENT)
        if any(self._fits(heard, other)[0] for other in _others(number, len(heard))):
            return Heard(Verdict.STALE)
        fits, shift = self._fits(heard, number)
        if fits and abs(shift) > MOVED_SAMPLES:
            return Heard(Verdict.MOVED, shift)
        whole_from = (int(flawed[-1]) + 1) * BLOCK if is_there else len(heard)
        return Heard(Verdict.TORN, whole_from=whole_from if whole_from < len(heard) else None)

    def _fits(self, heard: Signal, number: int) -> tuple[bool, float]:
        """Return whether the marker is there at one delay, whatever that is, and how much later than expected."""
        n = len(heard)
        position, _ = find(heard, number, n)
        whole = round(position)
        kept = n - abs(whole)
        if kept < LEAST_SAMPLES:
            return False, 0.0
        moved = self._gain * delayed(number, n, position - whole)
        part = heard[max(whole, 0) :][:kept]
        source = moved[max(-whole, 0) :][:kept]
        shift = position - self.remainder
        return _flaw(part - source, source) <= 2 * self._tolerance, shift

    def _expect(self, number: int, n_samples: int) -> tuple[Real, Real]:
        """Return what is to be heard, and by how much it falls per sample of delay."""
        if (number, n_samples) not in self._expected:
            step = 1e-3
            expected, later, earlier = (
                self._gain * delayed(number, n_samples, self.remainder + each) for each in (0.0, step, -step)
            )
            self._expected[number, n_samples] = (expected, (earlier - later) / (2 * step))
        return self._expected[number, n_samples]


def _others(number: int, n_samples: int) -> Iterator[int]:
    """Yield the numbers of bursts that may be heard in place of one of `n_samples`, the nearest first."""
    for distance in range(1, min(N_MARKERS // 2, FARTHEST // n_samples + 1) + 1):
        yield number + distance
        yield number - distance


def _flaw(rest: Real, expected: NDArray[np.floating]) -> float:
    """Return the largest of `_flaws`."""
    return float(_flaws(rest, expected).max())


def _flaws(rest: Real, expected: NDArray[np.floating]) -> Real:
    """Return the rms of every block of `rest`, relative to that of everything expected; the last block is the end's."""
    n_whole = len(rest) // BLOCK * BLOCK
    blocks = np.concatenate([rest[:n_whole], rest[len(rest) - BLOCK :]]).reshape(-1, BLOCK)
    return np.sqrt((blocks**2).mean(axis=1) / np.mean(expected.astype(np.float64) ** 2))
