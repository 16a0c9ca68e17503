"""Before the real chamber runs overnight she rehearses a bad night on its simulator."""

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from .conftest import Labctl, Tree

ALL_PASSES = 3 * (134 + 44)

ACOUSTIC = """\
schema: labctl/rig/1
name: desk
time_scale: instant
instruments:
  interface:
    driver: audio.simulated
    samplerate: 8 kHz
    speakers: {{north: {{max_level: -12 dBFS}}, east: {{max_level: -12 dBFS}}, south: {{max_level: -12 dBFS}}}}
    microphones: [mic-a, mic-b, mic-c]
    box: {{length: 1.0 m, width: 0.8 m, height: 0.6 m, absorption: 0.5, temperature: 20 °C}}
    noise: {noise}
    seed: 1
    {faults}
layers:
  cavity:
    kind: acoustic
    interface: interface
    tones: [200 Hz, 300 Hz, 400 Hz, 500 Hz, 600 Hz, 700 Hz, 800 Hz]
    settle: 40 ms
    window: 100 ms
    gap: 60 ms
    polarity: signed
"""

MICROWAVE = """\
schema: labctl/rig/1
name: cave
time_scale: instant
instruments:
  box:
    driver: microwave.simulated
    box: {{length: 0.6 m, width: 0.45 m, height: 20 mm, quality: 200, posts: 6}}
    elements: {{count: 16}}
    vna: {noise}
    seed: 1
layers:
  cavity:
    kind: simulated-microwave
    cavity: box
    frequencies: {{start: 3.1 GHz, stop: 3.5 GHz, points: 8}}
    pass: 50 ms
    {faults}
"""

OPTICS = """\
schema: labctl/rig/1
name: bench
time_scale: instant
layers:
  cavity:
    kind: simulated-optics
    modulator: {{modulation: {{kind: amplitude}}}}
    medium: {{kind: gaussian, inputs: 24, outputs: 24, seed: 1}}
    camera: {{bits: 12, noise: {noise}, max_saturated: 0.5}}
    drift: 0.01
    pass: 60 ms
    seed: 1
    {faults}
"""

FRAMES = ("clipped", "xrun", "stale", "overload", "failed")

SYSTEMS = {  # rig, encoder, its noise and none, the kinds of fault that mark a row
    "acoustic": (ACOUSTIC, "fitted-range", "-60 dBFS", "-2000 dBFS", ("clipped", "xrun")),
    "microwave": (MICROWAVE, "two-bit", "{noise_floor: -60 dB}", "null", FRAMES),
    "optics": (OPTICS, "fitted-range", "0.01", "0.0", FRAMES),
}


def lay(desk: Path, system: str, *, noisy: bool, faults: str = "") -> None:
    """Put a system on the desk, with faults as written in its rig file."""
    rig, encoder, noise, none, _ = SYSTEMS[system]
    (desk / "desk.yaml").write_text(rig.format(noise=noise if noisy else none, faults=faults), encoding="utf-8")
    text = (desk / "wine.yaml").read_text(encoding="utf-8")
    (desk / "wine.yaml").write_text(text.replace("kind: fitted-range", f"kind: {encoder}"), encoding="utf-8")


def a_bad_night(system: str) -> str:
    """Every kind of row that can go wrong there, often; and rows that come late."""
    kinds = [f"{{kind: {kind}, rate: 0.03}}" for kind in SYSTEMS[system][-1]]
    return f"faults: {{seed: 2, list: [{', '.join(kinds)}, {{kind: delay, rate: 0.1, delay: 5 min}}]}}"


def weights(run: Path) -> Mapping[str, np.ndarray]:
    """Return every array of a run's model."""
    with np.load(run / "model" / "model.npz") as arrays:
        return {name: arrays[name] for name in arrays.files}


def pairs(run: Path) -> dict[int, tuple[int, int, bytes, bytes]]:
    """Return sample, label, drive and response of every good pass by its id; an id has one."""
    with sqlite3.connect(run / "run.sqlite") as log:
        rows = log.execute("SELECT id, sample, label, drive, response FROM passes WHERE status = 0").fetchall()
    assert len({row[0] for row in rows}) == len(rows)
    return {row[0]: row[1:] for row in rows}


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_bad_night_teaches_the_same(labctl: "Labctl", desk: Path, system: str) -> None:
    """Without noise a pass repeated gives the same number: if one wrong pair were learnt, the weights would tell."""
    lay(desk, system, noisy=False)
    calm = labctl("run", "wine.yaml", "--json").json
    assert calm["passes"] == ALL_PASSES
    lay(desk, system, noisy=False, faults=a_bad_night(system))
    bad = labctl("run", "wine.yaml", "--json").json
    assert bad["passes"] > ALL_PASSES + 10
    first, second = (Path(desk / result["run"]) for result in (calm, bad))
    assert pairs(first) == pairs(second)
    before, after = weights(first), weights(second)
    assert before.keys() == after.keys()
    for name, array in before.items():
        assert array.tobytes() == after[name].tobytes(), name
    assert "equal bit for bit, test scores too" in labctl.quick("runs", "verify", second).out


@pytest.mark.parametrize("system", SYSTEMS)
def test_an_instrument_that_fails_on_a_noisy_bad_night(labctl: "Labctl", desk: Path, system: str) -> None:
    """With noise a repeat is another number, but the record says which was learnt from. And at pass 300 all is over."""
    faults = a_bad_night(system).replace("list: [", "list: [{kind: error, rows: [300]}, ")
    lay(desk, system, noisy=True, faults=faults)
    rig = desk / "desk.yaml"
    rig.write_text(f"{rig.read_text(encoding='utf-8')}recovery: {{attempts: 0}}\n", encoding="utf-8")
    answer = labctl("run", "wine.yaml", code=3)
    (run,) = labctl.runs()
    name = {"acoustic": "interface: the interface dropped out, as was planned during burst 300"}
    said = answer.err.splitlines()[-1]
    assert said.startswith(f"labctl: {name.get(system, 'cavity: a fault was planned here during row 300')}"), said
    assert said.endswith(f"go on afterwards with: labctl resume runs/{run.name}")
    labctl("resume", "latest")
    good = pairs(run)
    assert sorted(good) == list(range(ALL_PASSES))
    shown = labctl.quick("runs", "show", "latest").out
    assert all(f"  {kind}: " in shown for kind in SYSTEMS[system][-1]), shown
    assert "equal bit for bit, test scores too" in labctl.quick("runs", "verify", "latest").out


def test_faults_that_make_no_sense(labctl: "Labctl", desk: Path, tree_of: "Tree") -> None:
    """A slip in the plan is found as anywhere else."""
    lay(desk, "acoustic", noisy=True, faults="faults: {list: [{kind: stale, rate: 0.1}]}")
    before = tree_of(desk)
    said = labctl.quick("run", "wine.yaml", code=2).err
    assert said == (
        "desk.yaml:13:28: a sound card has no faults of kind stale; expected one of clipped, xrun, error, delay\n"
    )
    lay(desk, "optics", noisy=True, faults="faults: {list: [{kind: stale, rate: 0.1, rows: [3]}]}")
    assert "desk.yaml:13:21: name the `rows`" in labctl.quick("validate", "wine.yaml", code=2).err
    (desk / "desk.yaml").unlink()
    assert set(before) - set(tree_of(desk)) == {"desk.yaml"}
