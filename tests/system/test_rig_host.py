"""Power stays on behind a network cable whoever dies. A rig that has such instruments is driven by a host."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.moments import moments

if TYPE_CHECKING:
    from .conftest import Going, Labctl

DRIVERS = Path(__file__).parents[1] / "fixtures" / "drivers"
SAFE_WITHIN_S = 2.0
PATIENCE_S = 120.0
ALL_PASSES = 3 * (134 + 44)
IN_ORDER = ["OUTP OFF", "PATT rest", "TELL safe"]


@pytest.fixture(scope="module")
def rf_bench() -> Iterator[Any]:
    """The bench's driver package, here as in every command."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(sys, "path", [str(DRIVERS), *sys.path])
        path = filter(None, [str(DRIVERS), os.environ.get("PYTHONPATH")])
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))
        import rf_bench  # pyright: ignore[reportMissingImports]

        yield rf_bench
    del sys.modules["rf_bench"]


@pytest.fixture
def bench(rf_bench: Any, desk: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """Source, surface and interlock in a process of their own; desk.yaml names them, a pass takes 5 ms."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    command = [sys.executable, str(DRIVERS / "rf_bench.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stdin is not None
        bench = rf_bench.Bench(*map(int, server.stdout.readline().split()))
        lay(bench, desk, "5 ms")
        yield bench
        bench.close()
        server.stdin.close()


def lay(bench: Any, desk: Path, pass_: str) -> None:
    (desk / "desk.yaml").write_text(bench.rig(f", inputs: 21, outputs: 21, pass: {pass_}"), encoding="utf-8")


def until(reached: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not reached():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def is_off_in_time(bench: Any, since_s: float) -> None:
    state = bench.ask()
    assert state["rf"] is False
    assert state["turned_off_s"] - since_s < SAFE_WITHIN_S


def is_made_safe(bench: Any, *, in_order: bool = True) -> None:
    """Wait until all is safe; a link that comes back in mid-plan may let a later step be done before an earlier one."""
    until(lambda: bench.ask()["rf"] is False)
    until(lambda: {what for what, _ in bench.ask()["safe"]} == set(IN_ORDER))
    assert not in_order or [what for what, _ in bench.ask()["safe"]][:3] == IN_ORDER


def host_of(going: "Going") -> int:
    """Return the process id of the host that a command has started."""
    pid = going.process.pid
    (host,) = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()
    return int(host)


@pytest.mark.parametrize("moment", moments(2))
@pytest.mark.parametrize("fault", ["labctl killed", "labctl suspended", "host killed", "host hung", "cable out"])
def test_the_power_is_off_in_two_seconds(labctl: "Labctl", bench: Any, fault: str, moment: int) -> None:
    """It is three in the morning and something has died. Nobody is here to switch the source off."""
    going = labctl.start("run", "wine.yaml")
    going.until(lambda: bench.ask()["passes"] > 5)
    time.sleep(random.Random(f"{fault} {moment}").uniform(0.0, 0.5))
    going.until(lambda: bench.ask()["rf"])
    bench.ask("CLEAR")
    since_s = time.monotonic()
    if fault == "labctl killed":
        going.send(signal.SIGKILL)
    elif fault == "labctl suspended":
        going.send(signal.SIGSTOP)
    elif fault == "cable out":
        bench.ask("CUT 0.5")
    else:
        os.kill(host_of(going), signal.SIGKILL if fault == "host killed" else signal.SIGSTOP)
    is_made_safe(bench, in_order=fault != "cable out")
    if fault == "labctl suspended":
        going.send(signal.SIGCONT)
    answer = going.ends(-signal.SIGKILL if fault == "labctl killed" else 3)
    said = {
        "labctl killed": "",
        "labctl suspended": "the orchestrator has been silent for 1.",
        "host killed": "rig rf-bench: its host process has ended: the rig host ended before all was safe; done: source",
        "host hung": "rig rf-bench: its host process has ended: the rig host was not heard of for 1 s and was killed; ",
        "cable out": "the link was cut",
    }
    assert said[fault] in answer.err
    is_off_in_time(bench, since_s)
    if moment == 0:
        assert f"{ALL_PASSES} passes" in labctl("resume", "latest").out
        assert bench.ask()["rf"] is False
        assert "equal bit for bit" in labctl.quick("runs", "verify", "latest").out
    if moment == 0 and fault != "labctl killed":  # then also what was not on disk yet is lost
        assert bench.ask()["passes"] <= ALL_PASSES + 3  # measured ahead, or under way, when it happened


def test_ctrl_c_finishes_the_pass_and_goes_on_later(labctl: "Labctl", bench: Any, desk: Path) -> None:
    """I press Ctrl-C, which reaches every process of the terminal, and go home."""
    lay(bench, desk, "200 ms")
    going = labctl.start("run", "wine.yaml")
    going.until_passes(3)
    os.kill(host_of(going), signal.SIGINT)
    going.send(signal.SIGINT)
    answer = going.ends(5)
    assert "stopped; every pass is recorded" in answer.err
    kept = sum(labctl.quick("runs", "show", "latest", "--json").json["passes"].values())
    assert kept == bench.ask()["passes"]
    assert bench.ask()["rf"] is False
    resumed = labctl.start("resume", "latest")
    resumed.until(lambda: bench.ask()["passes"] > kept)
    resumed.send(signal.SIGTERM)
    assert f"{kept} passes are recorded" in resumed.ends(5).err


def test_ctrl_c_twice_does_not_wait_for_the_pass(labctl: "Labctl", bench: Any, desk: Path) -> None:
    """A sweep takes a quarter of an hour on this rig and something smells burnt."""
    lay(bench, desk, "900 s")
    going = labctl.start("run", "wine.yaml")
    going.until(lambda: bench.ask()["rf"])
    bench.ask("CLEAR")
    going.send(signal.SIGINT)
    time.sleep(0.3)  # two signals of one kind at once would be one
    since_s = time.monotonic()
    going.send(signal.SIGINT)
    is_made_safe(bench)
    assert "stopped at once; what is recorded is whole" in going.ends(130).err
    is_off_in_time(bench, since_s)


def test_two_people_at_one_bench(labctl: "Labctl", bench: Any, rf_bench: Any, desk: Path) -> None:
    """My colleague's run is using the source. I must not touch it, and I want to know that it is hers."""
    lay(bench, desk, "200 ms")  # hers must last until mine has been refused
    hers = labctl.start("run", "wine.yaml")
    hers.until_passes(5)
    bench.ask("CLEAR")
    mine = labctl("run", "wine.yaml", code=3)
    run = hers.newest_run().name
    assert labctl.runs() == [hers.newest_run()]
    assert f"is in use by process {hers.process.pid} of " in mine.err
    assert f"(run {run}, `labctl run wine.yaml` in {desk})" in mine.err
    assert "OUTP OFF" not in json.dumps(bench.ask()["safe"])
    hers.send(signal.SIGINT)
    hers.ends(5)


def test_a_trained_run_is_used_through_the_host(labctl: "Labctl", bench: Any) -> None:
    """Evaluating and predicting turn the power on and off as training does."""
    labctl("run", "wine.yaml", "--json")
    assert bench.ask()["rf"] is False
    passes = bench.ask()["passes"]
    assert "right)" in labctl("evaluate", "latest").out
    assert bench.ask()["passes"] == passes + 3 * 44
    assert bench.ask()["rf"] is False


def test_the_doctor_is_killed_while_it_looks(labctl: "Labctl", bench: Any, desk: Path) -> None:
    """It makes one pass on each layer, with the power on. I close the terminal in the middle of it."""
    assert labctl.quick("doctor", "desk.yaml").out.endswith("all is well with desk.yaml\n")
    assert bench.ask()["rf"] is False
    lay(bench, desk, "900 s")
    going = labctl.start("doctor", "desk.yaml")
    going.until(lambda: bench.ask()["rf"])
    bench.ask("CLEAR")
    since_s = time.monotonic()
    going.send(signal.SIGKILL)
    is_made_safe(bench)
    going.ends(-signal.SIGKILL)
    is_off_in_time(bench, since_s)


def test_the_doctor_does_not_touch_what_somebody_uses(labctl: "Labctl", bench: Any) -> None:
    """Her run is going. Asked how the bench is, labctl says that it is hers, and sends nothing."""
    hers = labctl.start("run", "wine.yaml")
    hers.until_passes(5)
    bench.ask("CLEAR")
    assert f"is in use by process {hers.process.pid} of " in labctl.quick("doctor", "desk.yaml", code=3).err
    assert "OUTP OFF" not in json.dumps(bench.ask()["safe"])
    hers.send(signal.SIGINT)
    hers.ends(5)
