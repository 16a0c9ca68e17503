"""Bursts of many tones, and the amplitudes of those tones in what a microphone heard.

A burst is [settle | window x averages | gap]. Every tone has whole periods in the window, so a plain correlation over
the window separates the tones exactly (their leakage into one another is zero), without any window function.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from labctl.contract.audio import Samples
from labctl.contract.errors import SettingError

Phases = Literal["schroeder", "zero"]
Complex = NDArray[np.complex128]

FADE_S = 0.005
"""Length of the raised-cosine fades at the start of the settling time and at the start of the gap."""

LONGEST_BURST_S = 120.0
"""Beyond it a unit was mistyped: every burst is computed whole."""


@dataclass(frozen=True)
class BurstTiming:
    """Parts of a burst in samples; the window is repeated `averages` times."""

    samplerate_hz: float
    settle: int
    window: int
    gap: int
    averages: int

    @property
    def n_samples(self) -> int:
        """Length of a burst."""
        return self.settle + self.window * self.averages + self.gap

    @property
    def duration_s(self) -> float:
        """Length of a burst in seconds."""
        return self.n_samples / self.samplerate_hz

    @property
    def analysed(self) -> slice:
        """Samples that are analysed."""
        return slice(self.settle, self.settle + self.window * self.averages)


def whole_samples(name: str, seconds: float, samplerate_hz: float) -> int:
    """Return `seconds` in samples. Raises `SettingError` unless that is a whole number."""
    samples = seconds * samplerate_hz
    if abs(samples - round(samples)) > 1e-6:
        raise SettingError(
            (name,),
            f"{name} of {seconds * 1e3:g} ms is {samples:g} samples at {samplerate_hz:g} Hz; make it whole, as "
            f"{round(samples) / samplerate_hz * 1e3:g} ms would be",
        )
    return round(samples)


def burst_timing(samplerate_hz: float, *, settle_s: float, window_s: float, gap_s: float, averages: int) -> BurstTiming:
    """Return the timing in samples.

    Raises `SettingError` for parts that are no whole samples or too short to fade in, and for a burst that is too long.
    """
    parts_s = {"settle": settle_s, "window": averages * window_s, "gap": gap_s}
    duration_s = sum(parts_s.values())
    if duration_s > LONGEST_BURST_S:
        raise SettingError(
            (max(parts_s, key=lambda part: parts_s[part]),),
            f"settle, {averages} x window and gap make a burst of {duration_s:g} s; it may last {LONGEST_BURST_S:g} s",
        )
    for name in ("settle", "gap"):
        if parts_s[name] < FADE_S:
            raise SettingError(
                (name,),
                f"{name} of {parts_s[name] * 1e3:g} ms is too short: the fade takes {FADE_S * 1e3:g} ms of it",
            )
    return BurstTiming(
        samplerate_hz,
        whole_samples("settle", settle_s, samplerate_hz),
        whole_samples("window", window_s, samplerate_hz),
        whole_samples("gap", gap_s, samplerate_hz),
        averages,
    )


def check_tones(tones_hz: tuple[float, ...], timing: BurstTiming) -> None:
    """Raise `SettingError` unless tones are distinct, below Nyquist, and whole periods of the window."""
    for place, tone_hz in enumerate(tones_hz):
        complaint = _complaint(tone_hz, timing)
        if complaint is None and tone_hz in tones_hz[:place]:
            complaint = "is listed twice; name every tone once"
        if complaint is not None:
            raise SettingError(("tones", place), f"tone {tone_hz:g} Hz {complaint}")


def _complaint(tone_hz: float, timing: BurstTiming) -> str | None:
    """Say what is wrong with a tone, if anything is."""
    highest_hz = timing.samplerate_hz / 2
    if not 0.0 < tone_hz < highest_hz:
        return f"is not between 0 and {highest_hz:g} Hz (Nyquist); lower the tone or raise the interface's samplerate"
    resolution_hz = timing.samplerate_hz / timing.window
    periods = tone_hz / resolution_hz
    if abs(periods - round(periods)) <= 1e-6:
        return None
    whole = [n * resolution_hz for n in (np.floor(periods), np.ceil(periods)) if 0 < n * resolution_hz < highest_hz]
    return (
        f"has {periods:g} periods in the window of {1e3 / resolution_hz:g} ms; whole periods have "
        f"{' and '.join(f'{each_hz:g} Hz' for each_hz in whole) or 'only longer windows'}"
    )


@dataclass(frozen=True)
class Multitone:
    """Precomputed carriers (n_tones, n_samples) and references (window, 2 x n_tones: cosines, then minus sines)."""

    timing: BurstTiming
    tones_hz: NDArray[np.float64]
    carriers: NDArray[np.float32]
    references: NDArray[np.float64]

    def synthesise(self, amplitudes: NDArray[np.float32]) -> Samples:
        """Return a burst (n_samples, n_speakers) of tone amplitudes (n_speakers, n_tones), both in full scale."""
        return (amplitudes @ self.carriers).T

    def analyse(self, recording: Samples, *, late: float = 0.0) -> Complex:
        """Return the phasors (n_microphones, n_tones) in full scale; phase zero is the tone as it was played.

        The recording is `late` samples behind, a fraction of one.
        """
        n_tones = len(self.carriers)
        windows = recording[self.timing.analysed].reshape(self.timing.averages, self.timing.window, -1)
        mean = windows.mean(axis=0, dtype=np.float64)
        # A product rounds by the layout of its factors; what was recorded may come back in another one.
        quadratures = np.ascontiguousarray(mean.T) @ self.references
        phasors = quadratures[:, :n_tones] + 1j * quadratures[:, n_tones:]
        return phasors * np.exp(2j * np.pi * self.tones_hz * late / self.timing.samplerate_hz) if late else phasors


def multitone(tones_hz: tuple[float, ...], timing: BurstTiming, phases: Phases) -> Multitone:
    """Return the burst design. Raises `SettingError` as `check_tones` does.

    Schroeder's phases -π k (k - 1) / K keep the peak of K equal tones low (M. R. Schroeder, IEEE Trans. Inf. Theory
    16, 85, 1970).
    """
    check_tones(tones_hz, timing)
    n_tones = len(tones_hz)
    order = np.arange(1, n_tones + 1)
    start_rad = -np.pi * order * (order - 1) / n_tones if phases == "schroeder" else np.zeros(n_tones)
    # Phase zero of the time axis is the start of the first window.
    time_s = (np.arange(timing.n_samples) - timing.settle) / timing.samplerate_hz
    angle_rad = 2.0 * np.pi * np.array(tones_hz)[:, None] * time_s + start_rad[:, None]
    first_window = angle_rad[:, timing.settle : timing.settle + timing.window].T
    references = np.hstack([np.cos(first_window), -np.sin(first_window)]) * (2.0 / timing.window)
    return Multitone(timing, np.array(tones_hz), (np.cos(angle_rad) * _envelope(timing)).astype(np.float32), references)


def _envelope(timing: BurstTiming) -> NDArray[np.float64]:
    n_fade = round(FADE_S * timing.samplerate_hz)
    rise = 0.5 - 0.5 * np.cos(np.pi * np.arange(n_fade) / n_fade)
    envelope = np.ones(timing.n_samples)
    envelope[:n_fade] = rise
    envelope[timing.n_samples - timing.gap :] = 0.0
    envelope[timing.n_samples - timing.gap :][:n_fade] = 1.0 - rise
    return envelope
