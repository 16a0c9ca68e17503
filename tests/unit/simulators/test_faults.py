"""Planned faults: where they strike, what they do to a row, and that nothing else changes."""

import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labctl_simulators.faults import STATUS, FaultPlan, FaultSchedule, FaultyLayer
from pydantic import ValidationError

from labctl.contract.clock import SimulatedClock
from labctl.contract.errors import DriveError, InstrumentError
from labctl.contract.layer import Drives, PhysicalLayer, Responses, RowStatus
from labctl.testing.layer_contract import LayerContract
from labctl.testing.layers import InstantLayer

ALL_STATUSES = [{"kind": kind, "rate": 0.1} for kind in STATUS]


def plan(*faults: dict[str, Any], seed: int = 0) -> FaultPlan:
    return FaultPlan.model_validate({"seed": seed, "list": list(faults)})


def faulty(*faults: dict[str, Any], clock: SimulatedClock | None = None) -> FaultyLayer:
    layer = FaultyLayer(InstantLayer(4, 3), plan(*faults), clock or SimulatedClock(float("inf")))
    layer.open()
    return layer


def drives(n_rows: int) -> Drives:
    return np.random.default_rng(1).random((n_rows, 4), dtype=np.float32)


def measured(layer: PhysicalLayer, n_rows: int, first: int = 0) -> Responses:
    ids = np.arange(first, first + n_rows)
    chunks = list(layer.measure(drives(n_rows), ids, stop=threading.Event()))
    fields = ("ids", "values", "status", "time_s")
    return Responses(*(np.concatenate([getattr(chunk, field) for chunk in chunks]) for field in fields))


def undisturbed(n_rows: int) -> np.ndarray:
    return measured(InstantLayer(4, 3), n_rows).values


class TestFaultsOnNamedRows(LayerContract):
    @pytest.fixture
    def layer(self) -> PhysicalLayer:
        faults = [{"kind": "overload", "rows": [2, 7]}, {"kind": "delay", "rows": [4], "delay": "1 s"}]
        return FaultyLayer(InstantLayer(4, 3), plan(*faults), SimulatedClock(float("inf")))


class TestFaultsAtARate(LayerContract):
    @pytest.fixture
    def layer(self) -> PhysicalLayer:
        return FaultyLayer(InstantLayer(4, 3), plan({"kind": "xrun", "rate": 0.2}), SimulatedClock(float("inf")))


@pytest.mark.parametrize("kind", sorted(STATUS))
def test_a_named_row_is_struck_and_no_other(kind: str) -> None:
    result = measured(faulty({"kind": kind, "rows": [3]}), 6)
    assert result.status.tolist() == [0, 0, 0, STATUS[kind], 0, 0]
    others = result.status == RowStatus.OK
    np.testing.assert_array_equal(result.values[others], undisturbed(6)[others])


def test_a_stale_row_shows_the_response_before_it() -> None:
    truth = undisturbed(5)
    result = measured(faulty({"kind": "stale", "rows": [2, 3]}), 5)
    np.testing.assert_array_equal(result.values, truth[[0, 1, 1, 2, 4]])


def test_nothing_can_be_stale_before_the_first_row() -> None:
    result = measured(faulty({"kind": "stale", "rows": [0]}), 2)
    assert result.status.tolist() == [RowStatus.STALE, 0]
    assert not result.values[0].any()


def test_a_failed_row_has_no_numbers() -> None:
    result = measured(faulty({"kind": "failed", "rows": [1]}), 3)
    assert np.isnan(result.values[1]).all()
    assert np.isfinite(result.values[[0, 2]]).all()


def test_an_error_comes_after_the_rows_before_it() -> None:
    layer = faulty({"kind": "error", "rows": [2]})
    chunks = layer.measure(drives(4), np.arange(4), stop=threading.Event())
    assert next(chunks).ids.tolist() == [0, 1]
    with pytest.raises(InstrumentError, match=r"instant: a fault was planned here during row 2"):
        next(chunks)
    assert measured(layer, 4).status.tolist() == [0, 0, 0, 0]


def test_times_say_how_often_a_row_is_struck() -> None:
    layer = faulty({"kind": "clipped", "rows": [1], "times": 2})
    assert [measured(layer, 1, first=1).status[0] for _ in range(4)] == [1, 1, 0, 0]


def test_reopening_starts_the_plan_afresh_but_opening_twice_does_not() -> None:
    layer = faulty({"kind": "clipped", "rows": [1]})
    assert measured(layer, 1, first=1).status[0] == RowStatus.CLIPPED
    layer.open()
    assert measured(layer, 1, first=1).status[0] == RowStatus.OK
    layer.close()
    layer.open()
    assert measured(layer, 1, first=1).status[0] == RowStatus.CLIPPED


def test_a_delay_takes_laboratory_time() -> None:
    clock = SimulatedClock(float("inf"))
    measured(faulty({"kind": "delay", "rows": [0, 4], "delay": "30 s"}, clock=clock), 6)
    assert clock.now_s() == pytest.approx(60.0)


def test_of_two_faults_the_first_status_counts_and_delays_add() -> None:
    schedule = FaultSchedule(
        plan(
            {"kind": "delay", "rows": [5], "delay": "1 s"},
            {"kind": "overload", "rows": [5]},
            {"kind": "stale", "rows": [5]},
            {"kind": "delay", "rows": [5], "delay": "2 s"},
        )
    )
    strike = schedule.next(5)
    assert (strike.delay_s, strike.error, strike.status) == (3.0, False, RowStatus.OVERLOAD)
    assert schedule.next(5).status == RowStatus.OK


@settings(max_examples=30, deadline=None)
@given(st.integers(-(2**63), 2**63 - 1), st.integers(1, 5), st.integers(0, 100))
def test_chance_belongs_to_seed_row_and_repeat(row_id: int, repeat: int, seed: int) -> None:
    first, second = plan(*ALL_STATUSES, seed=seed), plan(*ALL_STATUSES, seed=seed)
    for _ in range(3):
        first.striking(row_id + 1 if row_id < 0 else row_id - 1, repeat)
    assert first.striking(row_id, repeat) == second.striking(row_id, repeat)


def test_rates_are_kept_and_differ_from_seed_to_seed() -> None:
    rows = range(4000)
    struck = [
        [bool(plan({"kind": "xrun", "rate": 0.05}, seed=seed).striking(row, 1)) for row in rows] for seed in (1, 2)
    ]
    for each in struck:
        assert np.mean(each) == pytest.approx(0.05, abs=0.012)
    assert struck[0] != struck[1]


def test_a_rate_strikes_the_same_rows_alone_and_together() -> None:
    together = measured(faulty(*ALL_STATUSES), 60).status
    alone = [measured(faulty(*ALL_STATUSES), 1, first=row).status[0] for row in range(60)]
    assert together.tolist() == alone
    assert 10 < np.count_nonzero(together) < 45


def test_a_bad_drive_is_refused_before_an_error_is_due() -> None:
    layer = faulty({"kind": "error", "rows": [1]})
    bad = drives(3)
    bad[2, 0] = 7.0
    with pytest.raises(DriveError):
        layer.measure(bad, np.arange(3), stop=threading.Event())
    with pytest.raises(InstrumentError):
        measured(layer, 2)


@pytest.mark.parametrize("fault", [{"kind": "error", "rows": [3]}, {"kind": "error", "rate": 1.0}])
def test_a_run_resumed_at_an_error_gets_on(fault: dict[str, Any]) -> None:
    layer = faulty(fault)
    with pytest.raises(InstrumentError):
        measured(layer, 4)
    for _ in range(2):
        layer.close()
        layer.open()
        assert measured(layer, 1, first=3).status.tolist() == [0]


def test_an_error_is_not_met_again_behind_rows_that_are_repeated() -> None:
    layer = faulty({"kind": "error", "rows": [3]})
    chunks = layer.measure(drives(3), np.array([1, 3, 4]), stop=threading.Event())
    assert [status for chunk in chunks for status in chunk.status.tolist()] == [0, 0, 0]


def test_rows_that_nothing_befalls_are_passed_on_together() -> None:
    layer = faulty({"kind": "clipped", "rows": [40]})
    sizes = [len(chunk.ids) for chunk in layer.measure(drives(60), np.arange(60), stop=threading.Event())]
    assert sum(sizes) == 60
    assert 1 in sizes
    assert len(sizes) < 10


def test_the_physics_is_named_as_before() -> None:
    layer = faulty({"kind": "clipped", "rate": 0.5})
    assert layer.state_id == InstantLayer(4, 3).state_id
    assert layer.info == InstantLayer(4, 3).info


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ({"kind": "stale"}, "name the `rows`"),
        ({"kind": "stale", "rows": [1], "rate": 0.1}, "and not both"),
        ({"kind": "stale", "rate": 1.5}, "less than or equal to 1"),
        ({"kind": "stale", "rows": [1], "times": 0}, "greater than or equal to 1"),
        ({"kind": "stale", "rows": [1], "delay": "1 s"}, "belongs to no other kind"),
        ({"kind": "delay", "rows": [1]}, "says how long"),
        ({"kind": "delay", "rows": [1], "delay": "0 s"}, "greater than 0"),
        ({"kind": "delay", "rows": [1], "delay": 2}, "has no unit"),
        ({"kind": "explode", "rows": [1]}, "'clipped', 'xrun'"),
        ({"kind": "stale", "row": [1]}, "Extra inputs"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(fault: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError) as caught:
        plan(fault)
    assert says in str(caught.value)


def test_an_empty_plan_is_refused() -> None:
    with pytest.raises(ValidationError, match="nothing is planned; expected `list`, `disturbances` or both"):
        plan()
