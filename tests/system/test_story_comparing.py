"""She compares two runs."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .conftest import Labctl


def test_what_a_setting_was_worth(labctl: "Labctl", run: Path) -> None:
    """Does the physics do anything? I ran it again without the skip connection; say what differed and by how much."""
    labctl("run", "wine.yaml", "--json", "--set", "network.blocks.0.skip=false", "--set", "seed=8")
    first, second = (folder.name for folder in labctl.runs())
    text = labctl.quick("runs", "diff", first, "latest").out
    lines = text.splitlines()
    assert "experiment.seed: 7 -> 8" in lines
    assert "experiment.network.blocks.0.skip: True -> False" in lines
    assert len([line for line in lines if "->" in line]) == 3, "two settings and the accuracy"
    difference = labctl.quick("runs", "diff", first, second, "--json").json
    accuracies = difference["accuracies"]
    paired = difference["paired"]
    assert abs(paired["mean"] - (accuracies[1] - accuracies[0])) < 1e-9
    assert paired["low"] <= paired["mean"] <= paired["high"]
    assert f"paired difference on the same test samples: {100 * paired['mean']:+.1f} points" in text


def test_the_same_run_twice(labctl: "Labctl", run: Path) -> None:
    """I compare a run with a copy of itself, to see whether the comparison can be trusted."""
    shutil.copytree(run, run.with_name("2099-01-01T00-00-00-copy"))
    text = labctl("runs", "diff", run.name, "copy").out
    assert text.startswith("no setting differs\n")
    assert "+0.0 points" in text


def test_runs_that_tested_different_samples(labctl: "Labctl", run: Path) -> None:
    """The second run tested other wines. Its accuracy must not be paired with the first one's as if it had not."""
    labctl("run", "wine.yaml", "--json", "--set", "data.split_seed=1")
    text = labctl.quick("runs", "diff", run.name, "latest").out
    assert "experiment.data.split_seed: 0 -> 1" in text
    assert "the runs tested different samples: their accuracies are not paired" in text
    assert labctl.quick("runs", "diff", run.name, "latest", "--json").json["paired"] is None


def test_naming_runs(labctl: "Labctl", run: Path) -> None:
    """I do not want to type the whole name of a run; but I do not want to be misunderstood either."""
    assert labctl.quick("runs", "show", run.name[:13], "--json").json["run"] == f"runs/{run.name}"
    assert labctl.quick("runs", "show", f"runs/{run.name}", "--json").json["run"] == f"runs/{run.name}"
    assert f"close to it: {run.name}" in labctl.quick("runs", "show", "whine", code=2).err
    run.rename(run.with_name("2001-01-01T00-00-00-wine"))
    run.with_name("2001-01-01T00-00-01-wine").mkdir()
    assert "names several runs" in labctl.quick("runs", "show", "wine", code=2).err
