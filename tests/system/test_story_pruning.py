"""The disk of the bench is full of last year's runs, and she gives up what she can do without."""

import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .conftest import Labctl, Tree

FIXED_BYTES = 64e3
"""Of a run that no forecast counts: the experiment, the rig, pages of tables that are nearly empty."""


def size(run: Path) -> int:
    return (run / "run.sqlite").stat().st_size


def shown(labctl: "Labctl", run: Path) -> dict[str, Any]:
    return labctl.quick("runs", "show", run.name, "--json").json


def test_what_was_sent_is_given_up(labctl: "Labctl", run: Path, tree_of: "Tree") -> None:
    """Nobody will replay it, but the weights must stay verifiable. First I want to know what it brings."""
    before, whole = tree_of(run), size(run)
    (told,) = labctl.quick("runs", "prune", "latest", "--keep", "responses", "--dry-run", "--json").json
    assert tree_of(run) == before
    assert told["after"] < told["before"] == whole
    said = labctl.quick("runs", "prune", "latest", "--keep", "responses").out
    assert "it can be verified, but no longer replayed: what was sent is given up" in said
    assert 0.8 * size(run) < told["after"] < 1.25 * size(run)
    assert "equal bit for bit, test scores too" in labctl.quick("runs", "verify", "latest").out
    assert f"{run.name} keeps its responses alone" in labctl.quick("replay", "latest", code=4).err
    assert "report.html from before is the last" in labctl.quick("report", "latest", code=4).err
    assert shown(labctl, run)["kept"].startswith("responses: ")
    assert shown(labctl, run)["passes"] == {"statistics": 402, "test": 132}
    assert "right)" in labctl.quick("evaluate", "latest").out
    assert "nothing is left to measure" in labctl.quick("resume", "latest").err
    assert "equal bit for bit" in labctl.quick("runs", "verify", "latest").out
    labctl.quick("runs", "export", "latest", "csv", "--format", "csv")


def test_only_the_result_is_kept(labctl: "Labctl", run: Path) -> None:
    """A course of last summer. The figure is enough; and that it is all there is must be said wherever I look."""
    accuracy, whole = shown(labctl, run)["accuracy"], size(run)
    labctl.quick("runs", "prune", "latest", "--keep", "result")
    assert size(run) < whole / 2
    assert shown(labctl, run)["accuracy"] == accuracy
    assert "keeps its result alone" in labctl.quick("runs", "list").out
    assert "no pass is left to verify it by" in labctl.quick("runs", "verify", "latest", code=4).err
    assert "right)" in labctl.quick("evaluate", "latest").out
    refused = labctl.quick("runs", "prune", "latest", "--keep", "responses", code=2).err
    assert "keeps its result alone by now: what was given up does not come back" in refused


def test_a_whole_folder_but_nothing_that_is_needed(labctl: "Labctl", desk: Path, run: Path, tree_of: "Tree") -> None:
    """One run goes on and one was stopped: both need all they have. A third one is damaged. The rest may go."""
    text = (desk / "desk.yaml").read_text(encoding="utf-8")
    (desk / "desk.yaml").write_text(text.replace("time_scale: instant", "time_scale: 20"), encoding="utf-8")
    going = labctl.start("run", "wine.yaml")
    going.until(lambda: len(labctl.runs()) == 2)
    going.until_passes(20)
    running = labctl.runs()[-1]
    damaged = Path(shutil.copytree(run, run.with_name("2020-01-01T00-00-00-damaged")))
    (damaged / "run.sqlite").write_bytes(b"nothing")
    kept = tree_of(damaged)
    answer = labctl.quick("runs", "prune", "runs", "--keep", "responses")
    assert f"{run.name}: " in answer.out
    assert answer.err.count("left as it is: ") == 2
    assert "run.sqlite is being written by process" in answer.err
    assert tree_of(damaged) == kept
    going.send(signal.SIGINT)
    going.ends(5)
    refused = labctl.quick("runs", "prune", running.name, "--keep", "result", code=2).err
    assert f"{running.name} is not finished, and needs all of its record" in refused
    labctl("resume", running.name)
    assert "equal bit for bit" in labctl.quick("runs", "verify", running.name).out


def test_asked_for_in_the_experiment(labctl: "Labctl", desk: Path) -> None:
    """A hundred nights on one disk: each run gives up its drives when it is finished, as planned beforehand."""
    keep = ["--set", "record.keep=responses"]
    refused = labctl.quick("run", "wine.yaml", *keep, code=2).err
    assert "no page is written now, and record.keep: responses leaves nothing to write one from later" in refused
    keep += ["--set", "report.page=true"]
    planned = labctl.quick("run", "wine.yaml", *keep, "--dry-run", "--json").json["schedules"]["cached"]
    assert planned["kept_bytes"] < planned["disk_bytes"]
    text = labctl.quick("run", "wine.yaml", *keep, "--dry-run").out
    assert "of the disk `record: keep` leaves when the run is finished: joint " in text
    told = labctl.quick("run", "wine.yaml", *keep)
    assert "keeps its responses (record: keep): it can be verified, but no longer replayed" in told.err
    (run,) = labctl.runs()
    assert (run / "report.html").is_file()
    assert abs(size(run) - planned["kept_bytes"]) < planned["kept_bytes"] / 2 + FIXED_BYTES
    assert "equal bit for bit" in labctl.quick("runs", "verify", "latest").out
