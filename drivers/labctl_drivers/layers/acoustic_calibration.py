"""What an acoustic layer measures of itself: how speakers are heard, what is dead, and what a burst leaves."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labctl.contract.audio import AudioInterface, Burst
from labctl.contract.capabilities import Calibration, Finding, Measured
from labctl.contract.errors import InstrumentError
from labctl_drivers.layers.multitone import Complex, Multitone

REPEATS = 4
TRIES = 3
"""How often a measurement is made again of which samples were lost."""

CARRY_OVER_DB = -50.0
"""What is left of a burst in the next one's window is flagged above this."""

SILENT = 3
"""Silent bursts after a loud one: the first holds what is left of it, the others the noise."""

NOISE = 2.0
"""What is left is told from noise above so many times the noise."""

DEAD = 5.0
"""A microphone that hears every loudspeaker with less than this times its uncertainty hears none."""

NODE_DB = -25.0
"""A tone that a microphone hears so much below its median tone is on a node."""


@dataclass(frozen=True)
class Bench:
    """What is calibrated: `full_drive` (n_speakers, 1) is the amplitude of a tone at drive 1, in full scale."""

    interface: AudioInterface
    multitone: Multitone
    full_drive: NDArray[np.float32]

    @property
    def n_speakers(self) -> int:
        """Number of loudspeakers."""
        return len(self.full_drive)

    @property
    def n_tones(self) -> int:
        """Number of tones."""
        return len(self.multitone.tones_hz)


def calibrate(bench: Bench) -> Calibration:
    """Play every loudspeaker alone, all together, and none; return what that says.

    `transfer.re` and `transfer.im` (n_microphones, n_speakers, n_tones) are full scale heard per full scale played,
    `gain` (n_microphones,) their rms, `carry_over` what is left of all at full drive in a burst that plays nothing.
    Raises `InstrumentError` when samples were lost again and again.
    """
    n_speakers = bench.n_speakers
    masks = [np.eye(n_speakers, dtype=np.float32)[:, [speaker]] for speaker in range(n_speakers)] * REPEATS
    heard = _measured(bench, [*masks, *_loud_then_silent(bench)])
    alone = heard[: len(masks)].reshape(REPEATS, n_speakers, -1, bench.n_tones) / bench.full_drive[:, :, None]
    transfer = alone.mean(axis=0).transpose(1, 0, 2)
    uncertainty = (np.abs(alone - alone.mean(axis=0)) ** 2).sum(axis=0) / (REPEATS - 1) / REPEATS
    uncertainty = np.sqrt(uncertainty).transpose(1, 0, 2)
    gain = np.sqrt(np.mean(np.abs(transfer) ** 2, axis=(1, 2)))
    gain_uncertainty = np.sqrt(np.mean(uncertainty**2, axis=(1, 2)))
    left = _left_over(heard[len(masks) :])
    return Calibration(
        {
            "transfer.re": Measured(transfer.real, uncertainty, "1"),
            "transfer.im": Measured(transfer.imag, uncertainty, "1"),
            "gain": Measured(gain, gain_uncertainty, "1"),
            "carry_over": left,
        },
        (_carry_over(left), *_dead(bench, transfer, uncertainty), *_nodes(bench, transfer, uncertainty)),
    )


def look_for_carry_over(bench: Bench) -> Finding:
    """Play all loudspeakers once, then nothing; say how much of that was left in the burst after it.

    Raises `InstrumentError` when samples were lost again and again.
    """
    return _carry_over(_left_over(_measured(bench, _loud_then_silent(bench))))


def _loud_then_silent(bench: Bench) -> list[NDArray[np.float32]]:
    everyone = np.ones((bench.n_speakers, 1), dtype=np.float32)
    return [everyone, *([np.zeros_like(everyone)] * SILENT)]


def _left_over(heard: Complex) -> Measured:
    """Return what was left of a loud burst in the silent one after it, as a share; later ones are the noise.

    `heard` is (1 + SILENT, n_microphones, n_tones).
    """
    loud, after, *quiet = np.sqrt(np.mean(np.abs(heard) ** 2, axis=(1, 2))).tolist()
    return Measured(np.array(after / loud if loud else 0.0), np.array(np.mean(quiet) / loud if loud else 1.0), "1")


def _measured(bench: Bench, masks: list[NDArray[np.float32]]) -> Complex:
    """Return phasors (n_bursts, n_microphones, n_tones) of bursts with tones at full drive where a mask has a one."""

    def bursts() -> Iterator[Burst]:
        for number, mask in enumerate(masks):
            amplitudes = np.repeat(mask * bench.full_drive, bench.n_tones, axis=1)
            # Ids of rows begin at 0.
            yield Burst(-1 - number, bench.multitone.synthesise(amplitudes))

    for _ in range(TRIES):
        recordings = list(bench.interface.exchange(bursts()))
        if not any(recording.xrun or recording.stale for recording in recordings):
            return np.stack([bench.multitone.analyse(each.samples, late=each.late) for each in recordings])
    raise InstrumentError(bench.interface.name, f"samples were lost in {TRIES} tries", command="calibrate")


def _carry_over(left: Measured) -> Finding:
    level_db, noise_db = (20.0 * np.log10(max(float(share), 1e-15)) for share in (left.value, left.uncertainty))
    if level_db <= CARRY_OVER_DB:
        return Finding("carry-over", f"{level_db:.1f} dB of a burst is left in the next")
    if left.value <= NOISE * left.uncertainty:
        text = f"less than {level_db:.1f} dB of a burst is left in the next: the noise is at {noise_db:.1f} dB"
        return Finding("carry-over", text, "play louder, or lengthen the window, to see what is left below the noise")
    remedy = f"lengthen gap or settle until it is below {CARRY_OVER_DB:g} dB"
    return Finding("carry-over", f"{level_db:.1f} dB of a burst is left in the next", remedy)


def _dead(bench: Bench, transfer: Complex, uncertainty: NDArray[np.float64]) -> Iterator[Finding]:
    """Find microphones that hear no loudspeaker, and loudspeakers that no microphone hears."""
    audible: NDArray[np.bool_] = np.abs(transfer) > DEAD * uncertainty + 1e-9
    hearing = [bool(each.any()) for each in audible]
    heard = [bool(each.any()) for each in audible.transpose(1, 0, 2)]
    if not any(hearing):
        yield Finding("sound", "no microphone hears any loudspeaker", "are the amplifiers on?")
        return
    for name, hears in zip(bench.interface.inputs, hearing, strict=True):
        if not hears:
            yield Finding(name, "is dead: it hears no loudspeaker", "look after its cable, its gain and its power")
    for speaker, is_heard in zip(bench.interface.outputs, heard, strict=True):
        if not is_heard:
            yield Finding(speaker.name, "is dead: no microphone hears it", "look after its cable and its amplifier")


def _nodes(bench: Bench, transfer: Complex, uncertainty: NDArray[np.float64]) -> Iterator[Finding]:
    """Find tones that a microphone can hardly hear from any loudspeaker, because it is where they cancel."""
    strength: list[list[float]] = np.sqrt(np.mean(np.abs(transfer) ** 2, axis=1)).tolist()
    noise: list[list[float]] = np.sqrt(np.mean(uncertainty**2, axis=1)).tolist()
    tones_hz: list[float] = bench.multitone.tones_hz.tolist()
    for name, tones, unsure in zip(bench.interface.inputs, strength, noise, strict=True):
        median = float(np.median(tones))
        for tone_hz, level, by in zip(tones_hz, tones, unsure, strict=True):
            if 0.0 < level < median * 10.0 ** (NODE_DB / 20.0) and median > DEAD * by:
                below_db = 20.0 * np.log10(level / median)
                yield Finding(
                    f"{name} {tone_hz:g} Hz",
                    f"is on a node: {below_db:.1f} dB beside the microphone's median tone",
                    "move the microphone, or choose another tone",
                )
