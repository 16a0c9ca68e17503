"""A first try on a fourth of the training samples: cheap, and told from the same test samples as the real thing."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from labctl.record.reader import LogReader

if TYPE_CHECKING:
    from .conftest import Labctl

FEWER = ("--set", "data.train_samples=33")


def test_fewer_samples_cost_fewer_passes_and_are_tested_on_the_same(labctl: "Labctl") -> None:
    """Everything that can be asked of a run can be asked of this one; no sample that was left out was sent."""
    baselines = ("--set", "report.baselines=[linear, linear-map, shuffled]")
    result = labctl("run", "wine.yaml", *FEWER, *baselines, "--json").json
    (run,) = labctl.runs()
    with LogReader(run / "run.sqlite") as log:
        rows = log.rows(0, 10**9)
    tested = set(rows.samples[rows.purposes == "test"].tolist())
    learnt = set(rows.samples[rows.purposes != "test"].tolist())
    assert (len(learnt), len(tested), len(learnt & tested)) == (33, 44, 0)
    assert result["accuracy"] > 0.7
    assert set(result["baselines"]) == {"linear", "linear-map", "shuffled"}
    assert labctl.quick("runs", "verify", str(run), "--json").json["identical"]
    assert labctl.quick("evaluate", str(run), "--json").json["accuracy"] > 0.7
    replayed = labctl.quick("replay", str(run), "--json").json
    assert replayed["accuracy"] == pytest.approx(result["accuracy"], abs=0.1)


def test_a_try_that_was_broken_off_goes_on(labctl: "Labctl") -> None:
    """The samples are drawn by the split's seed, so that a resumed run goes on with the same ones."""
    whole = labctl("run", "wine.yaml", *FEWER, "--json", "--runs", "whole").json
    labctl.quick("run", "wine.yaml", *FEWER, "--pass-limit", "50", code=5)
    resumed = labctl.quick("resume", "latest", "--json").json
    models = [(labctl.folder / each["run"] / "model" / "model.npz").read_bytes() for each in (whole, resumed)]
    assert models[0] == models[1]


def test_more_samples_than_there_are_is_a_slip(labctl: "Labctl", desk: Path) -> None:
    """She is told how many there are, at the line that says where the data come from."""
    answer = labctl.quick("validate", "wine.yaml", "--set", "data.train_samples=500", code=2)
    assert "train_samples is 500, but the training part has 134 samples of 3 classes; expected 3 to 134" in answer.err
    assert not list(desk.glob("runs/*"))
