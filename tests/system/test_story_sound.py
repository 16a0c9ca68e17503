"""She rehearses an acoustic experiment on a virtual sound card before she turns the amplifiers on."""

import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from labctl.config.examples import examples_folder

if TYPE_CHECKING:
    from .conftest import Labctl

EXPERIMENT = """\
schema: labctl/experiment/1
name: wine
rig: acoustic_portaudio.yaml
seed: 7
data: {source: csv, path: wine.csv, label: cultivar, test_fraction: 0.1}
network:
  label: {kind: one-hot, amplitude: 1.0}
  blocks:
    - {layer: cavity, encoder: {kind: fitted-range, mix: orthogonal}, skip: true, units: 10}
training: {rule: phyll, schedule: cached, epochs: 2, batch: 20}
report: {baselines: []}
"""

pytestmark = pytest.mark.skipif(shutil.which("jackd") is None, reason="needs jackd")


def test_an_experiment_runs_over_the_virtual_interface(labctl: "Labctl", desk: Path) -> None:
    text = (examples_folder() / "rigs" / "acoustic_portaudio.yaml").read_text(encoding="utf-8")
    for old, new in {"150 ms": "20 ms", "gap: 100 ms": "gap: 20 ms", "48 kHz": "16 kHz"}.items():
        assert text.count(old) == 1
        text = text.replace(old, new)
    (desk / "acoustic_portaudio.yaml").write_text(text, encoding="utf-8")
    (desk / "sound.yaml").write_text(EXPERIMENT, encoding="utf-8")
    head, *rows = (desk / "wine.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    (desk / "wine.csv").write_text("".join([head, *rows[::6]]), encoding="utf-8")
    going = labctl.start("simulate", "acoustic_portaudio.yaml")
    assert going.process.stdout is not None
    assert any("Ctrl-C ends" in line for line in going.process.stdout)
    result = labctl("run", "sound.yaml", "--rig", "acoustic_portaudio-simulated.yaml", "--json").json
    assert result["passes"] == 3 * 30
    said = labctl("calibrate", "acoustic_portaudio-simulated.yaml").out
    assert "latency: 256.000 samples" in said
    assert "carry-over:" in said
    assert len(list(desk.glob("*-acoustic-portaudio-*.json"))) == 2
    going.send(signal.SIGTERM)
    going.ends(0)
