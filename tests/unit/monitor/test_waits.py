"""Which waits of a run are told, told once, and which are not."""

from collections.abc import Mapping
from queue import Queue
from threading import Event
from typing import Any

import pytest

from labctl.config.unattended import Notify
from labctl.monitor.waits import Waits
from labctl.orchestrator.counters import Counters

PATIENCE_S = 60.0
UNPLUGGED = {"rig": "bench", "fault": "failed", "reason": "cavity: unplugged; attempt 1 of 3 in 5 s", "longest_s": 35.0}
STILL = {"rig": "bench", "fault": "failed", "reason": "cavity: unplugged; attempt 2 of 3 in 10 s", "longest_s": 30.0}
OPEN = {"fault": "interlock", "reason": "interlock lid says: open", "longest_s": 43200.0}


class Listener:
    """Somebody who is told; keeps what was noted besides."""

    def __init__(self) -> None:
        self.told = Queue[Mapping[str, Any]]()
        self.noted: list[str] = []
        self.stop = Event()

    def tell(self, _to: Notify | None, facts: Mapping[str, Any]) -> None:
        """Hear."""
        self.told.put(facts)

    def note(self, kind: str, _detail: Mapping[str, Any]) -> None:
        """Keep."""
        self.noted.append(kind)

    def waits(self, after: str | None, apart_s: float = 3600.0) -> Waits:
        """Return waits that are told to this one when they have lasted; with None nobody is to be told."""
        to = None if after is None else Notify.model_validate({"command": ["unused"], "waiting_after": after})
        return Waits("night", to, self.stop, apart_s=apart_s, tell=self.tell)

    def hears(self) -> Mapping[str, Any]:
        """Return what is told next."""
        return self.told.get(timeout=PATIENCE_S)


@pytest.fixture
def listener() -> Listener:
    """Nothing was told yet."""
    return Listener()


def test_a_wait_that_lasts_is_told_and_its_end(listener: Listener) -> None:
    with listener.waits("1 ms") as waits:
        waits.hearing(listener.note)("waiting", OPEN)
        told = listener.hears()
        waits.rows_done(Counters(sent=1))
        ended = listener.hears()
    assert {key: told[key] for key in ("run", "state", "reason", "longest_s")} == {
        "run": "night",
        "state": "waiting",
        "reason": "interlock lid says: open",
        "longest_s": 43200.0,
    }
    assert told["do"].startswith("see to what the interlock says")
    assert (ended["state"], ended["reason"]) == ("running", "interlock lid says: open")
    assert told["since"] <= ended["since"]
    assert ended["waited_s"] >= 0
    assert listener.noted == ["waiting"]


def test_a_short_wait_is_not_told(listener: Listener) -> None:
    with listener.waits("24 h") as waits:
        waits.hearing(listener.note)("waiting", UNPLUGGED)
        waits.rows_done(Counters(sent=1))
    assert listener.told.empty()
    assert listener.noted == ["waiting"]


def test_a_rig_that_is_open_and_fails_again_still_waits(listener: Listener) -> None:
    with listener.waits("1 ms") as waits:
        waits.rows_done(Counters(sent=3))
        note = waits.hearing(listener.note)
        note("waiting", UNPLUGGED)
        assert listener.hears()["longest_s"] == 35.0
        note("going on", {})
        waits.rows_done(Counters(sent=5, rejected=2))  # none of these was good
        note("waiting", STILL)
        assert listener.told.empty()
        waits.rows_done(Counters(sent=6, rejected=2))
        assert listener.hears()["state"] == "running"


def test_what_comes_and_goes_is_told_once_an_hour(listener: Listener) -> None:
    with listener.waits("0 s") as waits:
        note = waits.hearing(listener.note)
        for sent in range(1, 100):
            note("waiting", UNPLUGGED)
            if sent == 1:
                assert listener.hears()["state"] == "waiting"
            waits.rows_done(Counters(sent=sent))
    assert listener.hears()["state"] == "running"
    assert listener.told.empty()


def test_after_an_hour_the_next_one_is_told(listener: Listener) -> None:
    with listener.waits("0 s", apart_s=0.01) as waits:
        note = waits.hearing(listener.note)
        note("waiting", UNPLUGGED)
        waits_then = listener.hears()
        waits.rows_done(Counters(sent=1))
        note("waiting", OPEN)
        states = [waits_then["state"], listener.hears()["state"], listener.hears()["state"]]
    assert states == ["waiting", "running", "waiting"]


def test_when_a_run_ends_the_end_is_what_is_told(listener: Listener) -> None:
    with listener.waits("1 ms") as waits:
        note = waits.hearing(listener.note)
        note("waiting", UNPLUGGED)
        assert listener.hears()["state"] == "waiting"
        listener.stop.set()
        waits.rows_done(Counters(sent=1))
        note("waiting", UNPLUGGED)
    assert listener.told.empty()


def test_nobody_is_told_of_what_nobody_wants_to_hear(listener: Listener) -> None:
    with listener.waits(None) as waits:
        waits.hearing(listener.note)("waiting", UNPLUGGED)
        waits.rows_done(Counters(sent=1))
    assert listener.told.empty()
    assert listener.noted == ["waiting"]
