"""She trains further from a model she has."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .conftest import Labctl, Tree


def test_from_where_the_last_run_ended(labctl: "Labctl", run: Path) -> None:
    """One more epoch, from where it stood. Then I delete the first run: the second one's folder is all it needs."""
    start = ["--set", f"training.init_from=runs/{run.name}/model"]
    gentle = ["--set", "training.epochs=1", "--set", "training.optimizer.lr=1e-6"]
    baselines = ["--set", "report.baselines=[skip-only, shuffled]"]
    result = labctl("run", "wine.yaml", "--json", *start, *gentle, *baselines).json
    before = labctl.quick("runs", "show", run.name, "--json").json["accuracy"]
    assert result["accuracy"] > before - 0.1
    assert result["baselines"]["skip-only"] < before - 0.1, (
        "a baseline starts from nothing, and one epoch is not enough"
    )
    shutil.rmtree(run)
    assert "right)" in labctl("evaluate", "latest").out
    assert "equal bit for bit" in labctl.quick("runs", "verify", "latest").out


def test_from_a_model_that_does_not_fit(labctl: "Labctl", desk: Path, run: Path, tree_of: "Tree") -> None:
    """The model has 30 units, my network 40. Say so, at the line where I named it."""
    text = (desk / "wine.yaml").read_text(encoding="utf-8")
    text = text.replace("epochs: 10", f"init_from: runs/{run.name}/model, epochs: 10").replace("units: 30", "units: 40")
    (desk / "wine.yaml").write_text(text, encoding="utf-8")
    before = tree_of(desk)
    said = labctl.quick("run", "wine.yaml", code=2).err
    assert said.startswith("wine.yaml:10:54: block 1: expected weights of shape (40, 38)")
    assert "(30, 38)" in said
    assert tree_of(desk) == before


def test_from_a_model_that_is_not_there(labctl: "Labctl", desk: Path, tree_of: "Tree") -> None:
    """I mistyped the folder; and once I named a model of another rule."""
    before = tree_of(desk)
    said = labctl.quick("run", "wine.yaml", "--set", "training.init_from=runs/nothing/model", code=2).err
    assert "there is no model bundle in runs/nothing/model" in said
    assert tree_of(desk) == before
