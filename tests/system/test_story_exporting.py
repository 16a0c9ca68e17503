"""She wants Monday's data in another program."""

import csv
import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .conftest import Labctl, Tree

ALL_PASSES = 3 * (134 + 44)


def test_in_matlab(labctl: "Labctl", desk: Path, run: Path) -> None:
    """In MATLAB: h5read('monday.h5', '/passes/cavity/block_0/responses')."""
    import h5py

    assert labctl("runs", "export", "latest", "monday.h5").out == "monday.h5\n"
    hdf5: Any = h5py
    with hdf5.File(desk / "monday.h5") as file:
        passes = file["passes/cavity/block_0"]
        assert passes["drives"].shape == (ALL_PASSES, 21)
        assert passes["responses"].shape == (ALL_PASSES, 21)
        assert np.isfinite(passes["responses"][:]).all()
        assert set(passes["purpose"].asstr()[:]) == {"statistics", "test"}
        assert json.loads(file["meta/name"].asstr()[()]) == "wine"


def test_in_a_spreadsheet(labctl: "Labctl", desk: Path, run: Path) -> None:
    """In pandas: read_csv('monday/passes.csv'). One line per pass, one column per channel."""
    labctl("runs", "export", "latest", "monday", "--format", "csv")
    with (desk / "monday" / "passes.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == ALL_PASSES
    assert {"drive_0", "drive_20", "response_0", "response_20", "time_s", "label"} < rows[0].keys()
    assert all(np.isfinite(float(row["response_7"])) for row in rows)
    assert {path.name for path in (desk / "monday").iterdir()} == {"passes.csv", "steps.csv", "events.csv"}


def test_in_sqlite(run: Path) -> None:
    """I have neither, but I have sqlite3; and the drives and responses are numbers one after another."""
    with closing(sqlite3.connect(run / "run.sqlite")) as connection:
        rows = connection.execute(
            "SELECT purpose, label, drive, response, response_dtype FROM passes JOIN states ON states.id = state"
        ).fetchall()
    assert len(rows) == ALL_PASSES
    for _, label, drive, response, dtype in rows:
        assert label in (0, 1, 2)
        assert np.frombuffer(drive, "<f4").shape == np.frombuffer(response, dtype).shape == (21,)


def test_the_model_alone(labctl: "Labctl", desk: Path, run: Path) -> None:
    """My student only needs the weights, and has never heard of labctl."""
    labctl("runs", "export", "latest", "for-the-student", "--format", "model")
    description = json.loads((desk / "for-the-student" / "model.json").read_text(encoding="utf-8"))["description"]
    weights = np.load(desk / "for-the-student" / "model.npz")["block0.weights"]
    assert weights.shape == (description["network"]["blocks"][0]["units"], 21 + 16 + 1)
    assert description["class_names"] == ["barbera", "barolo", "grignolino"]


def test_nothing_is_ever_overwritten(labctl: "Labctl", desk: Path, run: Path, tree_of: "Tree") -> None:
    """On Tuesday I pressed arrow-up and return. Monday's export must survive me."""
    (desk / "monday.h5").write_text("precious", encoding="utf-8")
    (desk / "monday").mkdir()
    before = tree_of(desk)
    for target in (["monday.h5"], ["monday", "--format", "csv"], ["monday", "--format", "model"]):
        said = labctl("runs", "export", "latest", *target, code=2).err
        assert f"{target[0]} exists already" in said
    assert (
        "say what to write to data.txt: --format hdf5, csv or model"
        in labctl("runs", "export", "latest", "data.txt", code=2).err
    )
    assert labctl("runs", "export", "latest", "nowhere/monday.h5", code=2).err.count("\n") == 1
    assert tree_of(desk) == before


def test_a_report_of_its_own(labctl: "Labctl", desk: Path, run: Path) -> None:
    """I mailed somebody the run folder only, and she writes the report again on her machine."""
    away = shutil.move(run, desk / "from-a-friend")
    assert not (Path(away) / "report.html").exists()
    assert labctl("report", away).out == f"{away}/report.html\n"
    page = (Path(away) / "report.html").read_text(encoding="utf-8")
    assert "wine" in page
    assert page.endswith("</html>\n")
    assert "http" not in page.split("<body")[0], "the page needs no other file and no network"
