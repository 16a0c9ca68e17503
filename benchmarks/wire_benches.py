"""Benches to be cruel to: the three systems as virtual instruments on their wires, each with a small experiment.

`labctl simulate` serves them in a process of its own, at the same places whenever it is started again, and `labctl run`
reaches them as it reaches real ones.
"""

import csv
import os
import random
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import yaml

from benchmarks.harness import ROOT
from labctl.record.folder import LOG_NAME

LABCTL = (sys.executable, "-m", "labctl.cli")
SAMPLES = 36
TEST_SHARE = 1 / 6
LABELS = 3
EPOCHS = 60

EXPERIMENT = """\
schema: labctl/experiment/1
name: wine
rig: rig-simulated.yaml
seed: 7
data: {source: csv, path: wine.csv, label: cultivar, test_fraction: 6}
network:
  label: {kind: one-hot, amplitude: 1.0}
  blocks: [{layer: LAYER, encoder: ENCODER, skip: true, units: 60}]
training: {rule: phyll, schedule: cached, epochs: EPOCHS, batch: 10}
record: {commit_every: 20 ms}
report: {baselines: []}
"""

SMALL_BOX = """\
schema: labctl/rig/1
name: small-box
time_scale: instant
instruments:
  box:
    driver: microwave.simulated
    box: {length: 0.6 m, width: 0.45 m, height: 20 mm, quality: 200, posts: 6}
    elements: {count: 32}
    seed: 1
layers:
  cavity: {kind: simulated-microwave, cavity: box, frequencies: {start: 3.1 GHz, stop: 3.5 GHz, points: 4}, pass: 5 ms}
"""

OPTICS = """\
schema: labctl/rig/1
name: optics
instruments:
  slm: {driver: slm.window, size: [64, 50], position: [20, 10], refresh: 1 kHz, settle: 1 ms}
  camera:
    {driver: camera.basler, address: "0815-0000", region: {width: 48, height: 40}, exposure: 1 ms, start_delay: 4 ms}
  shutter: {driver: light.serial, address: "ASRL/dev/ttyUSB0::INSTR", on: OPEN, off: CLOSE, reply: OK}
layers:
  bench:
    kind: optical
    modulator: slm
    camera: camera
    light: shutter
    modulation: {kind: amplitude}
    inputs: {rows: 6, columns: 6}
    outputs: {rows: 6, columns: 6}
    max_saturated: 0.3
    overlap: false
"""

SMALL_MEDIUM = """\
schema: labctl/rig/1
name: small-medium
time_scale: instant
layers:
  medium:
    kind: simulated-optics
    modulator: {modulation: {kind: amplitude, typical_drive: 0.577}, fill: 0.95}
    medium: {kind: gaussian, inputs: 36, outputs: 36, seed: 3}
    camera: {exposure: 0.125, max_saturated: 0.3}
    seed: 1
    pass: 1 ms
"""


@dataclass(frozen=True)
class System:
    """A physical system: its rig file, what its virtual instruments measure, its layer, a pass and what that is."""

    name: str
    layer: str
    encoder: str
    pass_s: float
    does: str

    def lay(self, folder: Path) -> None:
        """Put its rig file, the physics if there is any, and an experiment with data into `folder`."""
        (folder / "rig.yaml").write_text(_rig(self.name), encoding="utf-8")
        physics = {"microwave": SMALL_BOX, "serial": SMALL_BOX, "optics": SMALL_MEDIUM}
        if self.name in physics:
            (folder / "physics.yaml").write_text(physics[self.name], encoding="utf-8")
        lay_experiment(folder, self.layer, self.encoder)


FITTED = "{kind: fitted-range, mix: orthogonal}"
MICROWAVE = System("microwave", "cavity", "two-bit", 0.01, "sweep")
SERIAL = System("serial", "cavity", "two-bit", 0.01, "sweep")
"""A small analyser and a metasurface, both on serial ports."""

ACOUSTICS = System("acoustics", "cavity", FITTED, 0.035, "burst")
OPTICS_BENCH = System("optics", "bench", FITTED, 0.02, "exposure")
SYSTEMS = (MICROWAVE, ACOUSTICS, OPTICS_BENCH)


def lay_experiment(folder: Path, layer: str, encoder: str = FITTED) -> None:
    """Put experiment and data into `folder`."""
    from sklearn.datasets import load_wine

    wine = cast("Any", load_wine())
    text = EXPERIMENT.replace("LAYER", layer).replace("ENCODER", encoder).replace("EPOCHS", str(EPOCHS))
    text = text.replace("test_fraction: 6", f"test_fraction: {TEST_SHARE:.3f}")
    (folder / "wine.yaml").write_text(text, encoding="utf-8")
    chosen = random.Random(0).sample(range(len(wine.target)), SAMPLES)
    with (folder / "wine.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow([*wine.feature_names, "cultivar"])
        table.writerows([*wine.data[row].tolist(), f"cultivar-{wine.target[row]}"] for row in chosen)


@contextmanager
def on_the_wire(system: System, folder: Path) -> Generator["subprocess.Popen[str]"]:
    """Lay `system` into `folder` and serve its virtual instruments; rig-simulated.yaml leads to them."""
    system.lay(folder)
    server = serve(folder)
    try:
        yield server
    finally:
        end(server)


def serve(folder: Path) -> "subprocess.Popen[str]":
    """Start the virtual instruments of the rig laid into `folder`, where they were before; return when they answer."""
    physics = ("--physics", "physics.yaml") if (folder / "physics.yaml").exists() else ()
    server = start(folder, "simulate", "rig.yaml", *physics, stdout=subprocess.PIPE)
    assert server.stdout is not None
    if not any("Ctrl-C ends" in line for line in server.stdout):
        raise RuntimeError(f"the virtual instruments of {folder} ended with code {server.wait()}")
    return server


def end(process: "subprocess.Popen[str]") -> None:
    """End a process that may have ended."""
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def start(
    folder: Path,
    *arguments: str,
    stdout: int = subprocess.DEVNULL,
    prefix: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> "subprocess.Popen[str]":
    """Start a labctl command in `folder`, behind `prefix`; what it says to people is added to said.txt."""
    variables = {**os.environ, "NO_COLOR": "1", "XDG_STATE_HOME": str(folder / "state"), **(environment or {})}
    with (folder / "said.txt").open("a", encoding="utf-8") as said:
        return subprocess.Popen(
            [*prefix, *LABCTL, *arguments], cwd=folder, env=variables, stdout=stdout, stderr=said, text=True
        )


def newest_run(folder: Path) -> Path | None:
    """Return the newest run begun in `folder`; one without a log was killed before it began."""
    return max((log.parent for log in folder.glob(f"runs/[0-9]*/{LOG_NAME}")), default=None)


ANALYSERS = {"microwave": "keysight_pna", "serial": "nanovna_v2"}


def _rig(name: str) -> str:
    examples = ROOT / "configs" / "rigs"
    if name == "optics":
        return OPTICS
    if name in ANALYSERS:
        text = (examples / f"microwave_{ANALYSERS[name]}.yaml").read_text(encoding="utf-8")
        return _changed(text, {"columns: 10": "columns: 8", "points: 20}": "points: 4}"})
    text = (examples / "acoustic_portaudio.yaml").read_text(encoding="utf-8")
    times = {"settle: 150 ms": "settle: 10 ms", "window: 200 ms": "window: 20 ms", "gap: 100 ms": "gap: 5 ms"}
    rig: Any = yaml.safe_load(_changed(text, {**times, "samplerate: 48 kHz": "samplerate: 16 kHz"}))
    rig["layers"]["cavity"]["tones"] = ["200 Hz", "450 Hz", "700 Hz", "950 Hz"]
    return yaml.safe_dump(rig, sort_keys=False)


def _changed(text: str, changes: dict[str, str]) -> str:
    for old, new in changes.items():
        if text.count(old) != 1:
            raise ValueError(f"the shipped rig file does not say '{old}' once")
        text = text.replace(old, new)
    return text
