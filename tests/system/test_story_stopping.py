"""Runs end early: by Ctrl-C, by the scheduler, by a crash. Nothing that was measured is lost."""

import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Labctl

ALL_PASSES = 3 * (134 + 44)


@pytest.fixture
def real_time(desk: Path) -> Path:
    """A rig on which a pass takes 4 ms, so that a run can be caught in the middle."""
    return slowed(desk / "desk.yaml", "instant", "50")


def slowed(rig: Path, scale: str, new: str) -> Path:
    text = rig.read_text(encoding="utf-8")
    assert f"time_scale: {scale}\n" in text
    rig.write_text(text.replace(f"time_scale: {scale}\n", f"time_scale: {new}\n"), encoding="utf-8")
    return rig


def test_stopped_in_the_middle(labctl: "Labctl", real_time: Path) -> None:
    """I pressed Ctrl-C in mid-measurement. I want to go on after lunch, and to be told how."""
    going = labctl.start("run", "wine.yaml")
    going.until_passes(40)
    going.send(signal.SIGINT)
    answer = going.ends(5)
    (run,) = labctl.runs()
    assert f"stopped; every pass is recorded. Go on with: labctl resume runs/{run.name}\n" in answer.err
    kept = sum(labctl.quick("runs", "show", "latest", "--json").json["passes"].values())
    assert 40 <= kept < ALL_PASSES
    resumed = labctl(*answer.err.rsplit("Go on with: labctl ", 1)[1].split())
    assert f"resuming {run.name}: {kept} passes are recorded" in resumed.err
    assert f"{ALL_PASSES} passes" in resumed.out
    assert "equal bit for bit" in labctl("runs", "verify", "latest").out


def test_a_run_that_was_stopped_gives_the_result_it_would_have_given(
    labctl: "Labctl", run: Path, real_time: Path
) -> None:
    """The machine was shut down, which is like Ctrl-C. Is the result still that of the experiment, to the last bit?"""
    going = labctl.start("run", "wine.yaml", "--json")
    going.until(lambda: len(labctl.runs()) == 2)
    going.until_passes(150)
    going.send(signal.SIGTERM)
    assert going.ends(5).out == ""
    resumed = labctl("resume", "latest", "--json").json
    assert resumed["accuracy"] == labctl.quick("runs", "show", run.name, "--json").json["accuracy"]
    models = [(each / "model" / "model.npz").read_bytes() for each in labctl.runs()]
    assert models[0] == models[1]


def test_pressed_twice(labctl: "Labctl", desk: Path, real_time: Path) -> None:
    """A pass takes a second on this rig and something smells burnt. The second Ctrl-C must not wait for it."""
    slowed(real_time, "50", "0.2")
    going = labctl.start("run", "wine.yaml")
    going.until_passes(1)
    going.send(signal.SIGINT)
    time.sleep(0.3)  # two signals of one kind at once would be one
    going.send(signal.SIGINT)
    answer = going.ends(130)
    (run,) = labctl.runs()
    assert f"stopped at once; what is recorded is whole. Go on with: labctl resume runs/{run.name}\n" in answer.err
    kept = labctl.quick("runs", "show", "latest", "--json").json["passes"]["statistics"]
    going = labctl.start("resume", "latest")
    going.until_passes(kept + 1)
    going.send(signal.SIGINT)
    assert f"resuming {run.name}: {kept} passes are recorded" in going.ends(5).err


def test_crashed_over_night(labctl: "Labctl", real_time: Path) -> None:
    """The power went at three in the morning. What have I got, and what do I type?"""
    going = labctl.start("run", "wine.yaml")
    going.until_passes(60)
    going.send(signal.SIGKILL)
    going.ends(-signal.SIGKILL)
    (listed,) = labctl("runs", "list").out.splitlines()
    assert "not finished" in listed
    shown = labctl("runs", "show", "latest")
    assert "state: 'not finished: running or crashed'" in shown.out
    assert shown.err == f"go on with: labctl resume runs/{labctl.runs()[0].name}\n"
    assert f"{ALL_PASSES} passes" in labctl("resume", "latest").out
    assert "test accuracy" in labctl.quick("runs", "list").out
    assert "equal bit for bit" in labctl.quick("runs", "verify", "latest").out


def test_resuming_what_is_finished(labctl: "Labctl", run: Path) -> None:
    """I am not sure whether it had finished. Asking again must cost nothing."""
    answer = labctl("resume", "latest")
    assert f"{run.name} is trained and tested; nothing is left to measure" in answer.err
    assert f"{ALL_PASSES} passes" in answer.out


def test_two_people_resume_the_same_run(labctl: "Labctl", real_time: Path) -> None:
    """My colleague had already resumed it. I must not measure into her run, and I want to know that it is her."""
    slowed(real_time, "50", "5")
    going = labctl.start("run", "wine.yaml")
    going.until_passes(20)
    going.send(signal.SIGHUP)  # her terminal was closed
    going.ends(5)
    hers = labctl.start("resume", "latest")
    hers.until_passes(30)
    mine = labctl("resume", "latest", code=4)
    assert f"is being written by process {hers.process.pid} on " in mine.err
    assert mine.out == ""
    hers.send(signal.SIGINT)
    hers.ends(5)


def test_stopped_while_evaluating(labctl: "Labctl", run: Path, real_time: Path) -> None:
    """I stopped an evaluation half-way. The run itself must be as it was."""
    slowed(real_time, "50", "5")
    going = labctl.start("evaluate", "latest", "--rig", real_time.name)
    going.until_passes(ALL_PASSES + 10)
    going.send(signal.SIGINT)
    assert "the training is as it was" in going.ends(5).err
    assert "equal bit for bit" in labctl.quick("runs", "verify", "latest").out
    assert "test accuracy" in labctl.quick("runs", "list").out
    assert "right)" in labctl("evaluate", "latest").out
