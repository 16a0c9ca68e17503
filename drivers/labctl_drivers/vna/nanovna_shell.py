"""NanoVNA V1, -H, -H4, -F: a shell over USB serial, with echo and prompt.

Commands: the firmware (ttrftech/NanoVNA and its descendants) and NanoVNA-Saver. Not tried on an instrument yet: the
forms of `bandwidth`, and that after `pause` it sweeps when `scan` tells it to and at no other time.
"""

import re

import numpy as np

from labctl.contract.errors import InstrumentError
from labctl.contract.microwave import Segment, SParameters, Sweep
from labctl_drivers.transport.link import LinkGarbledError
from labctl_drivers.vna.base import Configured, Real
from labctl_drivers.vna.nanovna import PARAMETERS, NanoVna

PROMPT = b"ch> "

OLDEST_FIRMWARE = (0, 7, 1)
"""The first whose `scan` takes a mask of what it sends."""

FREQUENCIES_ONLY, FREQUENCIES_AND_BOTH_CHANNELS = 1, 7
"""Masks of `scan`."""

SECONDS_PER_POINT = 0.01
"""Settling of the synthesiser: 101 points take about a second at the widest bandwidth."""

BANDWIDTH_BASE_HZ = 4000.0
"""Where `bandwidth` takes a number n, it means this over n + 1."""

BANDWIDTHS_HZ = (10.0, 4000.0)


class NanoVnaShell(NanoVna):
    """A NanoVNA of the first kind. Its own calibration corrects; `scan` blocks until the sweep has ended."""

    _knows_bandwidth = False

    def _identify(self) -> str:
        version = " ".join(self._command("version"))
        match = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", version)
        if match is None:
            raise InstrumentError(self._name, f"answers '{version[:40]}', not as a NanoVNA does", command="version")
        if tuple(int(part or 0) for part in match.groups()) < OLDEST_FIRMWARE:
            oldest = ".".join(map(str, OLDEST_FIRMWARE))
            raise InstrumentError(self._name, f"has firmware {match.group()}, older than {oldest},", command="version")
        self._knows_bandwidth = "bandwidth" in " ".join(self._command("help")).split()
        return f"{version},{' '.join(self._command('info'))}"

    def _if_bandwidths_hz(self) -> tuple[float, float]:
        return BANDWIDTHS_HZ if self._knows_bandwidth else super()._if_bandwidths_hz()

    def _set_up(self, sweep: Sweep) -> Real:
        self._silent("pause")
        if self._knows_bandwidth:
            self._set_bandwidth(sweep.if_bandwidth_hz)
        deadline_s = self._deadline_s(sweep, "")
        axes = [self._scan(segment, FREQUENCIES_ONLY, deadline_s)[:, 0] for segment in sweep.segments]
        return np.concatenate(axes)

    def _set_bandwidth(self, bandwidth_hz: float) -> None:
        """Set the IF bandwidth, which some firmware takes in hertz and some as a number, and read it back."""
        takes_number = _bandwidth(" ".join(self._command("bandwidth")))[0] is not None
        value = round(BANDWIDTH_BASE_HZ / bandwidth_hz) - 1 if takes_number else round(bandwidth_hz)
        self._command(f"bandwidth {value}")
        has_hz = _bandwidth(" ".join(self._command("bandwidth")))[1]
        if has_hz is None or abs(has_hz - bandwidth_hz) > 1.0:
            cause = f"has an IF bandwidth of {has_hz} Hz where {bandwidth_hz:g} Hz was set"
            raise InstrumentError(self._name, cause, command=f"bandwidth {value}")

    def _read_calibration(self) -> str:
        steps = " ".join(self._command("cal")).split()
        return " ".join(steps) if "cal'ed" in steps else ""

    def _how_to_correct(self) -> str:
        return "calibrate it with its own menu and switch `apply` on, or write `correction: allowed`"

    def _stated_sweep_s(self, sweep: Sweep) -> float:
        return sweep.points * (SECONDS_PER_POINT + len(PARAMETERS) / sweep.if_bandwidth_hz)

    def _finish(self, configured: Configured) -> tuple[SParameters, bool]:
        total = np.zeros((len(PARAMETERS), configured.sweep.points), dtype=np.complex128)
        for _ in range(configured.sweep.averages):
            total += np.concatenate([self._scanned(*part, configured) for part in configured.segments()], axis=1)
        rows = [PARAMETERS.index(parameter) for parameter in configured.sweep.parameters]
        return total[rows] / configured.sweep.averages, False

    def _scanned(self, segment: Segment, frequencies_hz: Real, configured: Configured) -> SParameters:
        """Return S11 and S21 (2, n_points) of one scan."""
        with self._explaining(configured, "scan"):
            rows = self._scan(segment, FREQUENCIES_AND_BOTH_CHANNELS, configured.deadline_s)
        if not np.array_equal(rows[:, 0], frequencies_hz):
            raise InstrumentError(self._name, "scans other frequencies than were set", command="scan")
        return np.stack([rows[:, 1] + 1j * rows[:, 2], rows[:, 3] + 1j * rows[:, 4]])

    def _scan(self, segment: Segment, mask: int, timeout_s: float) -> Real:
        """Return what `scan` sends with `mask` (n_points, n_columns)."""
        command = f"scan {round(segment.start_hz)} {round(segment.stop_hz)} {segment.points} {mask}"
        lines = self._command(command, timeout_s=timeout_s)
        columns = 1 if mask == FREQUENCIES_ONLY else 1 + 2 * len(PARAMETERS)
        try:
            rows = np.array([[float(field) for field in line.split()] for line in lines])
        except ValueError:
            raise InstrumentError(self._name, f"answers '{lines[0][:40]}'", command=command) from None
        if rows.shape != (segment.points, columns):
            raise InstrumentError(self._name, f"sends {len(lines)} lines, not {segment.points},", command=command)
        return rows

    def _silent(self, command: str) -> None:
        """Send a command that answers nothing. Raises `InstrumentError` with what it says nevertheless."""
        if answer := self._command(command):
            raise InstrumentError(self._name, f"refuses with '{' '.join(answer)[:60]}'", command=command)

    def _command(self, command: str, *, timeout_s: float | None = None) -> list[str]:
        """Return the lines between echo and prompt. Raises `LinkGarbledError` when the echo is another."""
        reply = self._link.exchange_until(command.encode("ascii") + b"\r", PROMPT, timeout_s=timeout_s)
        echo, *lines = reply.decode("latin-1").replace("\r\n", "\n").split("\n")
        if echo.strip() != command:
            raise LinkGarbledError(self._name, f"echoes '{echo[:40]}'", command=command)
        return [line for line in lines if line.strip()]


def _bandwidth(answer: str) -> tuple[int | None, float | None]:
    """Return the number, where the firmware has one, and the hertz that `bandwidth` tells: `3 (1000Hz)`, `1000Hz`."""
    hertz = re.search(r"(\d+)\s*Hz", answer)
    number = re.search(r"(\d+)\s*\(", answer)
    return (int(number.group(1)) if number else None), (float(hertz.group(1)) if hertz else None)
