"""Exports hold what the log holds, read back by other libraries."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py as h5py_without_types
import numpy as np
import pytest

from labctl.contract.errors import InputError, RecordError
from labctl.record.export import export_csv, export_hdf5
from labctl.record.passes import PassRows
from labctl.record.reader import LogReader
from labctl.record.writer import PassLog

h5py: Any = h5py_without_types

MakeRows = Callable[..., PassRows]
META = {
    "seed": 3,
    "layers": {
        "cavity": {
            "inputs": [{"name": f"tone {n}", "unit": "V"} for n in range(3)],
            "outputs": [{"name": f"mic {n}", "unit": "Pa"} for n in range(2)],
        }
    },
}


@pytest.fixture
def reader(tmp_path: Path, make_rows: MakeRows) -> Any:
    path = tmp_path / "run.sqlite"
    generator = np.random.default_rng(5)
    with PassLog.create(path, META) as log:
        status = np.array([0, 3], dtype=np.uint8)
        for first in range(0, 40, 4):
            noise = generator.normal(size=(2, 2)).astype(np.float32)
            log.append(make_rows(first, 2, status=status, responses=noise))
            log.append(make_rows(first + 2, 2, block=2, layer="lens", n_out=4, dtype="c8"))
        log.append(make_rows(1, 1, repeat=1))
        log.append_step(0, 0, {"loss": 0.1, "new": 1.0})
        log.append_step(1, 0, {"loss": float("nan")})
        log.append_event("drift", {"comment": 'a, "quoted"\nline'})
    with LogReader(path) as opened:
        yield opened


def test_hdf5_holds_everything(reader: LogReader, tmp_path: Path) -> None:
    target = tmp_path / "run.h5"
    export_hdf5(reader, target)
    with h5py.File(target) as file:
        first, second = file["passes/cavity/block_1"], file["passes/lens/block_2"]
        stored = list(reader.passes(block=1))
        assert first["drives"].shape == (21, 3)
        assert second["responses"].shape == (20, 4)
        assert second["responses"].dtype == np.complex64
        np.testing.assert_array_equal(first["responses"][:], np.concatenate([part.values for part in stored]))
        np.testing.assert_array_equal(first["drives"][:], np.concatenate([part.drives for part in stored]))
        np.testing.assert_array_equal(first["id"][:4], [0, 1, 1, 4])
        np.testing.assert_array_equal(first["repeat"][:4], [0, 0, 1, 0])
        np.testing.assert_array_equal(first["status"][:4], [0, 3, 0, 0])
        np.testing.assert_array_equal(second["label"][:2], [2, 3])
        assert set(first["purpose"].asstr()[:]) == {"train"}
        assert list(first["responses"].attrs["units"]) == ["Pa", "Pa"]
        assert list(first["drives"].attrs["channels"]) == ["tone 0", "tone 1", "tone 2"]
        assert "units" not in second["responses"].attrs
        np.testing.assert_array_equal(file["steps/metrics/loss"][:], [0.1, np.nan])
        np.testing.assert_array_equal(file["steps/metrics/new"][:], [1.0, np.nan])
        assert list(file["events/kind"].asstr()[:]) == ["opened", "drift", "closed"]
        assert json.loads(file["meta/layers"].asstr()[()]) == META["layers"]


def test_hdf5_of_a_block_that_changed_its_form_is_refused(tmp_path: Path, make_rows: MakeRows) -> None:
    path = tmp_path / "run.sqlite"
    with PassLog.create(path, {}) as log:
        log.append(make_rows(0, 2))
        log.append(make_rows(2, 2, n_out=3))
    with LogReader(path) as reader, pytest.raises(RecordError, match="changes the form of its responses"):
        export_hdf5(reader, tmp_path / "run.h5")
    assert not [file for file in tmp_path.iterdir() if "h5" in file.name]


def test_csv_holds_every_digit(reader: LogReader, tmp_path: Path) -> None:
    export_csv(reader, tmp_path / "csv")
    with (tmp_path / "csv" / "passes.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["id"]) for row in rows] == sorted([*range(40), 1])
    assert list(rows[0])[-7:] == [
        "drive_0",
        "drive_1",
        "drive_2",
        "response_0",
        "response_1",
        "response_2",
        "response_3",
    ]
    ones = [row for row in rows if row["block"] == "1"]
    texts = np.array([[row["response_0"], row["response_1"]] for row in ones])
    np.testing.assert_array_equal(texts.astype(np.float32), np.concatenate([p.values for p in reader.passes(block=1)]))
    assert {row["response_2"] for row in ones} == {""}
    assert ones[1]["status"] == "stale"
    assert (rows[2]["layer"], rows[2]["state_id"]) == ("cavity", "s0")
    lens = next(row for row in rows if row["layer"] == "lens")
    assert complex(lens["response_3"]) == 7 + 0j
    assert float(lens["time_s"]) == 1.7e9 + 0.5
    with (tmp_path / "csv" / "steps.csv").open(newline="", encoding="utf-8") as file:
        steps = list(csv.DictReader(file))
    assert [(step["step"], step["loss"], step["new"]) for step in steps] == [("0", "0.1", "1.0"), ("1", "nan", "")]
    with (tmp_path / "csv" / "events.csv").open(newline="", encoding="utf-8") as file:
        events = list(csv.DictReader(file))
    assert json.loads(events[1]["detail"]) == {"comment": 'a, "quoted"\nline'}


@pytest.mark.parametrize("dtype", ["u1", "i8", "f8", "c16"])
def test_csv_of_other_number_types_is_exact(tmp_path: Path, make_rows: MakeRows, dtype: str) -> None:
    path = tmp_path / "run.sqlite"
    responses = (np.array([[1, 200], [3, 77]]) / (3 if dtype in ("f8", "c16") else 1)).astype(dtype)
    with PassLog.create(path, {}) as log:
        log.append(make_rows(0, 2, responses=responses))
    with LogReader(path) as reader:
        export_csv(reader, tmp_path / "csv")
    with (tmp_path / "csv" / "passes.csv").open(newline="", encoding="utf-8") as file:
        texts = [[row["response_0"], row["response_1"]] for row in csv.DictReader(file)]
    np.testing.assert_array_equal(np.array(texts).astype(dtype), responses)


@pytest.mark.parametrize("export", [export_hdf5, export_csv])
def test_exports_never_overwrite(reader: LogReader, tmp_path: Path, export: Callable[[LogReader, Path], None]) -> None:
    (tmp_path / "there").write_text("precious")
    with pytest.raises(InputError, match="exists already"):
        export(reader, tmp_path / "there")
    assert (tmp_path / "there").read_text() == "precious"
    with pytest.raises(InputError, match="does not exist"):
        export(reader, tmp_path / "nowhere" / "run")


def test_an_empty_run_is_exported(tmp_path: Path) -> None:
    PassLog.create(tmp_path / "run.sqlite", {}).close()
    with LogReader(tmp_path / "run.sqlite") as reader:
        export_hdf5(reader, tmp_path / "run.h5")
        export_csv(reader, tmp_path / "csv")
    with h5py.File(tmp_path / "run.h5") as file:
        assert file["steps/step"].shape == (0,)
    assert (tmp_path / "csv" / "passes.csv").read_text().startswith("id,repeat,step,block")
