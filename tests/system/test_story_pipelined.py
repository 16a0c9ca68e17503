"""Two surfaces with an analyser each: the second is busy with one minibatch while the first measures the next."""

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from labctl.record.reader import LogReader
from tests.simulated_rig import simulated_rig

if TYPE_CHECKING:
    from .conftest import Labctl

if sys.platform == "win32":
    pytest.skip("pseudo-terminals need Linux or macOS", allow_module_level=True)

EXPERIMENT = """\
schema: labctl/experiment/1
name: wine
rigs: {left: left/keysight_pna.yaml, right: right/keysight_pna.yaml}
seed: 7
data: {source: csv, path: wine.csv, label: cultivar, test_fraction: 0.3}
network:
  label: {kind: one-hot, amplitude: 1.0}
  blocks:
    - {layer: left.cavity, encoder: two-bit, skip: true, units: 16}
    - {layer: right.cavity, encoder: two-bit, skip: true, units: 16}
training: {rule: phyll, schedule: pipelined, epochs: 3, batch: 6}
report: {baselines: [], page: false}
"""


@pytest.fixture
def few_wines(desk: Path) -> None:
    head, *rows = (desk / "wine.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    (desk / "wine.csv").write_text("".join([head, *rows[::3]]), encoding="utf-8")
    (desk / "wine.yaml").write_text(EXPERIMENT, encoding="utf-8")
    for side in ("left", "right"):
        (desk / side).mkdir()


@pytest.mark.usefixtures("few_wines")
def test_both_are_busy_at_once_stop_together_and_go_on(labctl: "Labctl", desk: Path) -> None:
    """I want my second surface to work while the first one does, and Ctrl-C and resume to be as they always were."""
    with simulated_rig("keysight_pna", desk / "left"), simulated_rig("keysight_pna", desk / "right"):
        forecast = labctl.quick("run", "wine.yaml", "--dry-run", "--json").json["schedules"]
        assert forecast["pipelined"]["training_passes"] == forecast["joint"]["training_passes"]
        assert forecast["pipelined"]["hardware_s"] < forecast["joint"]["hardware_s"]
        going = labctl.start("run", "wine.yaml", "--json")
        going.until_passes(2 * 42 + 100)
        going.send(signal.SIGINT)
        assert "every pass is recorded" in going.ends(5).err
        labctl("resume", "latest", "--json")
    assert "equal bit for bit" in labctl("runs", "verify", "latest").out
    (run,) = labctl.runs()
    with LogReader(run / "run.sqlite") as reader:
        left, right = (reader.rows(0, 10_000, block=block, purpose="train", drives=False) for block in range(2))
    assert len(left) == len(right) == 3 * 42 * 2
    assert len(np.unique(np.concatenate([left.ids, right.ids]))) == 2 * len(left), "no pass is measured twice"
    meanwhile = [
        (left.time_s[left.steps == step + 1].min() < at) & (at < left.time_s[left.steps == step + 1].max())
        for step in range(6)
        for at in right.time_s[right.steps == step]
    ]
    assert any(meanwhile), "the second layer measures a step while the first one measures the next"


@pytest.mark.usefixtures("few_wines")
def test_both_on_one_rig_cannot_be_busy_at_once(labctl: "Labctl", desk: Path) -> None:
    """I had both blocks on the same surface, and the file said pipelined."""
    (desk / "wine.yaml").write_text(EXPERIMENT.replace("right.cavity", "left.cavity"), encoding="utf-8")
    with simulated_rig("keysight_pna", desk / "left"), simulated_rig("keysight_pna", desk / "right"):
        answer = labctl.quick("validate", "wine.yaml", code=2)
        forecast = labctl.quick("run", "wine.yaml", "--dry-run", "--set", "training.schedule=joint").out
    assert "wine.yaml:" in answer.err
    assert "blocks 1 and 2 share 'surface, vna', which measures for one of them at a time" in answer.err
    assert "not pipelined: blocks 1 and 2 share" in forecast
