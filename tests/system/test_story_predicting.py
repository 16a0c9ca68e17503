"""She has trained a network and new samples come in."""

import csv
import io
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from .conftest import Labctl, Tree

Table = list[dict[str, str]]
Change = Callable[[Table], Table]

CULTIVARS = ["barolo", "grignolino", "barbera"]
SAMPLES = 30


@pytest.fixture
def table(wine_csv: str) -> Table:
    """Every sixth wine, of all three cultivars."""
    return list(csv.DictReader(io.StringIO(wine_csv)))[::6]


def written(path: Path, rows: Table) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def without_cultivar(rows: Table) -> Table:
    return [{name: row[name] for name in sorted(row) if name != "cultivar"} for row in rows]


def test_a_table_with_its_columns_in_another_order(labctl: "Labctl", desk: Path, run: Path, table: Table) -> None:
    """My colleague's spreadsheet has the same columns in alphabetical order. It must not matter."""
    written(desk / "new.csv", without_cultivar(table))
    answer = labctl("predict", "latest", "new.csv")
    rows = list(csv.DictReader(io.StringIO(answer.out)))
    assert [row["sample"] for row in rows] == [str(number) for number in range(SAMPLES)]
    assert np.mean([row["class"] == truth["cultivar"] for row, truth in zip(rows, table, strict=True)]) > 0.8
    assert all(1 / 3 <= float(row["confidence"]) <= 1 for row in rows)
    assert f"{SAMPLES} samples, " in answer.err
    assert "600.0 ms of hardware time" in answer.err  # three labels, 200 ms each
    shown = labctl.quick("runs", "show", "latest", "--json").json
    assert shown["passes"]["predict"] == 3 * SAMPLES
    assert shown["state"] == "finished"
    assert "equal bit for bit, test scores too" in labctl.quick("runs", "verify", "latest").out


def test_the_training_table_itself_and_json(labctl: "Labctl", desk: Path, run: Path, table: Table) -> None:
    """I just want to see it work on the table I trained on; and my script wants JSON."""
    written(desk / "old.csv", table)
    predicted = labctl("predict", run.name, "old.csv", "--json").json
    assert set(predicted["classes"]) == set(CULTIVARS)
    assert len(predicted["classes"]) == len(predicted["confidence"]) == SAMPLES
    assert predicted["latency_s"]["hardware"] == pytest.approx(0.6)
    assert predicted["latency_s"]["wall"] > 0


def test_a_column_that_is_no_feature(labctl: "Labctl", desk: Path, run: Path, table: Table) -> None:
    """My table also has the price, which the network has never seen. I say so, and it is left out."""
    written(desk / "new.csv", has_a_price(without_cultivar(table)))
    assert len(labctl.quick("predict", "latest", "new.csv", "--ignore", "price", "--json").json["classes"]) == SAMPLES


def test_an_archive_from_numpy(labctl: "Labctl", desk: Path, run: Path, table: Table) -> None:
    """The instrument's own software saves npz. The columns are those of training, in that order."""
    values = np.array([[float(row[name]) for name in row if name != "cultivar"] for row in table])
    np.savez(desk / "new.npz", x=values)
    from_npz = labctl("predict", "latest", "new.npz", "--json").json["classes"]
    written(desk / "new.csv", without_cultivar(table))
    from_csv = labctl.quick("predict", "latest", "new.csv", "--json").json["classes"]
    assert np.mean(np.array(from_npz) == np.array(from_csv)) > 0.9  # fresh passes, fresh noise


def test_on_another_rig(labctl: "Labctl", desk: Path, run: Path, table: Table) -> None:
    """The network now works in the room next door, with that rig."""
    rig = (desk / "desk.yaml").read_text(encoding="utf-8").replace("noise: -80 dBFS", "noise: -75 dBFS")
    (desk / "next-door.yaml").write_text(rig, encoding="utf-8")
    written(desk / "new.csv", without_cultivar(table))
    predicted = labctl("predict", "latest", "new.csv", "--live", "next-door.yaml", "--json").json
    right = [name == row["cultivar"] for name, row in zip(predicted["classes"], table, strict=True)]
    assert np.mean(right) > 0.8


def lacks_alcohol(rows: Table) -> Table:
    return [{name: text for name, text in row.items() if name != "alcohol"} for row in rows]


def has_a_price(rows: Table) -> Table:
    return [{**row, "price": "9"} for row in rows]


def calls_ash_ashes(rows: Table) -> Table:
    return [{"ashes" if name == "ash" else name: text for name, text in row.items()} for row in rows]


def has_hue(text: str) -> Change:
    return lambda rows: [rows[0], {**rows[1], "hue": text}]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lacks_alcohol, 'has no column "alcohol"'),
        (has_a_price, "the training data had no column price"),
        (calls_ash_ashes, 'has no column "ash" (did you mean "ashes"?)'),
        (has_hue("nan"), 'new.csv:3: column "hue": is NaN'),
        (has_hue("inf"), 'new.csv:3: column "hue": is'),
        (has_hue("red"), 'new.csv:3: column "hue": "red" is not a number'),
        (has_hue(""), 'new.csv:3: column "hue": "" is not a number'),
    ],
)
def test_a_table_that_is_not_what_it_was_trained_on(
    labctl: "Labctl", desk: Path, run: Path, tree_of: "Tree", table: Table, change: Change, said: str
) -> None:
    """I exported the wrong thing. Nothing may play, and I want to know which column of which line it is."""
    written(desk / "new.csv", change(without_cultivar(table)))
    before = tree_of(desk)
    answer = labctl.quick("predict", "latest", "new.csv", code=2)
    assert said in answer.err
    assert answer.err.count("\n") == 1
    assert answer.out == ""
    assert tree_of(desk) == before


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"x": np.zeros((5, 12))}, "x has 12 features, the training data had 13"),
        ({"x": np.full((5, 13), np.nan)}, "x[0, 0]: is NaN; 65 such"),
        ({"samples": np.zeros((5, 13))}, '"x"'),
        ({"x": np.zeros(13)}, "features have shape (13,), not (samples, features)"),
    ],
)
def test_an_archive_that_is_not_what_it_was_trained_on(
    labctl: "Labctl", desk: Path, run: Path, tree_of: "Tree", arrays: dict[str, np.ndarray], said: str
) -> None:
    """The same for arrays, which have no names to go by."""
    np.savez(desk / "new.npz", allow_pickle=False, **arrays)
    before = tree_of(desk)
    answer = labctl.quick("predict", "latest", "new.npz", code=2)
    assert said in answer.err
    assert "new.npz" in answer.err
    assert tree_of(desk) == before


def test_a_run_that_has_not_finished(labctl: "Labctl", desk: Path, run: Path, tree_of: "Tree") -> None:
    """I asked for predictions of a run that was still to be trained to its end."""
    going = labctl.start("run", "wine.yaml", "--set", "training.epochs=100000")
    going.until(lambda: len(labctl.runs()) == 2)
    going.until_passes(402)
    going.send(signal.SIGTERM)
    going.ends(5)
    np.savez(desk / "new.npz", x=np.ones((1, 13)))
    unfinished = labctl.runs()[-1]
    before = tree_of(unfinished)
    said = labctl("predict", unfinished, "new.npz", code=4).err
    assert "of 100000 epochs; finish it with `labctl resume " in said
    assert tree_of(unfinished) == before
    assert json.loads(labctl.quick("runs", "list", "--json").out)[-1]["closed"]
