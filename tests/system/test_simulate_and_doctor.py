"""She prepares a bench with an analyser and a metasurface: first on virtual instruments, which then fail her."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from labctl.config.examples import examples_folder

if TYPE_CHECKING:
    from .conftest import Going, Labctl

BOX = """\
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
EXPERIMENT = """\
schema: labctl/experiment/1
name: wine
rig: pna.yaml
seed: 7
data: {source: csv, path: wine.csv, label: cultivar, test_fraction: 0.1}
network:
  label: {kind: one-hot, amplitude: 1.0}
  blocks:
    - {layer: cavity, encoder: two-bit, skip: true, units: 10}
training: {rule: phyll, schedule: cached, epochs: 3, batch: 20}
record: {commit_every: 20 ms}
report: {baselines: [], page: false}
"""

SAFE_WITHIN_S = 2.0
"""From the moment the process is gone until the power is off."""

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="pseudo-terminals need Linux or macOS")


@pytest.fixture
def bench(desk: Path) -> Path:
    """The shipped rig file of a PNA, on a small box with fewer elements and frequencies."""
    text = (examples_folder() / "rigs" / "microwave_keysight_pna.yaml").read_text(encoding="utf-8")
    for old, new in {"columns: 10": "columns: 8", "points: 20": "points: 4"}.items():
        assert text.count(old) == 1
        text = text.replace(old, new)
    (desk / "pna.yaml").write_text(text, encoding="utf-8")
    (desk / "box.yaml").write_text(BOX, encoding="utf-8")
    (desk / "wine.yaml").write_text(EXPERIMENT, encoding="utf-8")
    head, *rows = (desk / "wine.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    (desk / "wine.csv").write_text("".join([head, *rows[::3]]), encoding="utf-8")
    return desk


def simulating(labctl: "Labctl", bench: Path) -> "Going":
    """Start the virtual instruments and return when they are at their places."""
    copy = bench / "pna-simulated.yaml"
    before = copy.stat().st_mtime_ns if copy.exists() else 0
    going = labctl.start("simulate", "pna.yaml", "--cavity", "box.yaml")
    assert going.process.stdout is not None
    line = next(line for line in going.process.stdout if "Ctrl-C ends" in line)
    assert line.startswith("pna-simulated.yaml leads to them")
    assert copy.stat().st_mtime_ns > before
    return going


@pytest.fixture
def simulator(labctl: "Labctl", bench: Path) -> Iterator["Going"]:
    going = simulating(labctl, bench)
    yield going
    if going.process.poll() is None:
        going.send(signal.SIGTERM)
        going.ends(0)


def test_all_is_well_and_a_run_goes_through(labctl: "Labctl", bench: Path, simulator: "Going") -> None:
    """Before I book time at the PNA I want to see the whole day once, on my own computer."""
    original = (bench / "pna.yaml").read_bytes()
    report = labctl.quick("doctor", "pna-simulated.yaml", "--json").json
    assert report["well"]
    assert report["simulated"]
    parts = {part["name"]: {each["subject"]: each["text"] for each in part["findings"]} for part in report["parts"]}
    assert "VIRTUAL" in parts["vna"]["identity"]
    assert parts["vna"]["error queue"] == "empty"
    assert parts["vna"]["correction"] == "virtual_2port"
    assert parts["surface"]["read-back"] == "every pattern is read back"
    assert parts["cavity"]["reference pass"].startswith("4 responses from ")
    result = labctl("run", "wine.yaml", "--rig", "pna-simulated.yaml", "--json").json
    (folder,) = labctl.runs()
    assert result["passes"] == 3 * 60
    shown = labctl.quick("runs", "show", "latest", "--json").json
    assert json.dumps(shown).count('"simulated": true') >= 1
    assert "verified" in labctl.quick("runs", "verify", folder.name).out
    assert (bench / "pna.yaml").read_bytes() == original


def test_the_contract_suite_over_the_rig(labctl: "Labctl", bench: Path, simulator: "Going") -> None:
    """I changed a driver. Does every layer of the rig still keep what a run relies on?"""
    suite = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--pyargs", "labctl.testing"]
    for rig, code, says in (
        ("pna-simulated.yaml", 0, "21 passed"),
        ("pna-simulate.yaml", 2, 'no such file; did you mean "pna-simulated.yaml"?'),
    ):
        variables = {**labctl.variables(), "LABCTL_RIG": rig}
        done = subprocess.run(suite, cwd=bench, env=variables, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stdout
        assert says in done.stdout + done.stderr
    assert not power_is_on(bench)


def test_power_goes_off_when_the_run_is_killed(labctl: "Labctl", bench: Path, simulator: "Going") -> None:
    """The computer's memory ran out at three in the morning. The analyser must not have gone on radiating."""
    going = labctl.start("run", "wine.yaml", "--rig", "pna-simulated.yaml", "--json")
    going.until_passes(5)
    assert power_is_on(bench)
    going.process.kill()
    deadline_s = time.monotonic() + SAFE_WITHIN_S
    while power_is_on(bench):
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def power_is_on(bench: Path) -> bool:
    """Ask the analyser as somebody else on the network would."""
    rig = yaml.safe_load((bench / "pna-simulated.yaml").read_text(encoding="utf-8"))
    host, port = rig["instruments"]["vna"]["address"].split("::")[1:3]
    with socket.create_connection((host, int(port)), 5) as analyser:
        analyser.sendall(b"OUTP?\n")
        return analyser.recv(64).strip() == b"1"


def test_instruments_that_vanish_and_come_back(labctl: "Labctl", bench: Path, simulator: "Going") -> None:
    """Somebody pulls the plug in the middle. I want to be told what to do, and to lose nothing."""
    going = labctl.start("run", "wine.yaml", "--rig", "pna-simulated.yaml", "--json")
    before = going.until_passes(10)
    simulator.send(signal.SIGTERM)
    simulator.ends(0)
    said = going.ends(3).err
    assert "go on afterwards with: labctl resume" in said
    sick = labctl.quick("doctor", "pna-simulated.yaml", code=3).out
    assert "instrument vna\n! open: nothing accepts a connection" in sick
    assert "instrument surface\n! open: cannot open" in sick
    assert sick.count("is `labctl simulate` still running?") == 2
    assert "layer cavity\n! not tried: it needs surface, vna" in sick
    again = simulating(labctl, bench)
    result = labctl("resume", "latest", "--json").json
    assert result["passes"] >= 3 * 60 > before
    again.send(signal.SIGTERM)
    again.ends(0)


def test_what_cannot_be_simulated_is_said_at_its_line(labctl: "Labctl", bench: Path) -> None:
    """I gave it the wrong box, and then a file of mine as the copy."""
    (bench / "large.yaml").write_text(BOX.replace("count: 32", "count: 20"), encoding="utf-8")
    said = labctl.quick("simulate", "pna.yaml", "--cavity", "large.yaml", code=2).err
    assert said.startswith("pna.yaml:20:11: 32 elements of 2 levels, but the simulated cavity has 20 of 2; ")
    said = labctl.quick("simulate", "pna.yaml", "--cavity", "box.yaml", "--write", "wine.yaml", code=2).err
    assert "wine.yaml exists and was not written by labctl simulate" in said
    said = labctl.quick("simulate", "desk.yaml", code=2).err
    assert said.startswith("desk.yaml:6:3: none of these has a virtual counterpart")
    assert not (bench / "pna-simulated.yaml").exists()


def test_a_bench_without_addresses_is_well_too(labctl: "Labctl", bench: Path) -> None:
    """The simulated cavity is a rig like any other."""
    said = labctl.quick("doctor", "box.yaml").out
    assert "layer cavity\n  reference pass: 4 responses from " in said
    assert said.endswith("all is well with box.yaml\n")


def test_an_instrument_that_is_not_there_is_named_with_the_line_of_its_address(labctl: "Labctl", bench: Path) -> None:
    """The PNA is off, and so is the surface. I want to hear of both, not of one after the other."""
    text = (bench / "pna.yaml").read_text(encoding="utf-8").replace("192.168.0.10::5025", "127.0.0.1::9")
    (bench / "pna.yaml").write_text(text, encoding="utf-8")
    said = labctl.quick("doctor", "pna.yaml", code=3).out
    assert "is TCPIP::127.0.0.1::9::SOCKET right (pna.yaml:9:14)?" in said
    assert "is ASRL/dev/ttyUSB0::INSTR right (pna.yaml:18:14)?" in said
    assert said.endswith("not well: vna, surface, cavity\n")
