"""Several experiments for one night, and somebody who wants to be told."""

import http.server
import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .conftest import Labctl

ALL_PASSES = 3 * (134 + 44)


def queued(labctl: "Labctl") -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = labctl.quick("queue", "list", "--json").json["entries"]
    return entries


def test_two_experiments_for_the_night_and_a_reboot(labctl: "Labctl", desk: Path) -> None:
    """I queue two, nothing starts; then the first goes, the computer is rebooted, and in the morning I let it go on."""
    rig = desk / "desk.yaml"
    rig.write_text(rig.read_text(encoding="utf-8").replace("time_scale: instant", "time_scale: 20"), encoding="utf-8")
    assert labctl.quick("queue", "add", "wine.yaml").out.startswith("queued as number 1;")
    assert labctl.quick("queue", "add", "wine.yaml", "--set", "seed=8", "--set", "name=second").out
    assert [entry["state"] for entry in queued(labctl)] == ["waiting", "waiting"]
    assert labctl.runs() == []
    going = labctl.start("queue", "run")
    going.until(lambda: queued(labctl)[0]["run"] is not None)
    going.until_passes(20)
    pid = labctl.quick("status", "--json").json["owner"]["pid"]
    assert pid != going.process.pid
    going.send(signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)
    going.ends(-signal.SIGKILL)
    assert queued(labctl)[0]["state"] == "running"
    answer = labctl("queue", "run")
    assert "1: labctl resume " in answer.err
    assert "2: labctl run " in answer.err
    assert answer.err.endswith("the queue is worked off\n")
    assert [entry["state"] for entry in queued(labctl)] == ["done", "done"]
    assert len(labctl.runs()) == 2
    assert all("equal bit for bit" in labctl.quick("runs", "verify", run.name).out for run in labctl.runs())


def test_the_queue_is_paused(labctl: "Labctl", desk: Path) -> None:
    """The second is not to begin tonight after all; the first may end. A colleague's queue does not start here."""
    rig = desk / "desk.yaml"
    rig.write_text(rig.read_text(encoding="utf-8").replace("time_scale: instant", "time_scale: 20"), encoding="utf-8")
    labctl.quick("queue", "add", "wine.yaml")
    labctl.quick("queue", "add", "wine.yaml", "--set", "name=second")
    going = labctl.start("queue", "run")
    going.until_passes(20)
    assert "is being worked off by another process" in labctl.quick("queue", "run", code=2).err
    assert "entry 1 is running" in labctl.quick("queue", "remove", "1", code=2).err
    labctl.quick("queue", "pause")
    assert "the queue is paused: asked to pause" in going.ends(5).err
    assert labctl.quick("queue", "list").out.startswith("paused: asked to pause")
    assert [entry["state"] for entry in queued(labctl)] == ["done", "waiting"]
    labctl.quick("queue", "remove", "2")
    assert "no entry 2" in labctl.quick("queue", "remove", "2", code=2).err


def test_one_that_cannot_be_read_holds_nobody_up(labctl: "Labctl", desk: Path) -> None:
    """I broke a file after I had queued it. The others are to run; what is queued wrong is refused at once."""
    assert "no such file" in labctl.quick("queue", "add", "whine.yaml", code=2).err
    (desk / "other.yaml").write_text((desk / "wine.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    labctl.quick("queue", "add", "other.yaml")
    labctl.quick("queue", "add", "wine.yaml")
    (desk / "other.yaml").write_text("nonsense", encoding="utf-8")
    labctl("queue", "run")
    assert [entry["state"] for entry in queued(labctl)] == ["failed", "done"]
    (desk / "runs" / "queue.json").write_text("{", encoding="utf-8")
    assert "queue.json is damaged" in labctl.quick("queue", "list", code=4).err


@pytest.fixture
def webhook() -> Iterator[tuple[str, list[dict[str, Any]], threading.Event]]:
    """An address that keeps what it is told; it answers when the event is set."""
    told: list[dict[str, Any]] = []
    answers = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            answers.wait(60)
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name it has
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/", told, answers
    answers.set()
    server.shutdown()
    thread.join()
    server.server_close()


def test_being_told(labctl: "Labctl", desk: Path, webhook: tuple[str, list[dict[str, Any]], threading.Event]) -> None:
    """I want a message when it has ended. The address hangs: the run must end all the same, and the command be told."""
    address, told, _ = webhook
    script = f"import pathlib, sys; pathlib.Path({str(desk / 'told.json')!r}).write_text(sys.stdin.read())"
    command = json.dumps([sys.executable, "-c", script])
    experiment = (desk / "wine.yaml").read_text(encoding="utf-8")
    notify = f"unattended: {{notify: {{command: {command}, webhook: '{address}'}}}}\n"
    (desk / "wine.yaml").write_text(experiment + notify, encoding="utf-8")
    labctl("run", "wine.yaml", "--pass-limit", "50", code=5)
    finished = labctl("resume", "latest", "--json").json
    going = threading.Event()
    while len(told) < 2 and not going.wait(0.05):
        pass
    assert sorted(message["state"] for message in told) == ["finished", "stopped"]
    by_state = {message["state"]: message for message in told}
    assert by_state["stopped"]["reason"] == "the limit of 50 passes is reached"
    assert by_state["finished"]["accuracy"] == finished["accuracy"]
    assert json.loads((desk / "told.json").read_text(encoding="utf-8"))["state"] in ("finished", "stopped")


def test_nobody_can_be_told(labctl: "Labctl", desk: Path) -> None:
    """The program that tells me is not installed on this computer. The run ends as it would have."""
    experiment = (desk / "wine.yaml").read_text(encoding="utf-8")
    (desk / "wine.yaml").write_text(
        experiment + "unattended: {notify: {command: [no-such-program]}}\n", encoding="utf-8"
    )
    assert f"{ALL_PASSES} passes" in labctl("run", "wine.yaml").out


def test_as_a_service(labctl: "Labctl", desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """systemd starts the queue on request, knows when it works and on what, and ends one that hangs."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(desk / "notify"))
        manager.settimeout(120)
        monkeypatch.setenv("NOTIFY_SOCKET", str(desk / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "1000000")
        labctl.quick("queue", "add", "wine.yaml", "--set", "training.epochs=1")
        going = labctl.start("queue", "run")
        told = [manager.recv(4096).decode()]
        while told[-1] != "STOPPING=1":
            told.append(manager.recv(4096).decode())
        going.ends(0)
    assert told[0] == "READY=1"
    assert told[1].startswith("STATUS=1: labctl run ")
    assert "WATCHDOG=1" in told
