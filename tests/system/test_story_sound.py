"""She rehearses an acoustic experiment on a virtual sound card before she turns the amplifiers on."""

import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from labctl.config.examples import examples_folder
from tests.wire import audio_bench

if TYPE_CHECKING:
    from .conftest import Going, Labctl

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
report: {baselines: [], page: false}
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


@pytest.fixture
def bench(desk: Path) -> Iterator[audio_bench.Wired]:
    """A virtual interface with an amplifier, and its rig file on her desk."""
    with audio_bench.wired(amplifier=True) as wired:
        rig = {
            "schema": "labctl/rig/1",
            "name": "sound-rig",
            "instruments": {
                "interface": {"driver": "audio.portaudio", **wired.settings, "simulated": True},
                "amplifier": {"driver": "amplifier.serial", **wired.amplifier_settings},
            },
            "layers": {"cavity": {"kind": "acoustic", **audio_bench.LAYER, "amplifier": "amplifier"}},
        }
        (desk / "sound-rig.yaml").write_text(yaml.safe_dump(rig, sort_keys=False), encoding="utf-8")
        yield wired


def loses_power(bench: audio_bench.Wired, going: "Going", victim: str) -> bool:
    """Kill whom it is about; return whether the amplifiers are without power in time."""
    amplifier, number = bench.bench.amplifier, going.process.pid
    assert amplifier is not None
    going.until(lambda: amplifier.is_on)
    if victim == "host":
        number = int(Path(f"/proc/{number}/task/{number}/children").read_text(encoding="utf-8").split()[0])
    killed_s = time.monotonic()
    os.kill(number, signal.SIGKILL)
    while amplifier.is_on:
        assert time.monotonic() < killed_s + 10 * SAFE_WITHIN_S
        time.sleep(0.01)
    return amplifier.changes[-1][0] - killed_s < SAFE_WITHIN_S


@pytest.mark.parametrize("victim", ["labctl", "host"])
def test_amplifiers_lose_their_power_when_the_run_is_killed(
    labctl: "Labctl", desk: Path, bench: audio_bench.Wired, victim: str
) -> None:
    """Whatever the interface plays when nobody drives it, hum or worse, the loudspeakers stay silent."""
    (desk / "sound.yaml").write_text(EXPERIMENT.replace("acoustic_portaudio", "sound-rig"), encoding="utf-8")
    going = labctl.start("run", "sound.yaml", "--json")
    going.until_passes(20)
    assert loses_power(bench, going, victim)


def test_a_calibration_is_as_safe_as_a_run(labctl: "Labctl", desk: Path, bench: audio_bench.Wired) -> None:
    """She calibrates with the amplifiers turned up; they are off when it is done, and when it is killed."""
    said = labctl("calibrate", "sound-rig.yaml", "--only", "cavity").out
    assert "carry-over:" in said
    assert bench.bench.amplifier is not None
    assert [on for _, on in bench.bench.amplifier.changes] == [True, False]
    (file,) = desk.glob("*-sound-rig-cavity.json")
    labctl("validate", "sound-rig.yaml", "--set", f"layers.cavity.calibration={file.name}")
    assert loses_power(bench, labctl.start("calibrate", "sound-rig.yaml", "--set", "layers.cavity.gap=2 s"), "labctl")
