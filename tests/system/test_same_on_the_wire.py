"""One experiment on a computed cavity and, by `--rig` alone, on virtual instruments that measure the same cavity."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from labctl.record.reader import LogReader
from tests.simulated_rig import RESOLUTION, SMALL_BOX, simulated_rig

if TYPE_CHECKING:
    from .conftest import Labctl

if sys.platform == "win32":
    pytest.skip("pseudo-terminals need Linux or macOS", allow_module_level=True)

EXPERIMENT = """\
schema: labctl/experiment/1
name: wine
rig: box.yaml
seed: 7
data: {source: csv, path: wine.csv, label: cultivar, test_fraction: 0.3}
network:
  label: {kind: one-hot, amplitude: 1.0}
  blocks:
    - {layer: cavity, encoder: two-bit, skip: true, units: 10}
training: {rule: phyll, schedule: cached, epochs: 20, batch: 20}
report: {baselines: [], page: false}
"""
FEW = ("keysight_pna", "nanovna_v2")
"""Whose wires are tried every day: blocks of 64-bit numbers on a socket, 32-bit integers on a serial port."""

OTHERS = [pytest.param(name, marks=pytest.mark.every_analyser) for name in sorted(RESOLUTION) if name not in FEW]
TESTED = 18
"""Samples; accuracies may differ by one."""

SINGLE = 1e-7
"""The computed layer rounds its responses to this."""


@pytest.fixture
def computed(labctl: "Labctl", desk: Path) -> float:
    """Lay a third of the wines on the desk, run the experiment on the cavity itself and return its accuracy."""
    (desk / "box.yaml").write_text(SMALL_BOX, encoding="utf-8")
    (desk / "wine.yaml").write_text(EXPERIMENT, encoding="utf-8")
    head, *rows = (desk / "wine.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    (desk / "wine.csv").write_text("".join([head, *rows[::3]]), encoding="utf-8")
    return labctl.quick("run", "wine.yaml", "--json").json["accuracy"]


@pytest.mark.parametrize("name", [*FEW, *OTHERS])
def test_the_wire_makes_no_difference(labctl: "Labctl", desk: Path, computed: float, name: str) -> None:
    """Whatever I find out on my computer holds for the bench, as far as the cavity is the one I computed."""
    with simulated_rig(name, desk) as rig:
        measured = labctl("run", "wine.yaml", "--rig", rig.name, "--json").json["accuracy"]
    logs = [LogReader(folder / "run.sqlite") for folder in labctl.runs()]
    on_computer, on_wire = (log.rows(0, 10_000) for log in logs)
    for log in logs:
        log.close()
    assert len(on_wire.ids) == len(on_computer.ids) == 3 * 60
    for column in ("ids", "samples", "labels", "drives"):
        np.testing.assert_array_equal(getattr(on_wire, column), getattr(on_computer, column))
    np.testing.assert_allclose(on_wire.values, on_computer.values, rtol=SINGLE, atol=RESOLUTION[name])
    assert abs(measured - computed) <= 1.001 / TESTED
