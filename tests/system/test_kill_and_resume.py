"""A run that is killed without warning and resumed ends as if nothing had happened.

`kill -9` strikes at moments drawn by seed from every stage of a run. Afterwards the weights equal the uninterrupted
run's to the bit, and no pass that was on record has been measured again.
"""

import random
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labctl.config.loading import load_experiment
from labctl.orchestrator.assembly import build_bench, build_task
from labctl.orchestrator.plan import plan_run
from labctl.orchestrator.runs import reopen, reopen_task
from labctl.orchestrator.session import pinned_arithmetic
from labctl.orchestrator.verification import verify
from labctl.record.folder import LOG_NAME
from labctl.record.reader import Checkpoint, LogReader

Overrides = tuple[str, ...]

QUICKSTART = Path(__file__).parents[2] / "configs" / "experiments" / "quickstart.yaml"
SHORT: Overrides = (
    "training.epochs=3",
    "data={source: wine}",
    "report={baselines: [], page: false}",
    "record.commit_every=20 ms",
)

EXPERIMENT = """\
schema: labctl/experiment/1
name: four
rig: desk.yaml
seed: 3
data: {source: npz, path: four.npz}
network:
  label: {kind: one-hot}
  blocks:
    - {layer: cavity, encoder: {kind: fitted-range, mix: orthogonal}, skip: true, units: 20}
    - {layer: cavity, encoder: {kind: fitted-range, mix: orthogonal}, skip: true, units: 10}
training: {rule: phyll, epochs: 4, batch: 16, inner_steps: 3, optimizer: {lr: 2e-3, decay: cosine}}
record: {commit_every: 10 ms}
report: {baselines: [], page: false}
"""

KINDS: Mapping[str, Overrides] = {
    "joint": ("training.schedule=joint",),
    "cached": ("training.schedule=cached",),
    "greedy": ("training.schedule=greedy",),
    "sparse": ("training.schedule=joint", "record.checkpoint_every=3"),
    "fused": ("training.schedule=joint", "training.arithmetic=fused"),
    "readout": ("training={rule: readout, schedule: joint}", "network.label.kind=none"),
}

BEGINS_WITHIN_S = 1.0
"""Time in which a run loads its modules, makes its folder and sends its first passes."""


@dataclass(frozen=True)
class Course:
    """How many training passes, training steps and test passes a run has."""

    training: int
    steps: int
    test: int


@dataclass(frozen=True)
class Moment:
    """A moment of a run: `share` (0 to 1) of the way through one of its stages."""

    stage: str
    share: float


@dataclass(frozen=True)
class Row:
    """What must never change about a recorded pass."""

    time_s: float
    status: int
    drive: bytes
    response: bytes


Rows = Mapping[tuple[int, int], Row]
"""Passes by id and repeat."""


@dataclass(frozen=True)
class Finished:
    """A run that came to its end, and what was on record at each of its deaths."""

    folder: Path
    rows: Rows
    checkpoint: Checkpoint
    at_deaths: tuple[Rows, ...] = ()


def drawn(seed: str, stage: str) -> Moment:
    return Moment(stage, random.Random(f"{seed} {stage}").random())


DEATHS: Mapping[str, tuple[str, tuple[Moment, ...]]] = {
    **{
        f"{kind} while {stage}": (kind, (drawn(kind, stage),))
        for stage in ("starting", "measuring", "training", "testing", "reporting")
        for kind in ("joint", "cached")
    },
    **{
        f"{kind} while {stage}": (kind, (drawn(kind, stage),))
        for stage in ("measuring", "testing")
        for kind in ("greedy", "sparse", "readout")
    },
    "fused while training": ("fused", (drawn("fused", "training"),)),
    "joint twice": ("joint", (Moment("measuring", 0.3), Moment("measuring", 0.7))),
    "sparse twice before its first checkpoint": ("sparse", (Moment("training", 0.3), Moment("training", 0.6))),
}
"""The kind of run and the moments at which it is killed, by name."""

QUICKSTART_DEATHS = (
    drawn("quickstart", "starting"),
    Moment("measuring", 0.2),
    Moment("measuring", 0.8),
    drawn("quickstart", "training"),
    drawn("quickstart", "testing"),
)


def course(file: Path, overrides: Overrides) -> Course:
    """Return what a run will go through."""
    loaded = load_experiment(file, overrides)
    task = build_task(loaded, build_bench(loaded).infos)
    n_train, n_test = len(task.data.train_y), len(task.data.test_y)
    plan = plan_run(loaded.experiment.training.schedule, task.rule, task.infos, n_train, n_test)
    return Course(plan.training_passes, task.rule.epochs * -(-n_train // task.rule.batch), plan.test_passes)


def rows_of(folder: Path) -> Rows:
    """Return every recorded pass of a run."""
    with LogReader(folder / LOG_NAME) as reader, reader.snapshot():
        return {
            (int(part.ids[i]), int(part.repeats[i])): Row(
                float(part.time_s[i]), int(part.status[i]), part.drives[i].tobytes(), part.values[i].tobytes()
            )
            for part in reader.passes()
            for i in range(len(part))
        }


def has_come_to(moment: Moment, whole: Course, folder: Path) -> bool:
    """Return whether a run has come to a moment, judged by what is on its record."""
    if not (folder / LOG_NAME).is_file():
        return False
    with LogReader(folder / LOG_NAME) as reader:
        counts = reader.count_by_purpose()
        n_test = counts.pop("test", 0)
        match moment.stage:
            case "measuring":
                return sum(counts.values()) >= moment.share * whole.training
            case "training":
                return len(reader.steps()) >= max(1, moment.share * whole.steps)
            case "testing":
                return n_test >= max(1, moment.share * whole.test)
            case _:
                return any(event.kind == "test" for event in reader.events())


def kill_at(going: Any, moment: Moment, whole: Course) -> None:
    """Kill a command when its run comes to a moment."""
    if moment.stage == "starting":
        time.sleep(moment.share * BEGINS_WITHIN_S)
    else:
        going.until(lambda: has_come_to(moment, whole, going.newest_run()))
        time.sleep(0.02 * moment.share)
    going.process.kill()
    going.ends(-9)


def run_to_its_end(labctl: Any, file: Path, overrides: Overrides, moments: tuple[Moment, ...] = ()) -> Finished:
    """Start a run, kill it at each of the moments and go on with it each time."""
    whole = course(file, overrides)
    begin = ("run", file, *(word for override in overrides for word in ("--set", override)))
    at_deaths: list[Rows] = []
    going = labctl.start(*begin)
    for moment in moments:
        kill_at(going, moment, whole)
        # Whoever is killed before the log exists leaves at most a hidden folder, or one without a log, and begins anew.
        begun = [folder for folder in labctl.runs() if (folder / LOG_NAME).is_file()]
        at_deaths.extend(rows_of(folder) for folder in begun)
        going = labctl.start("resume", "latest") if begun else labctl.start(*begin)
    going.ends(0)
    folder = labctl.runs()[-1]
    with LogReader(folder / LOG_NAME) as reader:
        checkpoint = reader.latest_checkpoint()
    assert checkpoint is not None
    return Finished(folder, rows_of(folder), checkpoint, tuple(at_deaths))


def check_nothing_is_missing(ended: Finished, whole: Finished) -> None:
    """Check that a run that was killed is worth the same as one that was not."""
    assert ended.checkpoint.epoch == whole.checkpoint.epoch
    assert ended.checkpoint.arrays.keys() == whole.checkpoint.arrays.keys()
    for name, array in whole.checkpoint.arrays.items():
        assert ended.checkpoint.arrays[name].dtype == array.dtype, name
        assert ended.checkpoint.arrays[name].tobytes() == array.tobytes(), name
    for at_death in ended.at_deaths:
        assert at_death.items() <= ended.rows.items()
    assert ended.rows.keys() == whole.rows.keys()
    for key, row in whole.rows.items():
        assert ended.rows[key].drive == row.drive, key
        assert ended.rows[key].response == row.response, key
        assert ended.rows[key].status == row.status == 0, key


def check_verifies(ended: Finished) -> None:
    """Check that the run's own record bears out its weights, and that it cost what was planned."""
    with pinned_arithmetic(), LogReader(ended.folder / LOG_NAME) as reader:
        loaded = reopen(reader)
        task = reopen_task(reader, loaded)
        found = verify(task, reader)
    assert found.identical
    assert found.test_identical
    assert found.epochs == found.of_epochs
    sizes = len(task.data.train_y), len(task.data.test_y)
    assert len(ended.rows) == plan_run(loaded.experiment.training.schedule, task.rule, task.infos, *sizes).passes


@pytest.fixture(scope="module")
def runs(
    labctl_at: Callable[[Path], Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[str, Future[Finished]]]:
    """Do all runs, two at a time: the undisturbed ones by kind, the killed ones by the names of their deaths."""

    def folder() -> Path:
        made = tmp_path_factory.mktemp("desk")
        (made / "four.yaml").write_text(EXPERIMENT, encoding="utf-8")
        labels = np.arange(80) % 4
        noise = np.random.default_rng(0).normal(0, 0.4, (80, 4))
        np.savez(made / "four.npz", x=np.eye(4)[labels] + noise, y=labels)
        return made

    planned: dict[str, tuple[str, tuple[Moment, ...]]] = {
        **{kind: (kind, ()) for kind in KINDS},
        **DEATHS,
        "quickstart": ("quickstart", ()),
        "quickstart killed": ("quickstart", QUICKSTART_DEATHS),
    }
    with ThreadPoolExecutor(2) as hands:
        results: dict[str, Future[Finished]] = {}
        for name, (kind, moments) in planned.items():
            labctl = labctl_at(folder())
            file, overrides = (
                (QUICKSTART, SHORT) if kind == "quickstart" else (labctl.folder / "four.yaml", KINDS[kind])
            )
            results[name] = hands.submit(run_to_its_end, labctl, file, overrides, moments)
        yield results
        hands.shutdown(cancel_futures=True)


@pytest.mark.parametrize("death", DEATHS)
def test_a_killed_run_ends_as_if_nothing_had_happened(runs: Mapping[str, Future[Finished]], death: str) -> None:
    kind, moments = DEATHS[death]
    ended = runs[death].result()
    assert len(ended.at_deaths) == len(moments) or moments[0].stage == "starting"
    check_nothing_is_missing(ended, runs[kind].result())
    check_verifies(ended)


def test_the_quickstart_survives_being_killed_over_and_over(runs: Mapping[str, Future[Finished]]) -> None:
    ended = runs["quickstart killed"].result()
    assert len(ended.at_deaths) >= len(QUICKSTART_DEATHS) - 1
    assert all(earlier.keys() <= later.keys() for earlier, later in pairwise(ended.at_deaths))
    check_nothing_is_missing(ended, runs["quickstart"].result())
    check_verifies(ended)


def test_twenty_moments_over_all_stages_are_tried() -> None:
    moments = [moment for _, moments in DEATHS.values() for moment in moments] + list(QUICKSTART_DEATHS)
    assert len(moments) >= 20
    assert len(set(moments)) == len(moments)
    assert {moment.stage for moment in moments} == {"starting", "measuring", "training", "testing", "reporting"}
