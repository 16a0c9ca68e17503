"""labctl was upgraded. Last month's runs and files must still open; those of a later version must not be misread."""

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import jsonschema
import numpy as np
import pytest
import yaml

if TYPE_CHECKING:
    from .conftest import Labctl, Tree

FIXTURES = Path(__file__).parents[1] / "fixtures"
RELEASES = sorted(path.name for path in (FIXTURES / "runs").iterdir())
EXAMPLES = sorted((FIXTURES / "schemas").glob("*/*.yaml"))
ALL_PASSES = 3 * (134 + 44)


@pytest.fixture(params=RELEASES)
def old(request: pytest.FixtureRequest, desk: Path) -> Path:
    """The runs that a release left, copied to the desk as runs/…-finished and runs/…-stopped."""
    for day, name in enumerate(("finished", "stopped"), start=1):
        shutil.copytree(FIXTURES / "runs" / request.param / name, desk / "runs" / f"2026-01-0{day}T00-00-00-{name}")
    return desk / "runs"


def test_last_months_run(labctl: "Labctl", desk: Path, old: Path) -> None:
    """I want to look at it, write its report again, export it, and be sure that it is what it was."""
    listed = labctl.quick("runs", "list").out.splitlines()
    assert "534 passes  test accuracy" in listed[0]
    assert "not finished: stopped" in listed[1]
    assert labctl.quick("runs", "show", "finished", "--json").json["passes"] == {"statistics": 402, "test": 132}
    labctl("report", "finished")
    assert (old / "2026-01-01T00-00-00-finished" / "report.html").stat().st_size > 10_000
    labctl.quick("runs", "export", "finished", "old.h5")
    verified = labctl.quick("runs", "verify", "finished", "--json").json
    assert verified["verified"]
    assert verified["identical"] or not verified["same_arithmetic"], "another processor may round, this one may not"


def test_using_last_months_network(labctl: "Labctl", desk: Path, old: Path) -> None:
    """The network is still in use: new samples come in, and I start a new training from its weights."""
    from sklearn.datasets import load_wine

    wine = cast("Any", load_wine())
    np.savez(desk / "new.npz", x=wine.data[::6])
    predicted = labctl("predict", "finished", "new.npz", "--json").json["classes"]
    names = [f"class_{number}" for number in wine.target[::6]]
    assert np.mean([name == truth for name, truth in zip(predicted, names, strict=True)]) > 0.7
    before = labctl.quick("runs", "show", "finished", "--json").json["accuracy"]
    assert abs(labctl("evaluate", "finished", "--json").json["accuracy"] - before) < 0.2


def test_going_on_with_a_run_that_the_upgrade_interrupted(labctl: "Labctl", old: Path) -> None:
    """It had been stopped for the upgrade. Now it goes on."""
    kept = sum(labctl.quick("runs", "show", "stopped", "--json").json["passes"].values())
    resumed = labctl("resume", "stopped", "--accept-changes")
    assert f"{kept} passes are recorded" in resumed.err
    assert f"{ALL_PASSES} passes" in resumed.out
    assert "bit for bit" in labctl.quick("runs", "verify", "stopped").out


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("PRAGMA user_version = 99", "was made by a newer labctl (format 99, known here: up to 1): upgrade labctl"),
        ("UPDATE meta SET value = '\"labctl/run/99\"' WHERE key = 'schema'", "'labctl/run/99'"),
    ],
)
def test_a_run_of_a_later_version(
    labctl: "Labctl", desk: Path, run: Path, tree_of: "Tree", change: str, said: str
) -> None:
    """My colleague has a newer labctl and sent me a run. Do not guess what it means."""
    with closing(sqlite3.connect(run / "run.sqlite")) as connection, connection:
        connection.execute(change)
    np.savez(desk / "new.npz", x=np.ones((1, 13)))
    before = tree_of(desk)
    for command in ("resume", "evaluate", "report"):
        assert said in labctl.quick(command, "latest", code=4).err
    for command in (["predict", "latest", "new.npz"], ["runs", "verify", "latest"]):
        assert said in labctl.quick(*command, code=4).err
    assert tree_of(desk) == before
    labctl.quick("runs", "list")  # one run that cannot be read must not hide the others


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_files_written_for_an_earlier_version(labctl: "Labctl", example: Path) -> None:
    """My experiment and rig files are a year old. I do not want to touch them."""
    assert "is valid" in labctl.quick("validate", example).out
    content: Any = yaml.safe_load(example.read_text(encoding="utf-8"))
    kind = content["schema"].split("/")[1]
    frozen = json.loads((example.parent / f"{kind}.schema.json").read_text(encoding="utf-8"))
    jsonschema.validate(_as_json(content), frozen)
    jsonschema.validate(_as_json(content), json.loads(labctl.quick("schema", kind).out))


def _as_json(content: Any) -> Any:
    """PyYAML reads `1e-3` as text, which YAML 1.2 does not."""
    if isinstance(content, dict):
        return {key: _as_json(value) for key, value in cast("dict[str, Any]", content).items()}
    if isinstance(content, list):
        return [_as_json(value) for value in cast("list[Any]", content)]
    return float(content) if isinstance(content, str) and content.replace("e-", "").isdecimal() else content
