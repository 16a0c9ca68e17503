"""A virtual NanoVNA-H: a shell with echo and prompt, whose long answers come in parts."""

import time
from collections.abc import Callable, Iterator

from labctl_simulators.instruments.vna.engine import Engine
from labctl_simulators.physics.enclosure import Complex

PROMPT = b"ch> "
END = b"\r\n"
PAUSE_EVERY_LINES = 32

CALIBRATED = "load open short thru isoln Es Er Et cal'ed "


class VirtualNanoVnaShell:
    """`execute` takes bytes as they come and returns what goes back; `chunks` the same in parts, with pauses between.

    `version` is what the firmware calls itself; `bandwidth_numbers` says that it counts bandwidths instead of stating
    them in hertz. S11 and S21 have six decimals.
    """

    def __init__(
        self, engine: Engine, *, version: str = "1.2.40", pause_s: float = 0.0, bandwidth_numbers: bool = False
    ) -> None:
        engine.rf_on = True
        self.engine = engine
        self.version = version
        self._pause_s = pause_s
        self._counts_bandwidths = bandwidth_numbers
        self._typed = b""
        self._commands: dict[str, Callable[[list[str]], list[str]]] = {
            "version": lambda _: [self.version],
            "info": lambda _: ["Board: VIRTUAL NanoVNA-H", "2019-2026"],
            "help": lambda _: ["Commands: " + " ".join(self._commands)],
            "bandwidth": self._bandwidth,
            "cal": lambda _: [CALIBRATED if engine.corrected else ""],
            "pause": lambda _: [],
            "resume": lambda _: [],
            "scan": self._scan,
        }

    def execute(self, received: bytes) -> bytes:
        """Take bytes and return the echo, the answer and the prompt of every line that they complete."""
        return b"".join(self.chunks(received))

    def chunks(self, received: bytes) -> Iterator[bytes]:
        """Yield what `execute` returns in parts, pausing between them."""
        self._typed += received
        while b"\r" in self._typed:
            line, _, self._typed = self._typed.partition(b"\r")
            yield line + END
            lines = self._answer(line.decode("latin-1").strip())
            for first in range(0, len(lines), PAUSE_EVERY_LINES):
                part = lines[first : first + PAUSE_EVERY_LINES]
                yield b"".join(text.encode("ascii") + END for text in part)
                time.sleep(self._pause_s)
            yield PROMPT

    def _answer(self, line: str) -> list[str]:
        name, *arguments = line.split() or [""]
        if not name:
            return []
        if name not in self._commands:
            return [f"{name}?"]
        return self._commands[name](arguments)

    def _bandwidth(self, arguments: list[str]) -> list[str]:
        if arguments:
            value = int(arguments[0])
            self.engine.if_bandwidth_hz = 4000 // (value + 1) if self._counts_bandwidths else value
            return []
        hertz = round(self.engine.if_bandwidth_hz)
        return [f"bandwidth {4000 // hertz - 1} ({hertz}Hz)" if self._counts_bandwidths else f"bandwidth {hertz}Hz"]

    def _scan(self, arguments: list[str]) -> list[str]:
        start_hz, stop_hz, points, mask = (int(argument) for argument in arguments)
        lowest_hz, highest_hz = self.engine.hardware.frequency_hz
        if not lowest_hz <= start_hz <= stop_hz <= highest_hz:
            return ["frequency range is invalid"]
        if points > self.engine.hardware.most_points:
            return ["sweep points exceeds range"]
        axis_hz = [start_hz + (stop_hz - start_hz) * point // max(points - 1, 1) for point in range(points)]
        self.engine.segments = [(hz, hz, 1) for hz in axis_hz]
        self.engine.sweeps_segments = True
        self.engine.begin()
        self.engine.wait(0.0)
        matrices = self.engine.latest()
        return [_line(hz, matrices[point], mask) for point, hz in enumerate(axis_hz)]


def _line(frequency_hz: int, matrix: Complex, mask: int) -> str:
    """Return what one point shows: frequency, S11 and S21 by the bits of `mask`."""
    shown = [str(frequency_hz)] if mask & 1 else []
    shown += [f"{matrix[0, 0].real:f} {matrix[0, 0].imag:f}"] if mask & 2 else []
    shown += [f"{matrix[1, 0].real:f} {matrix[1, 0].imag:f}"] if mask & 4 else []
    return " ".join(shown)
