"""Planned faults on the wire: where they strike, what an answer becomes, and that a plan can be repeated."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from labctl_simulators.instruments.servers.wire_faults import (
    NETWORK,
    WireFaultPlan,
    WireFaultSchedule,
    delivery,
    without_a_byte,
)
from pydantic import ValidationError

ANSWER = b"#3200" + bytes(range(200)) + b"\n"


def schedule(*faults: dict[str, Any], seed: int = 0) -> WireFaultSchedule:
    return WireFaultSchedule(WireFaultPlan.model_validate({"seed": seed, "list": list(faults)}))


def struck(of: WireFaultSchedule, answers: int) -> list[str | None]:
    return [of.next().kind for _ in range(answers)]


def test_named_answers_are_struck_and_no_others() -> None:
    assert struck(schedule({"kind": "close", "answers": [2, 5]}), 6) == [None, "close", None, None, "close", None]


def test_armed_faults_come_first_and_one_at_a_time() -> None:
    faults = schedule({"kind": "close", "answers": [1]})
    faults.arm("garbage")
    faults.arm("short")
    assert struck(faults, 3) == ["garbage", "short", None]
    assert faults.struck == ["garbage", "short"]


def test_rate_is_kept_and_a_seed_repeats_its_faults() -> None:
    faults = [{"kind": "silence", "rate": 0.1}, {"kind": "stall", "rate": 0.05, "duration": "1 s"}]
    first = struck(schedule(*faults, seed=3), 2000)
    assert first == struck(schedule(*faults, seed=3), 2000)
    assert first != struck(schedule(*faults, seed=4), 2000)
    assert first.count("silence") == pytest.approx(200, abs=60)
    assert first.count("stall") == pytest.approx(95, abs=45)


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "close"},
        {"kind": "close", "answers": [1], "rate": 0.1},
        {"kind": "stall", "answers": [1]},
        {"kind": "close", "answers": [1], "duration": "1 s"},
        {"kind": "close", "answers": [0]},
        {"kind": "explode", "answers": [1]},
    ],
)
def test_plan_that_makes_no_sense(fault: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        schedule(fault)


@pytest.mark.parametrize("kind", NETWORK)
def test_what_becomes_of_an_answer(kind: Any) -> None:
    faults = WireFaultSchedule()
    faults.arm(kind, 0.5)
    what = delivery(ANSWER, faults.next())
    whole = what.first + what.rest
    if kind == "stall":
        assert whole == ANSWER
        assert what.pause_s == 0.5
        assert 0 < len(what.first) < len(ANSWER)
    elif kind in ("close", "reset"):
        assert what.end == kind
        assert ANSWER.startswith(whole)
    else:
        expected = {"silence": 0, "short": len(ANSWER) - 81, "long": len(ANSWER) + 80, "bad-header": len(ANSWER)}
        assert len(whole) == expected.get(kind, 64)
        assert whole != ANSWER


def test_answer_that_nothing_befalls() -> None:
    assert delivery(ANSWER, WireFaultSchedule().next()).first == ANSWER


@given(st.binary(min_size=1, max_size=40), st.integers(0, 2**32 - 1))
def test_lost_byte_is_one(request: bytes, seed: int) -> None:
    left = without_a_byte(request, np.random.default_rng(seed))
    assert len(left) == len(request) - 1
    assert any(left == request[:lost] + request[lost + 1 :] for lost in range(len(request)))
