"""A bench that changes while it is learnt: she lets statistics follow, breaks off, resumes and proves the weights."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .conftest import Labctl

RUNNING = ("--set", "network.blocks.0.standardise=running", "--set", "training.schedule=joint")
CHANGED = "[{kind: gain, at: 1000, spread: 0.9}]"


@pytest.mark.parametrize("disturbances", ["[]", CHANGED])
def test_statistics_that_follow_resume_and_verify(labctl: "Labctl", disturbances: str) -> None:
    """Broken off in the middle of an epoch, the run ends with the weights and statistics of an unbroken one."""
    how = (*RUNNING, "--set", f"disturbances={disturbances}")
    whole = labctl("run", "wine.yaml", *how, "--json", "--runs", "whole").json
    labctl.quick("run", "wine.yaml", *how, "--pass-limit", "1500", code=5)
    resumed = labctl.quick("resume", "latest", "--json").json
    models = [(labctl.folder / each["run"] / "model" / "model.npz").read_bytes() for each in (whole, resumed)]
    assert models[0] == models[1]
    assert labctl.quick("runs", "verify", resumed["run"], "--json").json["identical"]


def test_statistics_follow_a_change_that_frozen_ones_do_not(labctl: "Labctl") -> None:
    """Gains of microphones change while it learns: what the weights see keeps its spread."""
    frozen, running = (
        labctl.quick("run", "wine.yaml", "--json", "--set", f"disturbances={CHANGED}", *how).json
        for how in (RUNNING[2:], RUNNING)
    )
    gains = [_gains(labctl.folder / each["run"]) for each in (frozen, running)]
    assert np.abs(np.log(gains[0] / gains[1])).mean() > 0.3
    assert running["accuracy"] > 0.8


def _gains(run: Path) -> NDArray[np.floating]:
    with np.load(run / "model" / "model.npz") as model:
        (name,) = [name for name in model.files if name.endswith("response_gain")]
        return model[name]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("training.schedule=cached", 'schedule "cached" learns from responses that were measured once'),
        ("training={rule: readout}", "rule readout learns from features of all batches together"),
    ],
)
def test_statistics_cannot_follow_what_is_not_measured_anew(labctl: "Labctl", change: str, says: str) -> None:
    """She is told at the key, before anything is sent."""
    label = ("--set", "network.label={kind: none, pad: 3}") if "readout" in change else ()
    answer = labctl.quick("validate", "wine.yaml", *RUNNING[:2], "--set", change, *label, code=2)
    assert "standardise" in answer.err
    assert says in answer.err


def test_a_comparison_goes_on_without_the_rules_that_cannot_follow(labctl: "Labctl") -> None:
    """One rule that does not suit the network costs the others nothing: it is listed with the reason."""
    rules = ("--rules", "phyll,phyll-reference,readout", "--seeds", "1")
    answer = labctl.quick("compare", "wine.yaml", *RUNNING, *rules, "--dry-run", "--json").json
    assert list(answer["refused"]) == ["readout"]
    assert "features of all batches together" in answer["refused"]["readout"]
