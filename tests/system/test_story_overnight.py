"""A run overnight, on a machine that nobody looks at."""

import json
import os
import pty
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .conftest import Labctl, Tree

ALL_PASSES = 3 * (134 + 44)


def test_planning_the_night(labctl: "Labctl", desk: Path, tree_of: "Tree") -> None:
    """I have eleven hours. Which schedule fits? Planning must not touch the bench or leave a run behind."""
    before = tree_of(desk)
    text = labctl("run", "wine.yaml", "--dry-run", "--set", "training.epochs=300").out
    assert re.search(r"^joint +80,534 +132 +4\.5 h +\d+\.\d MB$", text, re.MULTILINE)
    assert re.search(r"^cached \* +402 +132 +2 min +\d+\.\d MB$", text, re.MULTILINE)
    plan = labctl("run", "wine.yaml", "--dry-run", "--json").json
    assert plan["chosen"] == "cached"
    assert plan["schedules"]["joint"]["training_passes"] == 134 + 10 * 134 * 2
    assert tree_of(desk) == before


def test_the_plan_is_kept(labctl: "Labctl", desk: Path, run: Path) -> None:
    """Can I rely on the plan? The passes must be exactly those, the hours and the disk about those."""
    result = labctl.quick("resume", "latest", "--json").json
    keeps(labctl.quick("run", "wine.yaml", "--dry-run", "--json").json["schedules"]["cached"], result, run)


def test_the_log_in_the_morning(labctl: "Labctl", desk: Path) -> None:
    """The scheduler keeps what was printed. In the morning I want to see how it went, line by line, as planned."""
    joint = ["--set", "training.schedule=joint", "--set", "training.epochs=3"]
    answer = labctl("run", "wine.yaml", *joint)
    lines = answer.err.splitlines()
    form = r"epoch \d/3(  [a-z ]+ \d+\.\d %)+  passes [\d,]+/1,070  hardware time left \d+ (s|min)"
    assert [bool(re.fullmatch(form, line)) for line in lines[:3]] == [True] * 3
    assert lines[0].startswith("epoch 1/3")
    assert "passes 938/1,070" in lines[2]
    assert "\x1b" not in answer.err + answer.out
    (run,) = labctl.runs()
    log = (run / "run.log").read_text(encoding="utf-8").splitlines()
    assert all(f" run={run.name} pass=" in line for line in log)
    assert "pass=401 labctl.cli.conduct: epoch 1 done: " in log[1]
    result = labctl.quick("resume", "latest", "--json").json
    keeps(labctl.quick("run", "wine.yaml", *joint, "--dry-run", "--json").json["schedules"]["joint"], result, run)


def keeps(plan: dict[str, Any], result: dict[str, Any], run: Path) -> None:
    """Check a result against what was planned."""
    assert result["passes"] == plan["training_passes"] + plan["test_passes"]
    assert result["hardware_s"] == pytest.approx(plan["hardware_s"])
    size = (run / "run.sqlite").stat().st_size
    assert size / 2 < plan["disk_bytes"] < size * 2


def test_json_is_one_document(labctl: "Labctl", desk: Path, run: Path) -> None:
    """My script reads stdout with a JSON parser. One document, nothing else; the same for every other command."""
    document = json.loads(labctl("resume", "latest", "--json").out)
    assert document["run"] == f"runs/{run.name}"
    assert 0 < document["accuracy"] <= 1
    assert document["report"] is None
    for command in (
        ["runs", "list"],
        ["runs", "verify", "latest"],
        ["runs", "diff", "latest", "latest"],
        ["validate", "wine.yaml"],
        ["validate", "desk.yaml"],
    ):
        assert labctl.quick(*command, "--json").json, command


def test_somebody_does_look(labctl: "Labctl", desk: Path) -> None:
    """At a terminal I want a bar that moves in place, not a scroll of lines."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        labctl.command("run", "wine.yaml"),
        cwd=desk,
        env=labctl.variables() | {"TERM": "xterm-256color"},
        stdout=subprocess.PIPE,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        drawn = everything_from(ours)
        assert process.stdout is not None
        out = process.stdout.read().decode()
    assert process.returncode == 0
    assert "━" in drawn
    assert "\x1b[" in drawn
    assert "epoch 0/10  passes 0/" in drawn
    assert f"test  training accuracy 100.0 %  passes {ALL_PASSES}/{ALL_PASSES}" in drawn
    assert "test accuracy" in out


def everything_from(terminal: int) -> str:
    """Read what is written to a terminal until nobody has it open any more."""
    parts: list[bytes] = []
    try:
        while part := os.read(terminal, 65536):
            parts.append(part)
    except OSError:  # Linux says so when the other side is closed
        pass
    os.close(terminal)
    return b"".join(parts).decode()
