"""Somebody at home is told what becomes of a run: that it waits, that it goes on again, that it has ended."""

import json
import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .conftest import Labctl

PATIENCE_S = 120.0
ALL_PASSES = 3 * (134 + 44)
DRIVERS = Path(__file__).parents[1] / "fixtures" / "drivers"
APPEND = "import sys; open('told', 'a').write(sys.stdin.read() + '\\n')"

BENCH = """\
schema: labctl/rig/1
name: bench
host: {{when: {host}}}
recovery: {{attempts: 1000, pause: 50 ms, longest_pause: 50 ms, not_ready: {{pause: 10 ms}}}}
interlocks: {{lid: {{command: [test, -e, closed], every: 100 ms, then: pause, longest_pause: 8 h}}}}
layers:
  cavity: {{kind: scripted, inputs: 21, outputs: 21, {script}}}
"""


@pytest.fixture(autouse=True)
def _driver_installed(labctl: "Labctl", monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [str(DRIVERS), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))


def bench(desk: Path, script: str, waiting_after: str, host: str = "needed") -> Path:
    """Lay out a bench with a lid, which is closed, and have whatever is told appended to the file `told`."""
    (desk / "desk.yaml").write_text(BENCH.format(script=script, host=host), encoding="utf-8")
    (desk / "closed").touch()
    told = json.dumps({"command": [sys.executable, "-c", APPEND], "waiting_after": waiting_after})
    experiment = desk / "wine.yaml"
    text = experiment.read_text(encoding="utf-8")
    experiment.write_text(f"{text}unattended: {{notify: {told}}}\n", encoding="utf-8")
    return desk


def told(desk: Path, least: int = 0) -> list[dict[str, Any]]:
    """Return what was told; wait until it is as much as `least`, as it is told by processes of their own."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        file = desk / "told"
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        if len(lines) >= least:
            return [json.loads(line) for line in lines]
        assert time.monotonic() < deadline, lines
        time.sleep(0.02)


def states(desk: Path, least: int) -> Counter[str]:
    """Return what was told in short."""
    return Counter(each["state"] for each in told(desk, least))


@pytest.mark.parametrize("host", ["needed", "always"])
def test_the_cable_falls_out_and_i_am_at_home(labctl: "Labctl", desk: Path, host: str) -> None:
    """I hear of it while something can be done about it: what it is and how long I have. And that it was of use."""
    bench(desk, "unplugged_at: 200", "300 ms", host)
    going = labctl.start("run", "wine.yaml")
    (waiting,) = told(desk, 1)
    assert going.process.poll() is None
    (run,) = labctl.runs()
    assert (waiting["run"], waiting["state"]) == (run.name, "waiting")
    assert waiting["reason"].startswith("cavity: the cable is unplugged during row 200; attempt ")
    assert 0 < waiting["longest_s"] <= 120
    assert waiting["do"].startswith("look after its power, its cables")
    (desk / "mended").touch()
    assert f"{ALL_PASSES} passes" in going.ends(0).out
    told_of = {each["state"]: each for each in told(desk, 3)}
    running, finished = told_of["running"], told_of["finished"]
    assert running["since"] >= waiting["since"]
    assert running["waited_s"] >= 0.3
    assert running["reason"].startswith("cavity: the cable is unplugged")
    assert finished.keys() == {"run", "host", "state", "reason", "accuracy"}
    assert "equal bit for bit" in labctl.quick("runs", "verify", "latest").out
    labctl("replay", "latest", "--set", "training.epochs=11", "--set", "unattended.notify.waiting_after=0 s")
    assert states(desk, 4) == {"waiting": 1, "running": 1, "finished": 2}, "of a replay its end alone"


def test_a_lid_is_left_open(labctl: "Labctl", desk: Path) -> None:
    """The message says which lid, and I may ring somebody up. When I stop the run instead I hear of nothing else."""
    bench(desk, "pass: 20 ms", "0 s")
    going = labctl.start("run", "wine.yaml")
    going.until_passes(20)
    (desk / "closed").unlink()
    (waiting,) = told(desk, 1)
    assert waiting["reason"].startswith("interlock lid ")
    assert waiting["longest_s"] == 8 * 3600
    assert "the run goes on by itself when it is content again" in waiting["do"]
    going.send(signal.SIGINT)
    going.ends(5)
    assert states(desk, 2) == {"waiting": 1, "stopped": 1}


def test_ctrl_c_in_a_short_wait(labctl: "Labctl", desk: Path) -> None:
    """I pulled the cable myself and end the run. That it had begun to wait is of no interest."""
    bench(desk, "unplugged_at: 200", "1 h")
    going = labctl.start("run", "wine.yaml")
    going.until(lambda: bool(labctl.runs()) and labctl.quick("status", "--json").json["state"] == "waiting")
    going.send(signal.SIGINT)
    going.ends(5)
    assert states(desk, 1) == {"stopped": 1}


def test_an_analyser_that_is_too_hot_again_and_again(labctl: "Labctl", desk: Path) -> None:
    """It cools down every time. I do not want to be woken up for each of them, and once is enough."""
    bench(desk, "hot: {50: 5, 100: 1, 150: 1, 200: 1, 250: 1, 300: 1, 350: 1}", "1 ms")
    labctl("run", "wine.yaml")
    assert states(desk, 3) == {"waiting": 1, "running": 1, "finished": 1}
    (waiting,) = (each for each in told(desk) if each["state"] == "waiting")
    assert "is 81 °C hot: let it cool" in waiting["reason"]
    assert waiting["do"].startswith("give it time")


def test_nothing_is_told_of_a_dry_run(labctl: "Labctl", desk: Path) -> None:
    """I only ask what it would cost."""
    bench(desk, "unplugged_at: 0", "0 s")
    labctl("run", "wine.yaml", "--dry-run")
    assert told(desk) == []


def test_what_a_time_to_be_told_after_may_be(labctl: "Labctl", desk: Path) -> None:
    """A slip of the pen must not silence the message."""
    bench(desk, "unplugged_at: 0", "5")
    assert "waiting_after" in labctl.quick("validate", "wine.yaml", code=2).err
