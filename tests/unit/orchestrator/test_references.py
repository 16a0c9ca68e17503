"""The drift guard in a run: planted changes are answered as the experiment says, and the record decides again."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from labctl_simulators.faults import FaultPlan, FaultyLayer

from labctl.config.unattended import Drift
from labctl.contract.clock import SimulatedClock
from labctl.contract.layer import PhysicalLayer, Responses, ResponseValues
from labctl.orchestrator.assembly import Bench, Task
from labctl.orchestrator.inference import evaluate, load_trained
from labctl.orchestrator.session import Outcome, train_and_test
from labctl.orchestrator.stopping import Stopped
from labctl.orchestrator.verification import verify
from labctl.record.reader import LogReader
from labctl.record.writer import PassLog
from labctl.testing.layers import InstantLayer
from tests.unit.orchestrator.monitors import Until

MakeTask = Callable[..., Task]
MakeBench = Callable[[Sequence[PhysicalLayer]], Bench]

LOOKS = {"every": 30, "references": 6, "repeats": 2}
GAIN = {"kind": "gain", "row": 60, "spread": 0.2}
OFFSET = {"kind": "offset", "row": 60, "spread": 0.3}
DEAD = {"kind": "dead", "row": 60, "channel": "y2"}


class Remixing:
    """A layer whose medium becomes another one at row 60, for good; `left` is the share of the old one in it."""

    def __init__(self, at: int = 60, left: float = 0.0) -> None:
        self._media = InstantLayer(8, 6), InstantLayer(8, 6, seed=9)
        self._at = at
        self._left = left
        self.info = self._media[0].info
        self.state_id = self._media[0].state_id
        self.open = self.make_safe = self.close = self._media[0].open

    def _without(self, new: Responses, number: int) -> ResponseValues:
        return new.values

    def measure(self, drives: Any, ids: Any, *, stop: Any) -> Any:
        for row in range(len(ids)):
            one = slice(row, row + 1)
            for old, new in zip(*(each.measure(drives[one], ids[one], stop=stop) for each in self._media), strict=True):
                mixed = self._left * old.values + (1 - self._left) * self._without(new, int(ids[row]))
                yield old if ids[row] < self._at else replace(new, values=mixed.astype(new.values.dtype))


def disturbed(*disturbances: dict[str, Any], seed: int = 0) -> PhysicalLayer:
    plan = FaultPlan.model_validate(
        {"seed": 4, "disturbances": disturbances} if disturbances else {"list": [{"kind": "xrun", "rows": [10**6]}]}
    )
    return FaultyLayer(InstantLayer(8, 6, seed=seed), plan, SimulatedClock(float("inf")))


class Scrambling(Remixing):
    """A layer whose responses no longer depend on the drives."""

    def _without(self, new: Responses, number: int) -> ResponseValues:
        return np.random.default_rng(number).random(new.values.shape)


@pytest.fixture
def guarded(make_task: MakeTask) -> Callable[..., Task]:
    """Build a task on layers that are watched."""

    def make(layers: Sequence[PhysicalLayer], schedule: str = "joint", **drift: Any) -> Task:
        task = make_task(layers, schedule=schedule, epochs=4)
        settings = Drift.model_validate(LOOKS | drift)
        return replace(task, experiment=task.experiment.model_copy(update={"drift": settings}))

    return make


@pytest.fixture
def train(make_bench: MakeBench, tmp_path: Path) -> Callable[..., Outcome]:
    """Train into the log of this name."""

    def carry_on(name: str, task: Task, layers: Sequence[PhysicalLayer], monitor: Until | None = None) -> Outcome:
        path, monitor = tmp_path / name, monitor or Until()
        with PassLog.open_for_append(path) if path.exists() else PassLog.create(path, {}) as log:
            return train_and_test(task, make_bench(layers), log, monitor, monitor.stop)

    return carry_on


def looks(path: Path) -> list[dict[str, Any]]:
    with LogReader(path) as reader:
        return [event.detail for event in reader.events() if event.kind == "drift"]


def told_actions(case: str) -> set[str]:
    usual = {"gain": {"correct"}, "dead": {"mask", "correct"}, "noted": {"note"}, "re-measure": {"re-measure", "note"}}
    return usual.get(case, {case})


def scores(outcome: Outcome) -> Any:
    return outcome.evaluation.scores


@pytest.mark.parametrize("schedule", ["joint", "cached", "greedy"])
@pytest.mark.parametrize("disturbance", [GAIN, OFFSET], ids=["gain", "offset"])
def test_gain_and_offset_are_undone(
    guarded: Callable[..., Task], train: Callable[..., Outcome], tmp_path: Path, schedule: str, disturbance: Any
) -> None:
    """Once the look has told, responses are as they were; what came before the look is what it was."""
    clean, drifting = ([disturbed(*each), disturbed(seed=1)] for each in ((), (disturbance,)))
    undisturbed = train("clean", guarded(clean, schedule), clean)
    corrected = train("drifting", guarded(drifting, schedule), drifting)
    noted = train("noted", guarded(drifting, schedule, on_drift="note"), drifting)
    told = [look for look in looks(tmp_path / "drifting") if look["block"] == 0]
    assert told[0]["verdict"] == "baseline"
    assert {look["verdict"] for look in told[1:]} <= {"steady", disturbance["kind"], "gain and offset"}
    assert told[-1]["action"] == "correct"
    assert all(look["verdict"] in ("steady", "baseline") for look in looks(tmp_path / "clean"))
    wrong = np.abs(scores(noted) - scores(undisturbed)).mean()
    assert np.abs(scores(corrected) - scores(undisturbed)).mean() < wrong
    assert {look["action"] for look in looks(tmp_path / "noted")} == {"none", "note"}


@pytest.mark.parametrize("schedule", ["joint", "cached", "greedy"])
@pytest.mark.parametrize("case", ["gain", "dead", "re-measure", "map", "noted"])
def test_weights_follow_from_the_record_and_a_stop_changes_nothing_about_that(
    guarded: Callable[..., Task], train: Callable[..., Outcome], tmp_path: Path, schedule: str, case: str
) -> None:
    def layers() -> list[PhysicalLayer]:
        planted = {"gain": GAIN, "dead": DEAD}
        first: PhysicalLayer = disturbed(planted[case]) if case in planted else Remixing(left=0.8 * (case == "map"))
        return [first, disturbed(seed=1)]

    on_remixed = {"re-measure": "re-measure", "map": "map", "noted": "note"}.get(case, "pause")
    whole = train("whole", guarded(layers(), schedule, on_remixed=on_remixed, map_rows=24), layers())
    for name, after in (("whole", None), ("early", 40), ("late", whole.counters.sent * 2 // 3)):
        if after is not None:
            with pytest.raises(Stopped):
                train(
                    name, guarded(layers(), schedule, on_remixed=on_remixed, map_rows=24), layers(), Until(rows=after)
                )
            train(name, guarded(layers(), schedule, on_remixed=on_remixed, map_rows=24), layers())
        with LogReader(tmp_path / name) as reader:
            found = verify(guarded(layers(), schedule, on_remixed=on_remixed, map_rows=24), reader)
            counts = reader.count_by_purpose()
        assert found.identical
        assert found.test_identical
        told = looks(tmp_path / name)
        assert counts["baseline"] >= 2 * 12
        assert counts.get("map", 0) == sum(look["passes"] for look in told if "explained" in look)
        later = [look for look in told if look["verdict"] != "baseline" and "explained" not in look]
        assert counts["reference"] == 6 * len(later)
        assert {look["action"] for look in later} <= {*told_actions(case), "none"}


def test_a_dead_channel_is_named_and_masked(
    guarded: Callable[..., Task], train: Callable[..., Outcome], tmp_path: Path
) -> None:
    layers = [disturbed(DEAD)]
    train("run", guarded(layers), layers)
    (told, *_) = [look for look in looks(tmp_path / "run") if look["verdict"] == "dead"]
    assert told["dead"] == ["y2"]
    assert told["action"] == "mask"


def test_another_medium_pauses_the_run_and_is_never_called_gain(
    guarded: Callable[..., Task], train: Callable[..., Outcome], tmp_path: Path
) -> None:
    layers = [Remixing()]
    with pytest.raises(Stopped, match="the reference passes of layer 'instant' tell: re-mixed"):
        train("run", guarded(layers), layers)
    (told,) = [look for look in looks(tmp_path / "run") if look["verdict"] not in ("steady", "baseline")]
    assert told["verdict"] == "re-mixed"
    assert told["action"] == "pause"
    assert "gains" not in told
    with pytest.raises(Stopped):  # still another medium: the first thing that a session does is look
        train("run", guarded(layers), layers)
    assert [look["action"] for look in looks(tmp_path / "run")][-2:] == ["pause", "pause"]


def test_measuring_again_costs_what_was_cached_and_goes_on_learning(
    guarded: Callable[..., Task], train: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labctl.orchestrator.training.STATISTICS_SAMPLES", 6)
    layers = [Remixing(at=45)]
    outcome = train("run", guarded(layers, "cached", on_remixed="re-measure"), layers)
    steady = [InstantLayer(8, 6)]
    usual = train("usual", guarded(steady, "cached"), steady)
    assert [look["verdict"] for look in looks(tmp_path / "run")].count("baseline") == 2
    assert usual.counters.used["train"] < outcome.counters.used["train"] <= 2 * usual.counters.used["train"]


def test_a_trained_model_is_used_on_a_bench_that_has_drifted_since(
    guarded: Callable[..., Task],
    train: Callable[..., Outcome],
    make_bench: MakeBench,
    tmp_path: Path,
) -> None:
    """The first thing an evaluation does is look; an evaluation that was broken off does not confuse the next one."""
    layers = [disturbed()]
    outcome = train("run", guarded(layers), layers)
    task, bench = guarded(layers), make_bench([disturbed(GAIN | {"row": 0})])
    with LogReader(tmp_path / "run") as reader:
        load_trained(task, reader)
    broken_off = threading.Event()
    with PassLog.open_for_append(tmp_path / "run") as log:
        broken_off.set()
        with pytest.raises(Stopped):
            evaluate(task, bench, log, broken_off)
    with PassLog.open_for_append(tmp_path / "run") as log:
        again = evaluate(task, bench, log, threading.Event())
    assert looks(tmp_path / "run")[-1]["verdict"] in ("gain", "gain and offset")
    assert np.abs(again.scores - outcome.evaluation.scores).max() < 0.05


def test_what_is_left_of_a_medium_is_brought_back_from_stored_rows(
    guarded: Callable[..., Task], train: Callable[..., Outcome], make_bench: MakeBench, tmp_path: Path
) -> None:
    """A session that uses a trained model maps, then holds the medium as it is for steady and undoes its drift."""
    steady = [Remixing(at=10**6)]
    outcome = train("run", guarded(steady), steady)
    errors: dict[str, float] = {}
    for name, on_remixed in (("noted", "note"), ("mapped", "map"), ("again", "map")):
        task = guarded(steady, on_remixed=on_remixed, map_rows=64)
        with LogReader(tmp_path / "run") as reader:
            load_trained(task, reader)
        with PassLog.open_for_append(tmp_path / "run") as log:
            used = evaluate(task, make_bench([Remixing(at=0, left=0.8)]), log, threading.Event())
        errors[name] = float(np.abs(used.scores - outcome.evaluation.scores).mean())
    told = looks(tmp_path / "run")
    mapped = next(look for look in told if "explained" in look)
    assert (mapped["verdict"], mapped["action"], mapped["passes"]) == ("re-mixed", "map", 64)
    assert not any("gains" in look for look in told)
    assert [look["verdict"] for look in told[-4:]] == ["re-mixed", "re-mixed", "baseline", "steady"]
    assert errors["mapped"] < 0.5 * errors["noted"]
    assert errors["again"] == pytest.approx(errors["mapped"], rel=0.2)


def test_a_medium_of_which_nothing_is_left_pauses_the_run(
    guarded: Callable[..., Task], train: Callable[..., Outcome], tmp_path: Path
) -> None:
    layers = [Scrambling()]
    with pytest.raises(Stopped, match="is re-mixed, and a map from 24 stored rows brings back only"):
        train("run", guarded(layers, on_remixed="map", map_rows=24), layers)
    assert looks(tmp_path / "run")[-1]["action"] == "pause"
    with pytest.raises(Stopped, match="brings back only"):
        train("run", guarded(layers, on_remixed="map", map_rows=24), layers)
