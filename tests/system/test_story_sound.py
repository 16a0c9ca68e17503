"""She rehearses an acoustic experiment on a virtual sound card before she turns the amplifiers on."""

import os
import shutil
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from labctl.config.examples import examples_folder
from tests.wire import audio_bench

if TYPE_CHECKING:
    from .conftest import Labctl

SAFE_WITHIN_S = 2.0
"""From the moment the process is gone until the amplifiers have no power."""

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


@pytest.mark.parametrize("victim", ["labctl", "host"])
def test_amplifiers_lose_their_power_when_the_run_is_killed(labctl: "Labctl", desk: Path, victim: str) -> None:
    """Whatever the interface plays when nobody drives it, hum or worse, the loudspeakers stay silent."""
    (desk / "sound.yaml").write_text(EXPERIMENT.replace("acoustic_portaudio", "sound-rig"), encoding="utf-8")
    with audio_bench.wired(amplifier=True) as bench:
        rig = {
            "schema": "labctl/rig/1",
            "name": "sound-rig",
            "instruments": {
                "interface": {"driver": "audio.portaudio", **bench.settings, "simulated": True},
                "amplifier": {"driver": "amplifier.serial", **bench.amplifier_settings},
            },
            "layers": {"cavity": {"kind": "acoustic", **audio_bench.LAYER, "amplifier": "amplifier"}},
        }
        (desk / "sound-rig.yaml").write_text(yaml.safe_dump(rig, sort_keys=False), encoding="utf-8")
        amplifier = bench.bench.amplifier
        assert amplifier is not None
        going = labctl.start("run", "sound.yaml", "--json")
        going.until_passes(20)
        assert amplifier.is_on
        number = going.process.pid
        if victim == "host":
            number = int(Path(f"/proc/{number}/task/{number}/children").read_text(encoding="utf-8").split()[0])
        killed_s = time.monotonic()
        os.kill(number, signal.SIGKILL)
        while amplifier.is_on:
            assert time.monotonic() < killed_s + 10 * SAFE_WITHIN_S
            time.sleep(0.01)
        assert amplifier.changes[-1][0] - killed_s < SAFE_WITHIN_S
