"""The simulated box as a client of a JACK server: what is played to its inputs is heard at its outputs.

A process of its own, since JACK's callback must never be late. It talks over its standard input and output, by JSON
lines: what it is made of, then what is to go wrong, which it answers with how long the speakers have been silent. When
its input ends, so does the server, which would otherwise outlive a bench that is killed, and then itself.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labctl.contract.children import outlive_signals
from labctl.contract.clock import WallClock
from labctl_simulators.instruments.audio import jack_client
from labctl_simulators.loopback.audio import SimulatedInterface, SimulatedInterfaceSettings

Block = NDArray[np.float32]

LONGEST_DELAY_S = 1.0
HOWL_HZ = 1000.0


@dataclass(frozen=True)
class Wiring:
    """Which channels, counted from 0, lead to the speakers, come from the microphones, and are wired to each other."""

    speakers: list[int]
    microphones: list[int]
    loopback: list[int] | None
    n_inputs: int
    n_outputs: int


@dataclass
class Faults:
    """What is wrong at the moment, and whether the loudspeakers have power.

    `torn` and `repeated` befall so many of the blocks that come; `sustained` so many of those with which loudspeakers
    fall silent: the block before is played once more, as by an interface whose computer is late.
    """

    delay: int = 0
    torn: int = 0
    repeated: int = 0
    sustained: int = 0
    silent: bool = False
    powered: bool = True
    howl: bool = False
    rotated: int = 0
    gains: dict[int, float] = field(default_factory=dict[int, float])
    offset: dict[int, float] = field(default_factory=dict[int, float])


class VirtualInterface:
    """Loudspeakers and microphones of a box, and a cable from an output to an input, with one latency for all."""

    def __init__(self, physics: SimulatedInterface, wiring: Wiring) -> None:
        self._physics = physics
        self._wiring = wiring
        self._responses = physics.responses()
        self._ringing = self._responses.silence()
        self._rng = np.random.default_rng(physics.settings.seed)
        self._frames = 0
        self._before: Block = np.zeros((0, wiring.n_inputs), dtype=np.float32)
        self._line = np.zeros((round(LONGEST_DELAY_S * physics.samplerate_hz), wiring.n_outputs), dtype=np.float32)
        self.faults = Faults()
        self.sounded_s = float("-inf")

    def process(self, played: Block) -> Block:
        """Return what the inputs of the interface hear (n, n_outputs) of a block (n, n_inputs) that it plays."""
        played = self._sustained(played)
        driven = played[:, self._wiring.speakers] * np.float32(self.faults.powered)
        if driven.any():
            self.sounded_s = time.monotonic()
        heard = np.zeros((len(played), self._wiring.n_outputs), dtype=np.float32)
        self._ringing, sound = self._responses.stream(self._ringing, self._physics.radiated(driven))
        time_s = self._frames / self._physics.samplerate_hz
        heard[:, self._wiring.microphones] = self._amplified(sound, time_s)
        if self._wiring.loopback is not None:
            source, sink = self._wiring.loopback
            heard[:, sink] = played[:, source]
        return self._broken(self._delayed(heard))

    def _sustained(self, played: Block) -> Block:
        """Return what is played indeed."""
        before, self._before = self._before, played
        ends = before[:, self._wiring.speakers].any() and not played[:, self._wiring.speakers].any()
        if not ends or self.faults.sustained <= 0:
            return played
        self.faults.sustained -= 1
        return before

    def _amplified(self, sound: NDArray[np.float64], time_s: float) -> Block:
        sound = sound.copy()
        for microphone, gain in self.faults.gains.items():
            sound[:, microphone] *= gain
        for microphone, offset in self.faults.offset.items():
            sound[:, microphone] += offset
        if self.faults.howl:
            phase = (self._frames + np.arange(len(sound))) / self._physics.samplerate_hz * HOWL_HZ
            sound[:, 0] += 2.0 * np.sin(2.0 * np.pi * phase)
        return self._physics.digitised(sound, time_s, self._rng)

    def _delayed(self, heard: Block) -> Block:
        """Return what was heard `faults.delay` frames ago."""
        places = (self._frames + np.arange(len(heard))) % len(self._line)
        self._line[places] = heard
        self._frames += len(heard)
        return self._line[places - self.faults.delay]

    def _broken(self, heard: Block) -> Block:
        faults = self.faults
        if faults.silent:
            return np.zeros_like(heard)
        if faults.torn > 0:
            faults.torn -= 1
            heard[len(heard) // 3 :] = 0.0
        if faults.repeated > 0:
            faults.repeated -= 1
            heard = self._line[(self._frames - 2 * len(heard) + np.arange(len(heard))) % len(self._line)]
        return np.roll(heard, faults.rotated, axis=1)


def _commands() -> Iterator[dict[str, Any]]:
    for line in sys.stdin:
        yield json.loads(line)


def _answer(**head: object) -> None:
    sys.stdout.write(json.dumps(head) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Serve until standard input ends."""
    outlive_signals()
    commands = _commands()
    begin = next(commands)
    settings = SimulatedInterfaceSettings.model_validate(begin["physics"])
    interface = VirtualInterface(SimulatedInterface(settings, begin["client"], WallClock()), Wiring(**begin["wiring"]))
    with jack_client.joined(
        begin["server"],
        begin["client"],
        begin["wiring"]["n_inputs"],
        begin["wiring"]["n_outputs"],
        interface.process,
        begin["within_s"],
    ) as error:
        _answer(ready=error is None, text=error or "")
        if error is not None:
            return
        for command in commands:
            for name, value in command.get("faults", {}).items():
                known = getattr(interface.faults, name)
                setattr(
                    interface.faults, name, {int(k): v for k, v in value.items()} if isinstance(known, dict) else value
                )
            _answer(silent_s=min(time.monotonic() - interface.sounded_s, 1e9), sounded_s=max(interface.sounded_s, 0.0))
    with suppress(ProcessLookupError):
        os.kill(begin["server_pid"], signal.SIGTERM)


if __name__ == "__main__":
    main()
