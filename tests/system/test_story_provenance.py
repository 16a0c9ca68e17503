"""A referee asks with what exactly a figure was measured, and a bench is not as it was when a run goes on."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Labctl


@pytest.fixture
def calibrated(labctl: "Labctl", desk: Path) -> Path:
    """The desk with a calibrated cavity; the file that says so."""
    (told,) = [line for line in labctl.quick("calibrate", "desk.yaml").out.splitlines() if "calibration: " in line]
    name = told.partition("calibration: ")[2]
    rig = desk / "desk.yaml"
    rig.write_text(f"{rig.read_text(encoding='utf-8').rstrip()}\n    calibration: {name}\n", encoding="utf-8")
    return desk / name


def test_with_what_it_was_measured(labctl: "Labctl", calibrated: Path) -> None:
    """Versions, the calibration by name and content, the settings of the machine that matter, and no other."""
    labctl.quick("run", "wine.yaml", "--set", "training.epochs=1")
    shown = labctl.quick("runs", "show", "latest", "--json").json
    assert shown["calibrations"]["main.cavity"]["file"] == calibrated.name
    assert len(shown["calibrations"]["main.cavity"]["sha256"]) == 64
    assert {"python", "labctl", "numpy"} <= set(shown["software"])
    assert "HOME" not in shown["environment"]
    (run,) = labctl.runs()
    labctl.quick("report", run.name)
    assert f"{calibrated.name}, SHA-256 " in (run / "report.html").read_text(encoding="utf-8")
    data = json.loads(calibrated.read_text(encoding="utf-8"))
    calibrated.write_text(json.dumps(data, indent=2), encoding="utf-8")
    labctl.quick("run", "wine.yaml", "--set", "training.epochs=1")
    differing = labctl.quick("runs", "diff", run.name, "latest").out.splitlines()
    assert any(line.startswith("calibrations.main.cavity.sha256: ") for line in differing)
    assert not any(line.startswith(("software.", "instruments.", "experiment.")) for line in differing)


def test_calibrated_anew_in_the_meantime(labctl: "Labctl", calibrated: Path) -> None:
    """The run was stopped, and somebody calibrated into the same file. What was measured holds no longer: say which."""
    labctl.quick("run", "wine.yaml", "--pass-limit", "50", code=5)
    text = calibrated.read_text(encoding="utf-8")
    data = json.loads(text)
    first = next(iter(data["quantities"].values()))
    first["unit"] = f"{first['unit']} "
    calibrated.write_text(json.dumps(data), encoding="utf-8")
    said = labctl.quick("resume", "latest", code=4).err
    assert f"the calibration {calibrated.name} of main.cavity has changed (" in said
    assert "put it back, or begin a new run" in said
    calibrated.unlink()
    assert f"the calibration {calibrated.name} of main.cavity is gone" in labctl.quick("resume", "latest", code=4).err
    calibrated.write_text(text, encoding="utf-8")
    labctl.quick("resume", "latest")
    assert "equal bit for bit" in labctl.quick("runs", "verify", "latest").out


def test_other_settings_in_the_meantime(labctl: "Labctl", desk: Path) -> None:
    """I edited the experiment for tomorrow and forgot that today's run is not finished. Which of the two goes on?"""
    labctl.quick("run", "wine.yaml", "--pass-limit", "50", code=5)
    experiment, rig = desk / "wine.yaml", desk / "desk.yaml"
    as_it_was = experiment.read_text(encoding="utf-8")
    experiment.write_text(f"# for Tuesday\n{as_it_was.replace('theta: 10', 'theta: 12')}", encoding="utf-8")
    said = labctl.quick("resume", "latest", code=4).err
    assert "wine.yaml is not as it was when the run began (training.theta: 10 -> 12)" in said
    assert "go on with the run's own copy: `labctl resume --own-files`" in said
    experiment.write_text(f"# for Monday\n{as_it_was}", encoding="utf-8")
    text = rig.read_text(encoding="utf-8")
    rig.write_text(
        text.replace("settle: 40 ms", "settle: 60 ms").replace("gap: 60 ms", "gap: [60 ms"), encoding="utf-8"
    )
    assert "desk.yaml is not as it was when the run began (" in labctl.quick("resume", "latest", code=4).err
    labctl.quick("resume", "latest", "--own-files")
    assert "equal bit for bit" in labctl.quick("runs", "verify", "latest").out
    rig.unlink()
    labctl.quick("resume", "latest")


def test_other_data_in_the_meantime(labctl: "Labctl", desk: Path) -> None:
    """Somebody has corrected a value in the table. The rest would be learnt from other data than the beginning."""
    labctl.quick("run", "wine.yaml", "--pass-limit", "50", code=5)
    table = desk / "wine.csv"
    text = table.read_text(encoding="utf-8")
    table.write_text(text.replace("14.23", "14.24", 1), encoding="utf-8")
    said = labctl.quick("resume", "latest", code=4).err
    assert "the data have changed since the run began (fingerprint " in said
    assert "restore them, or begin a new run" in said
    table.write_text(text, encoding="utf-8")
    labctl.quick("resume", "latest")


def test_another_bench_in_the_meantime(labctl: "Labctl") -> None:
    """The run's layer answers in another state than it was measured in: not one pass may be mixed with the others."""
    labctl.quick("run", "wine.yaml", "--pass-limit", "50", code=5)
    (run,) = labctl.runs()
    with closing(sqlite3.connect(run / "run.sqlite")) as connection, connection:
        connection.execute("UPDATE states SET state_id = 'another'")
    said = labctl.quick("resume", "latest", code=4).err
    assert "layer 'cavity' is in state " in said
    assert "the run's passes were measured in another" in said
