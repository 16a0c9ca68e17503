"""She has a modulator on a second display, a camera and a shutter, and first tries everything without light."""

import json
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from labctl_simulators.instruments.serial_switch import VirtualSwitch

from tests.moments import moments
from tests.wire.optical_bench import LAYER, served

if TYPE_CHECKING:
    from .conftest import Labctl

EXPERIMENT = """\
schema: labctl/experiment/1
name: wine
rig: optics.yaml
seed: 7
data: {source: csv, path: wine.csv, label: cultivar, test_fraction: 0.1}
network:
  label: {kind: one-hot, amplitude: 1.0}
  blocks:
    - {layer: bench, encoder: {kind: fitted-range, mix: orthogonal}, skip: true, units: 20}
training: {rule: phyll, schedule: cached, epochs: 3, batch: 20}
record: {commit_every: 20 ms}
report: {baselines: [], page: false}
"""

SAFE_WITHIN_S = 2.0
"""From the moment the process is gone until it is dark."""

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="a virtual display needs Linux or macOS")


@pytest.fixture
def shutter(desk: Path) -> Iterator[VirtualSwitch]:
    """An optical bench and its rig file on her desk; the shutter tells whether there is light."""
    with served() as (virtual, _, instruments):
        layers = {"bench": {"kind": "optical", **LAYER, "overlap": False}}
        rig: dict[str, Any] = {"schema": "labctl/rig/1", "name": "optics", "instruments": instruments, "layers": layers}
        (desk / "optics.yaml").write_text(yaml.safe_dump(rig, sort_keys=False), encoding="utf-8")
        (desk / "wine.yaml").write_text(EXPERIMENT, encoding="utf-8")
        head, *rows = (desk / "wine.csv").read_text(encoding="utf-8").splitlines(keepends=True)
        (desk / "wine.csv").write_text("".join([head, *rows[::3]]), encoding="utf-8")
        assert virtual.shutter is not None
        yield virtual.shutter


def test_a_run_goes_through_and_leaves_the_bench_dark(labctl: "Labctl", shutter: VirtualSwitch) -> None:
    """I leave it alone over lunch, and want to find the shutter closed."""
    result = labctl("run", "wine.yaml", "--json").json
    (folder,) = labctl.runs()
    assert result["passes"] >= 3 * 60
    assert not shutter.is_on
    assert any(on for _, on in shutter.changes)
    shown = labctl.quick("runs", "show", "latest", "--json").json
    assert json.dumps(shown).count('"simulated": true') >= 1
    assert "verified" in labctl.quick("runs", "verify", folder.name).out


@pytest.mark.parametrize("moment", moments(1))
@pytest.mark.parametrize("how", ["SIGKILL", "SIGSTOP"])
@pytest.mark.parametrize("victim", ["labctl", "host"])
def test_it_is_dark_when_the_run_is_killed_or_hangs(
    labctl: "Labctl", shutter: VirtualSwitch, victim: str, how: str, moment: int
) -> None:
    """The computer's memory ran out at three in the morning. The laser must not have gone on."""
    going = labctl.start("run", "wine.yaml", "--json")
    going.until_passes(5)
    time.sleep(random.Random(f"{victim} {how} {moment}").uniform(0.0, 0.5))
    assert shutter.is_on
    number = going.process.pid
    if victim == "host":
        number = int(Path(f"/proc/{number}/task/{number}/children").read_text(encoding="utf-8").split()[0])
    killed_s = time.monotonic()
    os.kill(number, getattr(signal, how))
    while shutter.is_on:
        assert time.monotonic() < killed_s + 10 * SAFE_WITHIN_S
        time.sleep(0.01)
    assert shutter.changes[-1][0] - killed_s < SAFE_WITHIN_S


def test_she_calibrates_and_the_next_run_knows(labctl: "Labctl", desk: Path, shutter: VirtualSwitch) -> None:
    """She lets the bench find out how long a pattern takes, names the file, and finds the shutter closed."""
    parts = labctl("calibrate", "optics.yaml", "--json").json["parts"]
    assert set(parts["bench"]) == {"file", "findings"}
    assert not shutter.is_on
    measured = json.loads((desk / parts["bench"]["file"]).read_text(encoding="utf-8"))["quantities"]
    assert measured["settle"]["unit"] == "s"
    calibrated = f"rig.layers.bench.calibration={parts['bench']['file']}"
    assert labctl("run", "wine.yaml", "--json", "--set", calibrated).json["passes"] >= 3 * 60
