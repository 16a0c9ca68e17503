"""She trains again from what a run has recorded, while the bench is taken apart."""

import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .conftest import Labctl, Tree

ROWS = 3 * (134 + 44)
TWO_BLOCKS = """\
    - {layer: cavity, encoder: {kind: fitted-range, mix: orthogonal}, skip: true, units: 30}
    - {layer: cavity, encoder: {kind: fitted-range, mix: orthogonal}, skip: true, units: 20}
"""


@pytest.fixture
def no_bench(desk: Path, run: Path) -> Path:
    """A finished run whose rig is gone, its file with it."""
    (desk / "desk.yaml").unlink()
    return run


def weights(run: Path) -> bytes:
    return (run / "model" / "model.npz").read_bytes()


def replaced(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1
    file.write_text(text.replace(old, new), encoding="utf-8")


def facts(labctl: "Labctl", run: str | Path = "latest") -> dict[str, Any]:
    return labctl.quick("runs", "show", run, "--json").json


def test_the_same_again(labctl: "Labctl", no_bench: Path) -> None:
    """Nothing changed: the same weights to the last bit, and nobody may take it for a measurement."""
    told = labctl("replay", no_bench.name).out
    assert f"simulated hardware, {ROWS} rows from the record of {no_bench.name}, no fresh pass)" in told
    again = labctl.runs()[1]
    assert weights(again) == weights(no_bench)
    assert "equal bit for bit, test scores too" in labctl.quick("runs", "verify", "latest").out
    shown = facts(labctl)
    assert shown["simulated"] is True
    assert shown["replayed"]["run"] == shown["replayed"]["measured_by"] == no_bench.name
    assert shown["replayed"]["passes"] == ROWS
    listed = labctl.quick("runs", "list").out.splitlines()
    assert [line.endswith(", replayed") for line in listed] == [False, True]
    labctl.quick("report", again.name)
    page = (again / "report.html").read_text(encoding="utf-8")
    assert f"replayed from {no_bench.name}: no pass was measured (simulated hardware then)" in page
    assert "fresh passes" not in page.split("</header>")[0]


def test_other_settings_and_another_rule(labctl: "Labctl", desk: Path, no_bench: Path, tree_of: "Tree") -> None:
    """Which rate would have been better, and would another rule? I ask the record, on the train, and touch no run."""
    before = tree_of(no_bench)
    slower = labctl.quick("replay", no_bench.name, "--set", RATE, "--json", "--to", "tries").json
    assert (slower["hardware_s"], slower["passes"], slower["replayed"]) == (0.0, ROWS, no_bench.name)
    assert Path(slower["run"]).parent.name == "tries"
    replaced(desk / "wine.yaml", "{rule: phyll, schedule: cached, epochs: 10, batch: 20, theta: 10,", RULE)
    other = labctl.quick("replay", no_bench.name, "--experiment", "wine.yaml", "--json").json
    assert other["accuracy"] > 0.6
    assert weights(desk / slower["run"]) != weights(no_bench)
    assert "training.rule: phyll -> forward-forward" in labctl.quick("runs", "diff", no_bench.name, "latest").out
    assert tree_of(no_bench) == before


RATE = "training.optimizer.lr=1e-4"
RULE = "{rule: forward-forward, schedule: cached, epochs: 10, batch: 20,"


def test_what_was_not_recorded(labctl: "Labctl", desk: Path, no_bench: Path, tree_of: "Tree") -> None:
    """Another seed mixes the drives otherwise; twice the reads were never taken. Tell me at once, with figures."""
    before = tree_of(desk)
    assert f"{ROWS} of {ROWS} rows" in labctl.quick("replay", "latest", "--dry-run").out
    said = labctl.quick("replay", "latest", "--set", "seed=8", code=2).err
    assert f"block 1 asks for {ROWS} rows that are known beforehand; {ROWS} of them are not in the record of " in said
    assert "other drives follow from seed. A replay can change what is made of responses" in said
    said = labctl.quick("replay", "latest", "--set", "network.blocks.0.reads=2", "--dry-run", code=2).err
    assert f"asks for {2 * ROWS:,} rows that are known beforehand; {ROWS} of them" in said
    assert "network.blocks.0.reads" in said
    said = labctl.quick("replay", "latest", "--set", "rig.instruments.interface.seed=2", code=2).err
    assert "a replay has the rig of the run that it replays" in said
    assert tree_of(desk) == before


def test_known_only_on_the_way(labctl: "Labctl", no_bench: Path) -> None:
    """A joint training asks for each pair as often as it is drawn, which is oftener than it was measured."""
    said = labctl.quick("replay", "latest", "--set", "training.schedule=joint", code=2).err
    assert "labctl: block 1 (layer 'cavity'): " in said
    assert f" rows asked for are not in the record of {no_bench.name}, or have been used as often as" in said
    assert facts(labctl)["state"].startswith("not finished")


def test_two_blocks(labctl: "Labctl", desk: Path, tree_of: "Tree") -> None:
    """What the second block is sent, the first has learnt: other weights, other drives, and none was measured."""
    head, _ = (desk / "wine.yaml").read_text(encoding="utf-8").split("    - {layer")
    training = "training: {rule: phyll, schedule: joint, epochs: 1, batch: 20, theta: 10}\n"
    tail = f"{training}report: {{baselines: [], page: false}}\n"
    (desk / "wine.yaml").write_text(head + TWO_BLOCKS + tail, encoding="utf-8")
    labctl.quick("run", "wine.yaml")
    (run,) = labctl.runs()
    before = tree_of(desk)
    said = labctl.quick("replay", "latest", "--set", "training.theta=5", code=2).err
    assert "block 2's drives are what block 1 has learnt, and training.theta changes that" in said
    assert "Of several blocks a replay can change the last one's own settings alone" in said
    assert tree_of(desk) == before
    labctl.quick("replay", "latest", "--set", "name=again")
    assert weights(labctl.runs()[1]) == weights(run)
    labctl.quick("replay", run.name, "--set", "network.blocks.1.units=25")
    assert weights(labctl.runs()[2]) != weights(run)


def test_drift_and_faults_are_as_they_were_in_training(labctl: "Labctl", desk: Path) -> None:
    """The night drifted and rows were lost. What was corrected then is corrected now, and no bad row comes back."""
    lost = "list: [{kind: xrun, rows: [100, 500]}], disturbances: [{kind: gain, row: 450, spread: 0.1}]"
    replaced(desk / "desk.yaml", "    seed: 1\n", f"    seed: 1\n    faults: {{{lost}}}\n")
    replaced(desk / "wine.yaml", "schedule: cached, epochs: 10", "schedule: joint, epochs: 2")
    replaced(desk / "wine.yaml", "report: {", "drift: {every: 100, tolerance: 0.01}\nreport: {")
    labctl.quick("run", "wine.yaml")
    told = labctl.quick("replay", "latest")
    first, again = labctl.runs()
    assert facts(labctl, first.name)["rejected"] == {"xrun": 2}
    assert "verdict gain" in (first / "run.log").read_text(encoding="utf-8")
    assert "drift is not watched" in told.err
    assert weights(again) == weights(first)
    assert not {"baseline", "reference"} & set(facts(labctl)["passes"])
    assert "equal bit for bit" in labctl.quick("runs", "verify", "latest").out


def test_a_run_that_was_disturbed_and_paced(labctl: "Labctl", desk: Path) -> None:
    """I had it disturbed to see what comes of it, one batch every quarter second. A replay does neither once more."""
    plan = "--set", "disturbances=[{kind: gain, at: 300, spread: 0.1}]", "--set", "unattended.cadence=250 ms"
    labctl.quick("run", "wine.yaml", *plan)
    told = labctl.quick("replay", "latest", "--set", "unattended.cadence=1 h")
    first, again = labctl.runs()
    assert "nothing is disturbed but what was disturbed in " in told.err
    assert weights(again) == weights(first)
    scores = [facts(labctl, run.name)["accuracy"] for run in (first, again)]
    assert scores[0] == scores[1]


def test_a_replay_of_a_replay(labctl: "Labctl", no_bench: Path) -> None:
    """Whose passes are these in the end?"""
    labctl.quick("replay", "latest", "--set", "training.epochs=2", "--set", "name=first")
    labctl.quick("replay", "first", "--set", "name=second")
    shown = facts(labctl, "second")["replayed"]
    assert shown["run"].endswith("-first")
    assert shown["measured_by"] == no_bench.name


def test_a_replay_that_is_broken_off(labctl: "Labctl", desk: Path, no_bench: Path) -> None:
    """I close the lid. Tomorrow it goes on from the same record, and says so if that has been moved away."""
    labctl.quick("replay", "latest", "--set", "training.epochs=3", "--set", "unattended.pass_limit=50", code=5)
    stopped = labctl.runs()[1]
    aside = no_bench.rename(desk / "aside")
    said = labctl.quick("resume", stopped.name, code=4).err
    assert f"{stopped.name} replays {no_bench}, which is gone: put it back" in said
    aside.rename(no_bench)
    told = labctl.quick("resume", stopped.name, "--pass-limit", "10000").out
    assert f"{ROWS} rows from the record of {no_bench.name}, no fresh pass)" in told
    labctl.quick("replay", no_bench.name, "--set", "training.epochs=3")
    assert weights(labctl.runs()[2]) == weights(stopped)


def test_a_damaged_record_is_not_replayed(labctl: "Labctl", no_bench: Path) -> None:
    """The disk lost a part of it. I want to know what is whole, before weights are made of the rest."""
    log = no_bench / "run.sqlite"
    data = bytearray(log.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 8192] = b"\xff" * 8192
    log.write_bytes(data)
    said = labctl.quick("replay", no_bench.name, code=4).err
    assert "is damaged" in said
    assert "still whole: " in said
    assert labctl.runs() == [no_bench]


def test_a_run_that_is_not_finished(labctl: "Labctl", desk: Path) -> None:
    """It was stopped in the middle. What is there is too little, and I am told how much."""
    replaced(desk / "desk.yaml", "time_scale: instant", "time_scale: 20")
    going = labctl.start("run", "wine.yaml")
    going.until_passes(20)
    going.send(signal.SIGINT)
    going.ends(5)
    (run,) = labctl.runs()
    with closing(sqlite3.connect(run / "run.sqlite")) as connection:
        (recorded,) = connection.execute("SELECT count(*) FROM passes").fetchone()
    assert f"; {ROWS - recorded} of them are not in the record" in labctl.quick("replay", "latest", code=2).err
