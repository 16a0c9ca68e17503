"""Acquisitions begin at ticks, and one that takes too long is said to have missed some."""

from collections.abc import Mapping
from threading import Event
from typing import Any

import pytest

from labctl.contract.layer import Stop
from labctl.orchestrator.cadence import Cadence
from labctl.orchestrator.stopping import Stopped


class Bench:
    """A clock, the waits on it, and what was noted."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.noted: list[Mapping[str, Any]] = []
        self.cadence = Cadence(10.0, Event(), self.note, lambda: self.now_s, self.wait)

    def note(self, kind: str, facts: Mapping[str, Any]) -> None:
        assert kind == "cadence"
        self.noted.append(facts)

    def wait(self, seconds: float, stop: Stop) -> None:
        assert not stop.is_set()
        assert seconds >= 0
        self.now_s += seconds

    def begins(self, takes_s: float) -> float:
        """Return when an acquisition begins that then takes so long."""
        self.cadence()
        began_s = self.now_s
        self.now_s += takes_s
        return began_s


def test_they_begin_at_equal_distances() -> None:
    bench = Bench()
    assert [bench.begins(takes_s) for takes_s in (3.0, 9.5, 0.0, 1.0)] == [100.0, 110.0, 120.0, 130.0]
    assert bench.noted == []


def test_one_that_takes_longer_misses_ticks_and_the_next_is_on_a_tick_again() -> None:
    bench = Bench()
    assert [bench.begins(takes_s) for takes_s in (25.0, 1.0, 1.0)] == [100.0, 130.0, 140.0]
    assert bench.noted == [{"every_s": 10.0, "late": 1, "missed_ticks": 2}]


def test_a_cadence_that_cannot_be_kept_fills_no_log() -> None:
    bench = Bench()
    for _ in range(101):
        bench.begins(15.0)
    assert [facts["late"] for facts in bench.noted] == [1, 2, 4, 8, 16, 32, 64]


def test_a_stop_is_heeded_while_waiting() -> None:
    stop = Event()
    cadence = Cadence(1000.0, stop, lambda _kind, _facts: None)
    cadence()
    stop.set()
    with pytest.raises(Stopped):
        cadence()
