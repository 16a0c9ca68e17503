"""What an audio interface measures of itself: latency, noise, and how loudly each speaker is heard where."""

import numpy as np
from numpy.typing import NDArray

from labctl.contract.audio import Burst, SpeakerOutput
from labctl.contract.capabilities import Calibration, Finding, Measured
from labctl_drivers.audio.impulse_response import impulse_response, sweep
from labctl_drivers.audio.loopback import Path
from labctl_drivers.audio.settings import InputSettings, PortAudioSettings

SWEEP_S = 0.5
DECAY_S = 0.5
LEVEL = 0.25
"""Of a speaker's maximum: 12 dB below it."""

REPEATS = 3
BAND = (100.0, 0.45)
"""From so many hertz up to this part of the sample rate."""

DEAD = 3.0
"""A microphone whose response is below this times the noise in it hears nothing."""

THRESHOLD_OF_HEARING_PA = 20e-6


def sweeps(outputs: tuple[SpeakerOutput, ...], samplerate_hz: float) -> list[Burst]:
    """Return a silent burst, then a sweep on each speaker alone, `REPEATS` times."""
    n_sweep, n_samples = round(SWEEP_S * samplerate_hz), round((SWEEP_S + DECAY_S) * samplerate_hz)
    played = [Burst(-1, np.zeros((n_samples, len(outputs)), dtype=np.float32))]
    for number in range(REPEATS * len(outputs)):
        samples = np.zeros((n_samples, len(outputs)), dtype=np.float32)
        speaker = number % len(outputs)
        samples[:n_sweep, speaker] = LEVEL * outputs[speaker].max_level * _sweep(samplerate_hz)
        played.append(Burst(-2 - number, samples))
    return played


def evaluate(
    settings: PortAudioSettings,
    outputs: tuple[SpeakerOutput, ...],
    path: Path | None,
    heard: NDArray[np.float32],
) -> Calibration:
    """Return what recordings (n_bursts, n_samples, n_microphones) of `sweeps` say.

    `gain` (n_speakers, n_microphones) is the energy of the impulse response, as its root, full scale heard per full
    scale played; `noise` (n_microphones,) the rms of silence in full scale; `delay` that of the loopback in samples.
    """
    silence, *answers = heard.astype(np.float64)
    noise = silence.std(axis=0)
    gains = np.stack([_gain(each, settings.samplerate_hz) for each in answers])
    maxima = np.array([LEVEL * speaker.max_level for speaker in outputs])
    gains = gains.reshape(REPEATS, len(outputs), -1) / maxima[:, None]
    floor = _gain(silence, settings.samplerate_hz) / maxima[:, None]
    gain = np.sqrt(np.maximum((gains**2).mean(axis=0) - floor**2, 0.0))
    spread = gains.std(axis=0, ddof=1) / np.sqrt(REPEATS)
    uncertainty = np.maximum(spread, floor / np.sqrt(2.0 * REPEATS))
    quantities = {"gain": Measured(gain, uncertainty, "1"), "noise": Measured(noise, noise / 10.0, "FS")}
    findings: list[Finding] = []
    if path is not None:
        quantities["delay"] = Measured(np.array(path.delay), np.array(max(path.uncertainty, 1e-6)), "samples")
        findings.append(
            Finding("latency", f"{path.delay:.3f} samples, {path.delay / settings.samplerate_hz * 1e3:.3f} ms")
        )
        findings.append(Finding("loopback", f"gain {20.0 * np.log10(abs(path.gain)):.2f} dB"))
    hears = gain > DEAD * floor
    for number, each in enumerate(settings.inputs.values()):
        findings.append(
            _of_microphone(each, settings, float(noise[number]), gain[:, number] * 4.0 * maxima, hears[:, number])
        )
    findings += [
        Finding(speaker.name, "is dead: no microphone hears it", "look after its cable and its amplifier")
        for speaker, is_heard in zip(outputs, hears.any(axis=1).tolist(), strict=True)
        if not is_heard and hears.any()
    ]
    return Calibration(quantities, tuple(findings))


def spl_db(rms: float, microphone: InputSettings, full_scale_v: float) -> float | None:
    """Return the sound pressure level re 20 µPa of an rms in full scale, None without a sensitivity."""
    if microphone.sensitivity_v_per_pa is None:
        return None
    pascal = rms * full_scale_v / (10.0 ** (microphone.gain_db / 20.0) * microphone.sensitivity_v_per_pa)
    return 20.0 * float(np.log10(max(pascal, 1e-12) / THRESHOLD_OF_HEARING_PA))


def _sweep(samplerate_hz: float) -> NDArray[np.float64]:
    return sweep(samplerate_hz, BAND[0], BAND[1] * samplerate_hz, round(SWEEP_S * samplerate_hz))


def _gain(heard: NDArray[np.float64], samplerate_hz: float) -> NDArray[np.float64]:
    """Return the root of the energy of every microphone's impulse response (n_microphones,) per sweep of peak one."""
    played = _sweep(samplerate_hz)
    return np.array([np.sqrt(np.sum(impulse_response(channel, played) ** 2)) for channel in heard.T])


def _of_microphone(
    microphone: InputSettings,
    settings: PortAudioSettings,
    noise: float,
    loudest: NDArray[np.float64],
    hears: NDArray[np.bool_],
) -> Finding:
    """Say what a microphone hears: its noise, and noise of full level from the speaker it hears best."""
    if not hears.any():
        return Finding(microphone.name, "is dead: it hears no speaker", "look after its cable, its gain and its power")
    silent = spl_db(noise, microphone, settings.full_scale_v)
    loud = spl_db(float(loudest.max()) / np.sqrt(2.0), microphone, settings.full_scale_v)
    quiet_text = f"noise {20.0 * np.log10(max(noise, 1e-12)):.1f} dBFS"
    if silent is None or loud is None:
        return Finding(microphone.name, f"{quiet_text}; with its sensitivity, levels are told in dB SPL")
    return Finding(microphone.name, f"{quiet_text} or {silent:.1f} dB SPL; up to {loud:.1f} dB SPL from one speaker")
