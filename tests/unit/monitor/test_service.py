"""What systemd is told, by the datagrams that arrive on a socket such as its own; and the unit that is shipped."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from labctl.monitor.service import Service

UNIT = Path(__file__).parents[3] / "configs" / "systemd" / "labctl-queue@.service"

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="systemd is Linux's")


class Watch:
    """A clock that is set by hand."""

    now_s = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """A socket that takes notifications."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.setblocking(False)
        yield listening


def told(manager: socket.socket) -> list[str]:
    messages: list[str] = []
    while True:
        try:
            messages.append(manager.recv(4096).decode())
        except BlockingIOError:
            return messages


def test_a_service_says_when_it_is_ready_and_what_it_does(manager: socket.socket) -> None:
    service = Service({"NOTIFY_SOCKET": manager.getsockname()})
    service.ready()
    service.says("1: labctl run wine.yaml")
    service.stopping()
    service.alive()
    assert told(manager) == ["READY=1", "STATUS=1: labctl run wine.yaml", "STOPPING=1"], "no watchdog was asked for"


def test_the_watchdog_is_fed_three_times_as_often_as_it_asks(manager: socket.socket) -> None:
    clock = Watch()
    service = Service({"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "30000000"}, clock)
    for clock.now_s in (0.0, 0.2, 9.9, 10.0, 10.2, 25.0):
        service.alive()
    assert told(manager) == ["WATCHDOG=1"] * 3


def test_another_process_s_watchdog_is_not_fed(manager: socket.socket) -> None:
    asked = {"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "1", "WATCHDOG_PID": str(os.getppid())}
    Service(asked).alive()
    assert told(manager) == []


@pytest.mark.skipif(sys.platform != "linux", reason="abstract addresses are Linux's")
def test_an_abstract_address_is_understood() -> None:
    name = f"labctl-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0{name}")
        listening.setblocking(False)
        Service({"NOTIFY_SOCKET": f"@{name}"}).ready()
        assert told(listening) == ["READY=1"]


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": "/nowhere/notify", "WATCHDOG_USEC": "1"}])
def test_nobody_listens(environment: dict[str, str]) -> None:
    """By hand, or under a service manager that is gone: nothing happens, and nothing is raised."""
    before = psutil.Process().num_fds()
    service = Service(environment)
    for say in (service.ready, service.alive, service.stopping):
        say()
    assert psutil.Process().num_fds() == before, "no socket is left behind"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
def test_systemd_understands_the_unit_that_is_shipped(tmp_path: Path) -> None:
    bench = tmp_path / "bench"
    (bench / ".venv" / "bin").mkdir(parents=True)
    (bench / ".venv" / "bin" / "labctl").symlink_to(Path(sys.executable))
    escape = ["systemd-escape", "--path", str(bench)]
    name = subprocess.run(escape, capture_output=True, text=True, check=True).stdout.strip()
    unit = tmp_path / f"labctl-queue@{name}.service"
    shutil.copyfile(UNIT, unit)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--user", str(unit)],
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert unit.name not in done.stderr, "it warns of keys that it does not know"
