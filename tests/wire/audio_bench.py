"""A small box behind a virtual audio interface, and the same box in process."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from labctl_drivers.audio.portaudio import DRIVER, PortAudioInterface
from labctl_drivers.layers import acoustic
from labctl_drivers.switch import serial_line
from labctl_drivers.switch.serial_line import SerialSwitch
from labctl_simulators.instruments.audio.bench import AudioBench
from labctl_simulators.loopback import audio
from labctl_simulators.loopback.audio import SimulatedInterface

from labctl.contract.audio import Burst, Recording, Samples
from labctl.contract.clock import SimulatedClock
from labctl.contract.driver import BuildContext
from labctl.contract.layer import PhysicalLayer

SPEAKERS = ("north", "east", "south")
MICROPHONES = ("mic-a", "mic-b")
SAMPLERATE_HZ = 16_000

BOX: dict[str, Any] = {
    "samplerate": "16 kHz",
    "speakers": {name: {"max_level": "-12 dBFS"} for name in SPEAKERS},
    "microphones": list(MICROPHONES),
    "box": {"length": "0.8 m", "width": "0.6 m", "height": "0.5 m", "absorption": 0.6, "temperature": "20 °C"},
    "noise": "-200 dBFS",
    "drift": 0.0,
    "seed": 3,
}
INTERFACE: dict[str, Any] = {
    "host_api": "JACK Audio Connection Kit",
    "device": "filled in by the bench",
    "output_channels": 5,
    "input_channels": 4,
    "samplerate": "16 kHz",
    # Channels are neither adjacent nor in order, so that nothing fits by chance.
    "outputs": {4: {"name": "north", "max_level": "-12 dBFS"}, 1: {"name": "east", "max_level": "-12 dBFS"},
                2: {"name": "south", "max_level": "-12 dBFS"}},
    "inputs": {3: {"name": "mic-a", "sensitivity": "12.5 mV/Pa"}, 1: {"name": "mic-b"}},
    "loopback": {"output": 5, "input": 4},
    "stall": "1 s",
}  # fmt: skip
AMPLIFIER: dict[str, Any] = {
    "address": "ASRL/dev/none::INSTR",
    "on": "PWR ON",
    "off": "PWR OFF",
    "reply": "OK",
    "query": "PWR?",
    "reply_on": "1",
    "reply_off": "0",
    "simulated": True,
}
LAYER: dict[str, Any] = {
    "interface": "interface",
    "tones": ["200 Hz", "450 Hz", "700 Hz", "950 Hz"],
    "settle": "10 ms",
    "window": "20 ms",
    "gap": "5 ms",
    "polarity": "signed",
    "readout": "complex",
}
BURST_SAMPLES = 560
SILENT_SAMPLES = 80


def context(name: str) -> BuildContext:
    return BuildContext(name, Path(), SimulatedClock(float("inf")))


def box(**changes: Any) -> SimulatedInterface:
    interface = audio.DRIVER.build(audio.DRIVER.settings.model_validate(BOX | changes), context("interface"))
    assert isinstance(interface, SimulatedInterface)
    return interface


def layer_on(interface: Any, amplifier: Any = None, **changes: Any) -> PhysicalLayer:
    named = {} if amplifier is None else {"amplifier": "amplifier"}
    settings = acoustic.DRIVER.settings.model_validate(LAYER | named | changes)
    return acoustic.DRIVER.build(settings, {"interface": interface, "amplifier": amplifier}, context("cavity"))


@dataclass
class Wired:
    """A bench at work; `settings` lead to its interface, `amplifier_settings` to its amplifier if it has one."""

    bench: AudioBench
    settings: dict[str, Any]
    amplifier_settings: dict[str, Any]

    def interface(self, **changes: Any) -> PortAudioInterface:
        interface = DRIVER.build(DRIVER.settings.model_validate(self.settings | changes), context("interface"))
        assert isinstance(interface, PortAudioInterface)
        return interface

    def amplifier(self) -> SerialSwitch:
        settings = serial_line.DRIVER.settings.model_validate(self.amplifier_settings)
        amplifier = serial_line.DRIVER.build(settings, context("amplifier"))
        assert isinstance(amplifier, SerialSwitch)
        return amplifier


@contextmanager
def wired(patience_s: float = 2.0, *, amplifier: bool = False, **physics: Any) -> Iterator[Wired]:
    bench = AudioBench(box(**physics), patience_s)
    instruments = {"interface": {"driver": "audio.portaudio", **INTERFACE}}
    if amplifier:
        instruments["amplifier"] = {"driver": "amplifier.serial", **AMPLIFIER}
    try:
        served = bench.start(instruments, {})
        yield Wired(bench, {**INTERFACE, **served["interface"]}, {**AMPLIFIER, **served.get("amplifier", {})})
    finally:
        bench.stop()


def bursts(
    n: int, seed: int = 0, level: float = 0.2, n_samples: int = BURST_SAMPLES, n_silent: int = SILENT_SAMPLES
) -> list[Burst]:
    """Return bursts of noise that fall silent `n_silent` samples before their ends."""
    samples = np.random.default_rng(seed).uniform(-level, level, (n, n_samples, len(SPEAKERS))).astype(np.float32)
    samples[:, n_samples - n_silent :] = 0.0
    return [Burst(number, each) for number, each in enumerate(samples)]


def expected(played: list[Burst], **changes: Any) -> list[Samples]:
    """Return what the box answers to bursts back to back."""
    interface = box(**changes)
    interface.open()
    return [recording.samples for recording in interface.exchange(played)]


def wrong(recordings: list[Recording], played: list[Burst], tolerance: float = 1e-5) -> list[int]:
    """Return the ids of recordings that pass for good and are not what the box answers.

    A burst follows the one before at the next sample, or behind silence: where the loopback was looked for again, or
    whoever makes the bursts was late. Then as much less rings on in it.
    """
    answers = expected(played)
    tolerance *= float(max(np.abs(answer).max() for answer in answers))
    return [
        recording.id
        for recording, answer, burst in zip(recordings, answers, played, strict=False)
        if not (recording.xrun or recording.stale)
        and np.abs(recording.samples - answer).max() > tolerance
        and not _is_behind_silence(recording, answer, burst, tolerance)
    ]


def _is_behind_silence(recording: Recording, answer: Samples, burst: Burst, tolerance: float) -> bool:
    """Tell whether some silence before a burst makes what was recorded of what the box answers without it."""
    (alone,) = expected([burst])
    rings, left = answer - alone, recording.samples - alone
    return any(
        np.abs(left[: len(left) - silence] - rings[silence:]).max(initial=0.0) <= tolerance
        and np.abs(left[len(left) - silence :]).max(initial=0.0) <= tolerance
        for silence in range(len(left) + 1)
    )
