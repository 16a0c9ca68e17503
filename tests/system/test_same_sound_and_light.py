"""One experiment on computed physics and, by `--rig` alone, on real drivers over the wires of a virtual bench."""

import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml

from labctl.record.reader import LogReader
from tests.wire import audio_bench, optical_bench

if TYPE_CHECKING:
    from .conftest import Labctl

EXPERIMENT = """\
schema: labctl/experiment/1
name: wine
rig: computed.yaml
seed: 7
data: {source: csv, path: wine.csv, label: cultivar, test_fraction: 0.3}
network:
  label: {kind: one-hot, amplitude: 1.0}
  blocks:
    - {layer: cavity, encoder: {kind: fitted-range, mix: orthogonal}, skip: true, units: 10}
training: {rule: phyll, schedule: cached, epochs: 20, batch: 20}
report: {baselines: [], page: false}
"""
TESTED = 18
"""Samples; accuracies may differ by one."""


@pytest.fixture
def experiment(desk: Path) -> str:
    """A third of the wines, so that the wires are not busy for long."""
    head, *rows = (desk / "wine.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    (desk / "wine.csv").write_text("".join([head, *rows[::3]]), encoding="utf-8")
    (desk / "wine.yaml").write_text(EXPERIMENT, encoding="utf-8")
    return "wine.yaml"


def write_rig(file: Path, instruments: dict[str, Any], layer: dict[str, Any], **more: str) -> None:
    rig = {"schema": "labctl/rig/1", "name": file.stem, **more, "instruments": instruments, "layers": {"cavity": layer}}
    file.write_text(yaml.safe_dump(rig, sort_keys=False), encoding="utf-8")


def run_on_both(labctl: "Labctl", experiment: str) -> tuple[LogReader, LogReader]:
    """Run it on computed.yaml and on wired.yaml; return their logs when accuracies agree."""
    accuracies = [
        labctl("run", experiment, "--rig", rig, "--json").json["accuracy"] for rig in ("computed.yaml", "wired.yaml")
    ]
    assert abs(accuracies[0] - accuracies[1]) <= 1.001 / TESTED
    computed, wired = (LogReader(folder / "run.sqlite") for folder in labctl.runs())
    return computed, wired


@pytest.mark.skipif(shutil.which("jackd") is None, reason="needs jackd")
def test_sound_over_the_wire_is_the_sound_computed(labctl: "Labctl", desk: Path, experiment: str) -> None:
    """What the box answers passes JACK as 32-bit samples, and nothing is lost or added."""
    layer = {"kind": "acoustic", **audio_bench.LAYER}
    write_rig(
        desk / "computed.yaml",
        {"interface": {"driver": "audio.simulated", **audio_bench.BOX}},
        layer,
        time_scale="instant",
    )
    with audio_bench.wired() as bench:
        interface = {"driver": "audio.portaudio", **bench.settings, "simulated": True}
        write_rig(desk / "wired.yaml", {"interface": interface}, layer)
        computed, wired = run_on_both(labctl, experiment)
    with computed, wired:
        ours, theirs = wired.rows(0, 10_000), computed.rows(0, 10_000)
    assert len(ours.ids) == 3 * 60
    np.testing.assert_array_equal(ours.drives, theirs.drives)
    np.testing.assert_allclose(ours.values, theirs.values, rtol=0, atol=1e-5 * np.abs(theirs.values).max())


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="a virtual display needs Linux or macOS")
def test_light_over_the_wire_is_the_light_computed(labctl: "Labctl", desk: Path, experiment: str) -> None:
    """A camera counts in whole numbers: there is nothing to be rounded, so the runs are the same to the count."""
    write_rig(desk / "computed.yaml", {}, {"kind": "simulated-optics", **optical_bench.PHYSICS}, time_scale="instant")
    with optical_bench.served() as (_, _, instruments):
        write_rig(desk / "wired.yaml", instruments, {"kind": "optical", **optical_bench.LAYER, "overlap": False})
        computed, wired = run_on_both(labctl, experiment)
    with computed, wired:
        ours, theirs = wired.rows(0, 10_000), computed.rows(0, 10_000)
    assert len(ours.ids) == 3 * 60
    np.testing.assert_array_equal(ours.drives, theirs.drives)
    np.testing.assert_array_equal(ours.values, theirs.values)
