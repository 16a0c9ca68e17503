"""What a sweep may be: the limits of the rig file and those of the instrument, checked before anything is sent."""

import itertools
import math
import re
from dataclasses import dataclass

from labctl.contract.errors import InputError
from labctl.contract.microwave import Segment, Sweep
from labctl_drivers.vna.settings import AnalyserRules

_PARAMETER = re.compile("S[1-9][1-9]")


@dataclass(frozen=True)
class Limits:
    """Limits with `owner` as the message names it. `parameters` empty means every one its ports have."""

    owner: str
    frequency_hz: tuple[float, float] = (0.0, math.inf)
    power_dbm: tuple[float, float] = (-math.inf, math.inf)
    if_bandwidth_hz: tuple[float, float] = (0.0, math.inf)
    most_points: int | None = None
    points_of_each_segment: bool = False
    """Whether `most_points` counts for each segment by itself."""
    most_segments: int | None = None
    ports: int = 9
    parameters: tuple[str, ...] = ()
    segments_may_overlap: bool = True
    external_trigger: bool = True
    averages_per_edge: bool = True

    def __str__(self) -> str:
        ranges = {"Hz": self.frequency_hz, "dBm": self.power_dbm, "Hz of IF bandwidth": self.if_bandwidth_hz}
        parts = [f"{low:.6g} to {high:.6g} {unit}" for unit, (low, high) in ranges.items() if math.isfinite(high)]
        return ", ".join(parts if self.most_points is None else [*parts, f"at most {self.most_points} points"])

    def check(self, sweep: Sweep, name: str) -> None:
        """Raise `InputError` for the first thing in `sweep` that lies beyond these limits."""
        for complaint in self._complaints(sweep):
            if complaint:
                raise InputError(f"{name}: {complaint} ({self.owner})")

    def _complaints(self, sweep: Sweep) -> tuple[str | None, ...]:
        return (
            *(self._of_parameter(parameter) for parameter in sweep.parameters),
            *(
                _outside(frequency_hz, self.frequency_hz, "frequency", "Hz")
                for segment in sweep.segments
                for frequency_hz in (segment.start_hz, segment.stop_hz)
            ),
            _outside(sweep.power_dbm, self.power_dbm, "power", "dBm"),
            _outside(sweep.if_bandwidth_hz, self.if_bandwidth_hz, "IF bandwidth", "Hz"),
            _too_many(self._points(sweep), self.most_points, "points"),
            _too_many(len(sweep.segments), self.most_segments, "segments"),
            self._of_order(sweep.segments),
            self._of_trigger(sweep),
        )

    def _points(self, sweep: Sweep) -> int:
        return max(segment.points for segment in sweep.segments) if self.points_of_each_segment else sweep.points

    def _of_parameter(self, parameter: str) -> str | None:
        if self.parameters and parameter not in self.parameters:
            return f"{parameter} is not measured; {' and '.join(self.parameters)} are"
        if max(int(port) for port in parameter[1:]) > self.ports:
            return f"{parameter} needs more than {self.ports} ports"
        return None

    def _of_order(self, segments: tuple[Segment, ...]) -> str | None:
        pairs = itertools.pairwise(segments)
        if not self.segments_may_overlap and any(next_.start_hz < last.stop_hz for last, next_ in pairs):
            return "segments must follow one another upwards without overlap"
        return None

    def _of_trigger(self, sweep: Sweep) -> str | None:
        if sweep.trigger == "internal":
            return None
        if not self.external_trigger:
            return "there is no trigger input"
        if sweep.averages > 1 and not self.averages_per_edge:
            return f"{sweep.averages} averages would take as many trigger edges: narrow the IF bandwidth instead"
        return None


def rig_limits(rules: AnalyserRules) -> Limits:
    """Return what the rig file allows."""
    return Limits(
        owner="a limit of the rig file",
        frequency_hz=(rules.min_frequency_hz or 0.0, rules.max_frequency_hz or math.inf),
        power_dbm=(-math.inf, rules.max_power_dbm),
    )


def check_form(sweep: Sweep, name: str) -> None:
    """Raise `InputError` for a sweep that no analyser could make."""
    faults = [
        *(_ill_formed(segment) for segment in sweep.segments),
        None if sweep.segments else "a sweep has at least one segment",
        None if sweep.parameters else "a sweep measures at least one S-parameter",
        *(None if _PARAMETER.fullmatch(p) else f"'{p}' is no S-parameter from S11 to S99" for p in sweep.parameters),
        None if len(set(sweep.parameters)) == len(sweep.parameters) else "every S-parameter may be named once",
        None if sweep.averages >= 1 else f"{sweep.averages} averages: at least one sweep is made",
        None if sweep.if_bandwidth_hz > 0 else f"IF bandwidth {sweep.if_bandwidth_hz:g} Hz is not positive",
        None if math.isfinite(sweep.power_dbm) else "power is not finite",
    ]
    for fault in faults:
        if fault:
            raise InputError(f"{name}: {fault}")


def _ill_formed(segment: Segment) -> str | None:
    start_hz, stop_hz, points = segment.start_hz, segment.stop_hz, segment.points
    if not (0.0 < start_hz <= stop_hz < math.inf):
        return f"a segment runs upwards from a positive frequency, not from {start_hz:g} Hz to {stop_hz:g} Hz"
    if points < 1:
        return f"a segment has at least one point, not {points}"
    if points == 1 and start_hz != stop_hz:
        return f"one point cannot run from {start_hz:g} Hz to {stop_hz:g} Hz"
    return None


def _outside(value: float, allowed: tuple[float, float], what: str, unit: str) -> str | None:
    low, high = allowed
    if low <= value <= high:
        return None
    side, limit = ("below", low) if value < low else ("above", high)
    return f"{what} {value:.12g} {unit} is {side} {limit:.12g} {unit}"


def _too_many(count: int, most: int | None, what: str) -> str | None:
    return f"{count} {what} are more than {most}" if most is not None and count > most else None
