"""She keeps what microphones heard and cameras saw, and weeks later reads it in another way, the bench long gone."""

import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml

from tests.wire.optical_bench import LAYER, served

if TYPE_CHECKING:
    from .conftest import Labctl, Tree

KEEP = ("--set", "record.raw=500 MB")
LATER = ("--set", "rig.layers.cavity.settle=60ms", "--set", "rig.layers.cavity.window=80ms")
ROWS = 3 * (134 + 44)
BURST_BYTES = 3 * 1600 * 4 + 8
TWO_BLOCKS = """\
    - {layer: cavity, encoder: {kind: fitted-range, mix: orthogonal}, skip: true, units: 30}
    - {layer: cavity, encoder: {kind: fitted-range, mix: orthogonal}, skip: true, units: 20}
"""


def replaced(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1
    file.write_text(text.replace(old, new), encoding="utf-8")


def weights(run: Path) -> dict[str, list[Any]]:
    with np.load(run / "model" / "model.npz") as arrays:
        return {name: array.ravel().tolist() for name, array in arrays.items()}


def named(labctl: "Labctl", name: str) -> Path:
    """Return the run of that name: of two begun in one second the order tells nothing."""
    (run,) = [run for run in labctl.runs() if run.name.endswith(f"-{name}")]
    return run


def facts(labctl: "Labctl", run: str | Path) -> dict[str, Any]:
    return labctl.quick("runs", "show", run, "--json").json


def selected(file: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as connection:
        return connection.execute(query).fetchall()


@pytest.fixture
def kept(labctl: "Labctl", desk: Path) -> Path:
    """A finished run that kept its recordings, without noise; its rig's file is gone."""
    replaced(desk / "desk.yaml", "noise: -80 dBFS", "noise: -200 dBFS\n    drift: 0.0")
    labctl.quick("run", "wine.yaml", *KEEP)
    (run,) = labctl.runs()
    return run


def test_another_window(labctl: "Labctl", desk: Path, kept: Path, tree_of: "Tree") -> None:
    """Would it have been better to listen later? The record says so, as the bench would have; and is left as it was."""
    before, measured = tree_of(kept), facts(labctl, kept.name)
    assert measured["raw"] == {"signals": ROWS, "bytes": ROWS * BURST_BYTES}
    labctl.quick("replay", kept.name, "--set", "name=same")
    assert weights(named(labctl, "same")) == weights(kept)
    (desk / "desk.yaml").rename(desk / "aside.yaml")
    told = labctl.quick("replay", kept.name, *LATER, "--set", "name=later")
    assert "main.cavity: read out of raw signals anew, with another settle, window" in told.err
    assert f"{ROWS} rows from the record of {kept.name}, no fresh pass)" in told.out
    later = named(labctl, "later")
    assert weights(later) != weights(kept)
    assert "equal bit for bit, test scores too" in labctl.quick("runs", "verify", "later").out
    assert facts(labctl, "later")["replayed"]["read_anew"] == {"main.cavity": ["settle", "window"]}
    assert facts(labctl, "later")["raw"] is None
    assert tree_of(kept) == before
    (desk / "aside.yaml").rename(desk / "desk.yaml")
    labctl.quick("run", "wine.yaml", *LATER, "--set", "name=fresh")
    fresh = named(labctl, "fresh")
    query = "SELECT step, block, sample, label, drive FROM passes ORDER BY id"
    assert selected(later / "run.sqlite", query) == selected(fresh / "run.sqlite", query)
    assert facts(labctl, "later")["accuracy"] == facts(labctl, "fresh")["accuracy"]


def test_what_is_given_up_is_gone(labctl: "Labctl", kept: Path) -> None:
    """The disk is full of sound. It goes, what was learnt stays, and whoever wants another window is told."""
    (told,) = labctl.quick("runs", "prune", kept.name, "--keep", "passes", "--dry-run", "--json").json
    assert told["before"] - told["after"] >= ROWS * BURST_BYTES
    said = labctl.quick("runs", "prune", kept.name, "--keep", "passes").out
    assert "it can be verified and replayed, but not with another window: raw signals are given up" in said
    assert not list(kept.glob("raw.sqlite*"))
    refused = labctl.quick("replay", kept.name, *LATER, code=4).err
    assert f"{kept.name} has no raw signals, out of which settle, window could be read anew" in refused
    assert "or they were given up (`runs prune`); measure with `labctl run`" in refused
    labctl.quick("replay", kept.name, "--set", "name=again")
    assert weights(named(labctl, "again")) == weights(kept)
    assert facts(labctl, kept.name)["raw"] is None
    assert "equal bit for bit" in labctl.quick("runs", "verify", kept.name).out
    assert len(labctl.runs()) == 2, "what was refused was not begun"


def test_what_cannot_be_read_out_of_them(labctl: "Labctl", desk: Path, kept: Path, tree_of: "Tree") -> None:
    """What was played was played. Each of my wishes is refused where I wrote it, and nothing is begun."""
    before = tree_of(desk / "runs")

    def refused(*settings: str, code: int = 2) -> str:
        asked = [part for each in settings for part in ("--set", f"rig.{each}")]
        return labctl.quick("replay", kept.name, *asked, code=code).err

    said = refused("layers.cavity.window=120ms")
    assert "what is analysed ends 160 ms after the beginning of a burst, whose tones were played until 140 ms" in said
    assert said.startswith("--set rig.layers.cavity.window=120ms: ")
    said = refused("layers.cavity.level=-6 dB")
    assert "--set rig.layers.cavity.level=-6 dB: it decides what is sent, and that was sent with 0.0" in said
    assert "tone 300 Hz has 22.5 periods in the window of 75 ms" in refused("layers.cavity.window=75ms")
    assert "a replay has the rig of the run" in refused("instruments.interface.noise=-60 dBFS")
    assert 'unknown key "windwo"; did you mean "window"?' in refused("layers.cavity.windwo=80ms")
    assert tree_of(desk / "runs") == before
    said = refused("layers.cavity.settle=60ms", "layers.cavity.window=80ms", "layers.cavity.low_signal=-1 dBFS")
    assert "was good as it was read out then, and is failed with settle, window, low_signal as asked for" in said
    (begun,) = [each for each in labctl.runs() if each != kept]
    assert facts(labctl, begun.name)["state"].startswith("not finished"), "what it hears shows when it listens"


def test_a_layer_that_has_none(labctl: "Labctl", desk: Path) -> None:
    """A bench whose instruments deliver one number each has nothing to be kept: I hear it before anything moves."""
    labctl.quick("init", ".")
    experiment = desk / "experiments" / "digits_microwave_tuned.yaml"
    text = experiment.read_text(encoding="utf-8")
    experiment.write_text(f"{text}record: {{raw: 500 MB}}\n", encoding="utf-8")
    for command in ("validate", "run"):
        said = labctl.quick(command, experiment, code=2).err
        assert f"{experiment}:{len(text.splitlines()) + 1}:15: layer '" in said
        assert "has no raw signals that could be kept" in said
    said = labctl.quick("validate", "wine.yaml", *KEEP, "--set", "record.keep=responses", code=2).err
    assert "raw signals are recorded for replays, and record.keep: responses gives them up" in said
    said = labctl.quick("validate", "wine.yaml", "--set", "record.raw=all", code=2).err
    assert "'all' is not a number with a unit (B, kB, MB, GB, TB)" in said


def test_more_than_there_is_room_for(labctl: "Labctl") -> None:
    """I gave it a tenth of what it needs. The forecast says so, the run goes on without, the replay says why not."""
    little = "--set", f"record.raw={ROWS * BURST_BYTES // 10} B"
    plan = labctl.quick("run", "wine.yaml", *KEEP, "--dry-run", "--json").json["schedules"]["cached"]
    assert ROWS * BURST_BYTES < plan["raw_bytes"] < 1.1 * ROWS * BURST_BYTES
    assert plan["raw_bytes"] < plan["disk_bytes"]
    said = labctl.quick("run", "wine.yaml", *little, "--dry-run").out
    assert "of the disk raw signals take: joint " in said
    assert "cached 10.3 MB, but record.raw has room for 1.0 MB" in said
    assert "raw signal of a pass: 19.2 kB" in labctl.quick("validate", "wine.yaml", *KEEP).out
    labctl.quick("run", "wine.yaml", *little)
    (run,) = labctl.runs()
    assert 0 < facts(labctl, run.name)["raw"]["bytes"] <= ROWS * BURST_BYTES / 10
    assert "the room for raw signals is used up" in (run / "run.log").read_text(encoding="utf-8")
    refused = labctl.quick("replay", run.name, *LATER, code=4).err
    assert f" of the {ROWS} passes of layer 'cavity': its room (record: raw) was used up" in refused


def test_behind_another_block(labctl: "Labctl", desk: Path) -> None:
    """What block 2 was sent follows from what block 1 heard: with another window nobody knows."""
    head, _ = (desk / "wine.yaml").read_text(encoding="utf-8").split("    - {layer")
    training = "training: {rule: phyll, schedule: joint, epochs: 1, batch: 20, theta: 10}\n"
    (desk / "wine.yaml").write_text(head + TWO_BLOCKS + training + "report: {baselines: [], page: false}\n", "utf-8")
    labctl.quick("run", "wine.yaml", *KEEP)
    said = labctl.quick("replay", "latest", *LATER, code=2).err
    assert (
        "block 2's drives are what block 1 has learnt, and main.cavity.settle, main.cavity.window changes that" in said
    )


@pytest.mark.parametrize("host", ["", "host: {when: always}\n"], ids=["here", "hosted"])
def test_killed_and_gone_on_with(labctl: "Labctl", desk: Path, host: str) -> None:
    """The power went. Of every pass that the record holds, the sound is there; the rest comes when it goes on."""
    replaced(desk / "desk.yaml", "time_scale: instant\n", f"time_scale: 20\n{host}")
    going = labctl.start("run", "wine.yaml", *KEEP)
    going.until_passes(60)
    going.process.kill()
    going.process.communicate()
    (run,) = labctl.runs()
    passes = {key for (key,) in selected(run / "run.sqlite", "SELECT key FROM passes")}
    assert passes
    assert passes <= {key for (key,) in selected(run / "raw.sqlite", "SELECT key FROM signals")}
    replaced(desk / "desk.yaml", "time_scale: 20", "time_scale: instant")
    labctl("resume", run.name, "--own-files")
    assert facts(labctl, run.name)["raw"]["signals"] == ROWS
    labctl.quick("replay", run.name, *LATER, "--set", "unattended.pass_limit=50", "--set", "name=stopped", code=5)
    stopped = named(labctl, "stopped")
    labctl("resume", stopped.name, "--own-files", "--pass-limit", "10000")
    labctl.quick("replay", run.name, *LATER, "--set", "name=whole")
    assert weights(named(labctl, "whole")) == weights(stopped)


PICTURE_BYTES = 40 * 48
DARK = {"every": "1 h", "frames": 2}


OPTICAL = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="a virtual display needs Linux or macOS")


@pytest.fixture
def seen(labctl: "Labctl", desk: Path) -> Iterator[Path]:
    """A finished run on an optical bench with a shutter that kept its pictures; the bench is still there."""
    with served({"camera": {"dark_level": 20}}) as (_, _, instruments):
        layers = {"cavity": {"kind": "optical", **LAYER, "overlap": False, "dark": DARK}}
        rig: dict[str, Any] = {"schema": "labctl/rig/1", "name": "desk", "instruments": instruments, "layers": layers}
        (desk / "desk.yaml").write_text(yaml.safe_dump(rig, sort_keys=False), encoding="utf-8")
        head, *rows = (desk / "wine.csv").read_text(encoding="utf-8").splitlines(keepends=True)
        (desk / "wine.csv").write_text("".join([head, *rows[::3]]), encoding="utf-8")
        labctl("run", "wine.yaml", *KEEP)
        (run,) = labctl.runs()
        yield run


@OPTICAL
def test_other_blocks_of_the_picture(labctl: "Labctl", desk: Path, seen: Path) -> None:
    """The light fell beside the middle of the picture, I should have looked there, and without the dark frames."""
    measured = facts(labctl, seen.name)
    signals = sum(measured["passes"].values())
    a_pass = 3 * PICTURE_BYTES + 1
    assert measured["raw"] == {"signals": signals, "bytes": signals * a_pass}, "with the sum of dark ones in 16 bits"
    labctl.quick("replay", seen.name, "--set", "name=same")
    assert weights(named(labctl, "same")) == weights(seen)
    other = ("--set", "rig.layers.cavity.outputs={rows: 5, columns: 6, pixels: 6, left: 12, top: 10}")
    wanted = (*other, "--set", "rig.layers.cavity.dark=null")
    told = labctl.quick("replay", seen.name, *wanted, "--set", "name=beside")
    assert "main.cavity: read out of raw signals anew, with another outputs, dark" in told.err
    assert "equal bit for bit, test scores too" in labctl.quick("runs", "verify", "beside").out
    labctl("run", "wine.yaml", *wanted, "--set", "name=fresh")
    query = "SELECT step, block, sample, label, drive, response FROM passes ORDER BY id"
    assert selected(named(labctl, "beside") / "run.sqlite", query) == selected(
        named(labctl, "fresh") / "run.sqlite", query
    )
    assert weights(named(labctl, "beside")) == weights(named(labctl, "fresh"))


@OPTICAL
def test_what_no_picture_tells(labctl: "Labctl", desk: Path, seen: Path, tree_of: "Tree") -> None:
    """How long it was exposed and what was shown is past."""
    before = tree_of(desk / "runs")

    def refused(setting: str) -> str:
        return labctl.quick("replay", seen.name, "--set", f"rig.{setting}", code=2).err

    assert "a replay has the rig of the run" in refused("instruments.camera.exposure=2 ms")
    said = refused("layers.cavity.background=9")
    assert said.startswith("--set rig.layers.cavity.background=9: it decides what is sent, and that was sent with 0")
    said = refused("layers.cavity.dark.frames=5")
    assert "of dark pictures 2 every 3600 s were taken; expected those or none" in said
    assert "they reach to row 46, column 40" in refused(
        "layers.cavity.outputs={rows: 1, columns: 1, pixels: 40, left: 0, top: 6}"
    )
    assert tree_of(desk / "runs") == before
