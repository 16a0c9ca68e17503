"""Her first day, and the day when there is no room left."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

if TYPE_CHECKING:
    from .conftest import Labctl, Tree

UNWRITABLE = "/sys/labctl-runs"
"""Nobody can make a folder there, not even root."""


def test_starting_twice(labctl: "Labctl", tmp_path: Path, tree_of: "Tree") -> None:
    """I typed `labctl init` again in the folder where I had changed the examples. They must be as I left them."""
    answer = labctl("init", "lab")
    assert "train the first with: labctl run lab/experiments/quickstart.yaml" in answer.out
    (tmp_path / "lab" / "experiments" / "quickstart.yaml").write_text("mine", encoding="utf-8")
    before = tree_of(tmp_path)
    said = labctl("init", "lab", code=2).err
    assert "lab/experiments/digits_acoustic.yaml exists already" in said
    assert "nothing was copied" in said
    assert tree_of(tmp_path) == before


def test_every_example_is_valid(labctl: "Labctl", tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """I start from an example. It must at least be valid, whichever I take, once I have said where my data are."""
    data = Path(os.environ.get("LABCTL_DATA", Path(__file__).parents[3] / "shared" / "data"))
    monkeypatch.setenv("LABCTL_DATA", str(data))
    labctl("init", "lab")
    examples = sorted((tmp_path / "lab" / "experiments").glob("*.yaml"))
    assert len(examples) >= 10
    for file in examples:
        rig = file.parent / yaml.safe_load(file.read_text("utf-8"))["rig"]
        if not data.is_dir() and "LABCTL_DATA" in file.read_text("utf-8") + rig.read_text("utf-8"):
            assert "no such file" in labctl.quick("validate", file, code=2).err
            continue
        assert labctl.quick("validate", file).out.startswith(f"{file} is valid\n")


def test_the_quickstart(labctl: "Labctl", tmp_path: Path) -> None:
    """The first thing I try, cut short: is there a report, and does it say it was simulated?"""
    labctl("init", "lab")
    quickstart = tmp_path / "lab" / "experiments" / "quickstart.yaml"
    short = ["--set", "training.epochs=2", "--set", "data={source: wine}", "--set", "report.baselines=[linear]"]
    answer = labctl("run", quickstart, *short)
    assert "baselines on the same test samples:\n  linear " in answer.out
    assert "simulated hardware" in answer.out
    (run,) = labctl.runs()
    assert f"report: runs/{run.name}/report.html" in answer.out
    assert "simulated" in (run / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("command", [["init", UNWRITABLE], ["run", "wine.yaml", "--runs", UNWRITABLE]])
def test_a_folder_that_cannot_be_written(labctl: "Labctl", desk: Path, tree_of: "Tree", command: list[str]) -> None:
    """The share is mounted read-only today. Say which folder it is and leave nothing half made."""
    before = tree_of(desk)
    said = labctl(*command, code=2).err
    assert UNWRITABLE in said
    assert said.count("\n") == 1
    assert tree_of(desk) == before
    assert not Path(UNWRITABLE).exists()


def test_the_disk_fills_up(labctl: "Labctl", desk: Path) -> None:
    """The disk was full at two in the morning. What was measured must be whole; I make room and go on."""
    joint = ["--set", "training.schedule=joint", "--set", "training.epochs=3"]
    full_at_200_kb = ("sh", "-c", 'ulimit -f 200; exec "$@"', "sh")
    answer = labctl("run", "wine.yaml", *joint, code=4, prefix=full_at_200_kb)
    (run,) = labctl.runs()
    said = answer.err.splitlines()[-1]
    assert "run.sqlite" in said
    assert "cannot be written" in said
    assert said.endswith(f"labctl resume runs/{run.name}")
    kept = sum(labctl.quick("runs", "show", "latest", "--json").json["passes"].values())
    assert kept > 0
    resumed = labctl("resume", "latest")
    assert f"{kept:,} passes are recorded" in resumed.err
    assert "equal bit for bit" in labctl.quick("runs", "verify", "latest").out


def test_no_room_for_a_run_at_all(labctl: "Labctl", desk: Path, tree_of: "Tree") -> None:
    """There is no room even to begin. Then let there be no run, not half a one."""
    (desk / "runs").mkdir()
    before = tree_of(desk)
    for blocks, code in ((1, 2), (20, 4)):  # no room for the copies of the files; for them, but not for the log
        full = ("sh", "-c", f'ulimit -f {blocks}; exec "$@"', "sh")
        answer = labctl("run", "wine.yaml", code=code, prefix=full)
        assert answer.err.count("\n") == 1
        assert "runs" in answer.err
        assert tree_of(desk) == before
