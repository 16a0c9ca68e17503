"""A run that nobody looks at: it keeps to its limits, says where it stands, and can be ended from elsewhere."""

import json
import os
import shutil
import signal
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .conftest import Labctl

ALL_PASSES = 3 * (134 + 44)


@pytest.fixture
def slow(desk: Path) -> Path:
    """A rig on which a pass takes 10 ms, so that a run can be caught in the middle."""
    return replaced(desk / "desk.yaml", "time_scale: instant", "time_scale: 20")


def replaced(file: Path, old: str, new: str) -> Path:
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")
    return file


def status(labctl: "Labctl") -> dict[str, Any]:
    return labctl.quick("status", "--json").json


def test_ended_from_another_terminal(labctl: "Labctl", slow: Path) -> None:
    """I am at home; the run goes on in a terminal in the lab. I ask how far it is, end it, and later it goes on."""
    going = labctl.start("run", "wine.yaml")
    going.until_passes(20)
    (run,) = labctl.runs()
    told = labctl("status")
    assert told.out.startswith(f"{run.name}: running, process {going.process.pid} on ")
    assert f"/{ALL_PASSES}  hardware time left" in told.out
    asked = labctl("stop", "latest")
    assert f"asked process {going.process.pid} on " in asked.err
    assert f"{run.name}: stopped (" in asked.out
    assert " asked to stop from " in asked.out
    ended = going.ends(5)
    assert " asked to stop from " in ended.err
    assert f"Go on with: labctl resume runs/{run.name}\n" in ended.err
    assert status(labctl)["state"] == "stopped"
    assert f"{ALL_PASSES} passes" in labctl("resume", "latest").out
    assert labctl.quick("status").out.startswith(f"{run.name}: finished\n")
    assert "equal bit for bit" in labctl.quick("runs", "verify", "latest").out


def test_ended_at_once_from_another_terminal(labctl: "Labctl", slow: Path) -> None:
    """A pass takes five seconds on this rig and something smells burnt, and I am not there."""
    replaced(slow, "time_scale: 20", "time_scale: 0.04")
    going = labctl.start("run", "wine.yaml")
    going.until(lambda: status(labctl)["state"] == "running" if labctl.runs() else False)
    labctl("stop", "--at-once")
    assert "stopped at once; what is recorded is whole" in going.ends(130).err
    assert status(labctl)["state"] == "stopped"


def test_ending_what_does_not_run(labctl: "Labctl", run: Path) -> None:
    """I mistook the run. Nothing must be asked of anybody, and I want to see that it had finished."""
    answer = labctl.quick("stop", run.name, code=2)
    assert f"nothing is running there: {run.name}: finished" in answer.err
    assert not list(run.glob("stop-request*"))


def test_where_does_a_killed_run_stand(labctl: "Labctl", slow: Path) -> None:
    """The power went. The record still says that a process writes it; labctl must know that it is gone."""
    going = labctl.start("run", "wine.yaml")
    going.until_passes(20)
    going.send(signal.SIGKILL)
    going.ends(-signal.SIGKILL)
    told = labctl.quick("status").out
    assert f": crashed (process {going.process.pid} on " in told
    assert f"go on with: labctl resume runs/{labctl.runs()[0].name}\n" in told
    assert "nothing is running there" in labctl.quick("stop", code=2).err


def test_a_request_from_yesterday_ends_nothing(labctl: "Labctl", slow: Path) -> None:
    """Somebody had asked just as the run crashed. The run that goes on today must not heed that."""
    going = labctl.start("run", "wine.yaml")
    going.until_passes(20)
    going.send(signal.SIGKILL)
    going.ends(-signal.SIGKILL)
    request = {"user": "ada", "host": "bench", "at": "2026-01-01T00:00:00+00:00", "at_once": True}
    (labctl.runs()[0] / "stop-request.json").write_text(json.dumps(request), encoding="utf-8")
    assert f"{ALL_PASSES} passes" in labctl("resume", "latest").out


def test_a_night_has_so_many_hours(labctl: "Labctl", slow: Path) -> None:
    """At eight the bench is needed. The run must have stopped by then, and go on the next night."""
    answer = labctl("run", "wine.yaml", "--time-limit", "1 s", code=5)
    assert "stopped, as the time limit of 1 s is reached; every pass is recorded. Go on with: " in answer.err
    assert status(labctl)["reason"] == "the time limit of 1 s is reached"
    assert "the time limit of 1 s is reached" in (labctl.runs()[0] / "run.log").read_text(encoding="utf-8")
    assert f"{ALL_PASSES} passes" in labctl("resume", "latest").out


def test_a_lamp_has_so_many_passes(labctl: "Labctl", desk: Path) -> None:
    """The experiment allows a hundred passes a session; every `resume` is one. The result is that of one go."""
    limit = replaced(desk / "wine.yaml", "report: {", "unattended: {pass_limit: 100}\nreport: {")
    answer = labctl("run", limit.name, code=5)
    assert "stopped, as the limit of 100 passes is reached" in answer.err
    kept = status(labctl)["passes"]
    assert 100 <= kept < 200
    labctl("resume", "latest", code=5)
    assert kept + 100 <= status(labctl)["passes"] < kept + 200
    assert f"{ALL_PASSES} passes" in labctl("resume", "latest", "--pass-limit", "1000").out
    assert "equal bit for bit" in labctl.quick("runs", "verify", "latest").out


def test_a_disk_that_fills_up(labctl: "Labctl", slow: Path, desk: Path) -> None:
    """The disk of the bench is nearly full. The run must stop while its record can still be ended in good order."""
    room = shutil.disk_usage(desk).free * 2 / 1e9
    answer = labctl("run", "wine.yaml", "--set", f"unattended.free_disk={room:.3f} GB", code=5)
    assert "MB left, less than the " in answer.err
    assert status(labctl)["state"] == "stopped"
    assert f"labctl resume runs/{labctl.runs()[0].name}\n" in answer.err


@pytest.mark.parametrize("limit", ["13", "-1 h", "soon"])
def test_a_limit_that_is_none(labctl: "Labctl", desk: Path, limit: str) -> None:
    answer = labctl.quick("run", "wine.yaml", f"--time-limit={limit}", code=2)
    assert "--time-limit" in answer.err
    assert labctl.runs() == []


BENCH = """\
schema: labctl/rig/1
name: bench
recovery: {attempts: 3, pause: 200 ms}
layers:
  cavity: {kind: scripted, inputs: 21, outputs: 21, unplugged_at: 200}
"""


@pytest.fixture
def bench(desk: Path, labctl: "Labctl", monkeypatch: pytest.MonkeyPatch) -> Path:
    """A rig whose instrument is found unplugged at pass 200, until somebody mends it, and which is opened again."""
    paths = [str(Path(__file__).parents[1] / "fixtures" / "drivers"), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    (desk / "desk.yaml").write_text(BENCH, encoding="utf-8")
    return desk


def test_an_instrument_that_comes_back(labctl: "Labctl", bench: Path) -> None:
    """A breaker tripped at three and was put back. Nobody was told, nothing was lost, and the log says so."""
    replaced(bench / "desk.yaml", "pause: 200 ms", "pause: 20 s")
    going = labctl.start("run", "wine.yaml")
    going.until(lambda: bool(labctl.runs()) and status(labctl)["state"] == "waiting")
    assert "the cable is unplugged during row 200; attempt 1 of 3 in 20 s" in labctl.quick("status").out
    assert not (bench / "OPEN").exists()
    (bench / "mended").touch()
    labctl("stop", "--no-wait")
    going.ends(5)
    assert f"{ALL_PASSES} passes" in labctl("resume", "latest").out
    assert "equal bit for bit" in labctl.quick("runs", "verify", "latest").out


def test_an_instrument_that_stays_away(labctl: "Labctl", bench: Path) -> None:
    """Then the run must give up, safely, and say how often it tried."""
    answer = labctl("run", "wine.yaml", code=3)
    assert "the cable is unplugged during row 200; the rig was opened again 3 times in vain; go on " in answer.err
    (run,) = labctl.runs()
    kinds = [event["kind"] for event in labctl.quick("runs", "show", "latest", "--json").json["events"]]
    assert kinds == ["opened", "session", *["waiting", "going on"] * 3, "failed", "closed"]
    assert (bench / "SAFE").exists()
    assert not (bench / "OPEN").exists()
    assert "attempt 3 of 3 in 0.8 s" in (run / "run.log").read_text(encoding="utf-8")


def test_a_night_with_failures_ends_as_one_without(labctl: "Labctl", desk: Path, run: Path) -> None:
    """The sound card drops out twice. It is opened again, and the result is that of a quiet night, to the last bit."""
    faults = "\n    faults: {list: [{kind: error, rows: [100, 300]}]}\n"
    replaced(desk / "desk.yaml", "    seed: 1\n", f"    seed: 1{faults}")
    replaced(desk / "desk.yaml", "time_scale: instant\n", "time_scale: instant\nrecovery: {pause: 10 ms}\n")
    labctl("run", "wine.yaml")
    models = [(each / "model" / "model.npz").read_bytes() for each in labctl.runs()]
    assert len(models) == 2
    assert models[0] == models[1]
    kinds = [event["kind"] for event in labctl.quick("runs", "show", "latest", "--json").json["events"]]
    assert kinds.count("going on") == 2


def test_going_on_with_other_software(labctl: "Labctl", desk: Path) -> None:
    """Somebody has upgraded a package over the weekend. I want to know before the rest is computed by another one."""
    labctl("run", "wine.yaml", "--pass-limit", "50", code=5)
    (run,) = labctl.runs()
    with closing(sqlite3.connect(run / "run.sqlite")) as connection, connection:
        query = "UPDATE meta SET value = json_set(value, '$.packages.scipy', '1.0.0') WHERE key = 'provenance'"
        connection.execute(query)
    refused = labctl.quick("resume", "latest", code=4)
    assert f"{run.name} was begun with scipy 1.0.0, now " in refused.err
    assert "`labctl resume --accept-changes`" in refused.err
    answer = labctl("resume", "latest", "--accept-changes")
    assert f"{ALL_PASSES} passes" in answer.out


def test_a_door_is_opened(labctl: "Labctl", slow: Path, desk: Path) -> None:
    """The lid of the bench has a switch. When it is opened the run must end; it must not begin while it is open."""
    (desk / "closed").touch()
    script = "import os, sys; ok = os.path.exists('closed'); print('closed' if ok else 'open'); sys.exit(not ok)"
    lock = json.dumps({"lid": {"command": [sys.executable, "-c", script], "every": "100 ms"}})
    replaced(slow, "instruments:", f"interlocks: {lock}\ninstruments:")
    going = labctl.start("run", "wine.yaml")
    going.until_passes(20)
    (desk / "closed").unlink()
    assert "stopped, as interlock lid says: open; every pass is recorded" in going.ends(5).err
    assert "interlock lid says: open" in labctl("resume", "latest", code=3).err
    (desk / "closed").touch()
    assert f"{ALL_PASSES} passes" in labctl("resume", "latest").out
    with closing(sqlite3.connect(labctl.runs()[0] / "run.sqlite")) as connection:
        said = {detail for (detail,) in connection.execute("SELECT detail FROM events WHERE kind = 'interlock'")}
    assert len(said) == 2


LID = "import os, sys; ok = os.path.exists('closed'); print('closed' if ok else 'open'); sys.exit(not ok)"


def with_a_lid(rig: Path, before: str, **settings: str) -> None:
    """Give a rig an interlock that is content while the file `closed` exists."""
    lock = json.dumps({"lid": {"command": [sys.executable, "-c", LID], "every": "100 ms", **settings}})
    replaced(rig, before, f"interlocks: {lock}\n{before}")


@pytest.mark.parametrize("host", ["needed", "always"])
def test_a_door_is_opened_for_a_moment(labctl: "Labctl", bench: Path, host: str) -> None:
    """Somebody looks into the box, closes it again, and goes home. The night is not lost, and nothing sounded."""
    replaced(bench / "desk.yaml", "name: bench\n", f"name: bench\nhost: {{when: {host}}}\n")
    replaced(bench / "desk.yaml", "unplugged_at: 200", "pass: 20 ms")
    with_a_lid(bench / "desk.yaml", "layers:", then="pause")
    (bench / "closed").touch()
    going = labctl.start("run", "wine.yaml")
    going.until_passes(20)
    (bench / "closed").unlink()
    going.until(lambda: status(labctl)["state"] == "waiting")
    assert "interlock lid says: open; going on when it is content again" in labctl.quick("status").out
    assert (bench / "SAFE").exists()
    assert not (bench / "OPEN").exists()
    (bench / "closed").touch()
    assert f"{ALL_PASSES} passes" in going.ends(0).out
    shown = labctl.quick("runs", "show", "latest", "--json").json
    assert shown["recoveries"] == {"interlock": 1}
    assert "equal bit for bit" in labctl.quick("runs", "verify", "latest").out


def test_a_door_that_stays_open(labctl: "Labctl", bench: Path) -> None:
    """Then the run stops. And nothing else may use the bench meanwhile, however small."""
    replaced(bench / "desk.yaml", "unplugged_at: 200", "pass: 20 ms")
    with_a_lid(bench / "desk.yaml", "layers:", then="pause", longest_pause="300 ms")
    (bench / "closed").touch()
    going = labctl.start("run", "wine.yaml")
    going.until_passes(20)
    (bench / "closed").unlink()
    assert "stopped, as interlock lid says: open, for 0.3 s; every pass is recorded" in going.ends(5).err
    (bench / "closed").touch()
    assert f"{ALL_PASSES} passes" in labctl("resume", "latest").out
    (bench / "closed").unlink()
    for command in (["evaluate", "latest"], ["doctor", "desk.yaml"]):
        assert "interlock lid says: open" in labctl(*command, code=3).err
    assert (bench / "SAFE").exists()
    assert not (bench / "OPEN").exists()


def test_passes_at_equal_distances(labctl: "Labctl", desk: Path) -> None:
    """The amplifier warms with every burst. Batches begin at a fixed rate, and I am told when that cannot be kept."""
    joint = ["--set", "training.schedule=joint", "--set", "training.epochs=1", "--set", "name=paced"]
    labctl.quick("run", "wine.yaml", *joint)
    labctl.quick("run", "wine.yaml", *joint, "--set", "unattended.cadence=100 ms")
    free, paced = (labctl.quick("runs", "show", run.name, "--json").json for run in labctl.runs())
    assert paced["accuracy"] == free["accuracy"]
    labctl.quick("run", "wine.yaml", *joint, "--set", "unattended.cadence=1 us")
    kinds = [event["kind"] for event in labctl.quick("runs", "show", "latest", "--json").json["events"]]
    assert "cadence" in kinds
    log = (labctl.runs()[-1] / "run.log").read_text(encoding="utf-8")
    assert "the cadence of 1e-06 s is not kept: 1 acquisitions took longer, " in log
