"""Impulse responses by an exponential sweep, which loudspeakers can play loudly and distort without spoiling them.

A. Farina, *Simultaneous measurement of impulse response and distortion with a swept-sine technique*, 108th AES
Convention (2000): harmonics come before the direct sound, where a spectral division puts them at negative times.
"""

import numpy as np
from numpy.typing import NDArray

Real = NDArray[np.float64]

FADE_S = 0.01
REGULARISED = 1e-4
"""Of the sweep's largest spectral power: what lies below is outside of its band."""


def sweep(samplerate_hz: float, low_hz: float, high_hz: float, n_samples: int) -> Real:
    """Return an exponential sweep (n_samples,) with a peak of one, faded at both ends."""
    growth_s = n_samples / samplerate_hz / np.log(high_hz / low_hz)
    time_s = np.arange(n_samples) / samplerate_hz
    signal = np.sin(2.0 * np.pi * low_hz * growth_s * (np.exp(time_s / growth_s) - 1.0))
    n_fade = round(FADE_S * samplerate_hz)
    ramp = 0.5 - 0.5 * np.cos(np.pi * np.arange(n_fade) / n_fade)
    signal[:n_fade] *= ramp
    signal[-n_fade:] *= ramp[::-1]
    return signal


def impulse_response(heard: NDArray[np.floating], played: Real) -> Real:
    """Return the response (n_samples,) within the band of the sweep `played`, which is not longer than `heard`.

    It is in units of `heard` per `played`; the second half of a doubled transform, harmonics, is cut off.
    """
    n_transform = 2 * len(heard)
    source = np.fft.rfft(played, n_transform)
    power = np.abs(source) ** 2
    spectrum = np.fft.rfft(heard, n_transform) * source.conj() / (power + REGULARISED * power.max())
    return np.fft.irfft(spectrum)[: len(heard)]
