"""One user per instrument, and the second is told who the first is."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from labctl.contract.errors import InstrumentError
from labctl.rig.lock import RigLock, this_owner

OWNER = {
    "pid": 4711,
    "user": "ada",
    "computer": "bench-1",
    "since": "2026-11-22T08:00:00+00:00",
    "command": "labctl run wine.yaml",
    "folder": "/home/ada/lab",
    "run": None,
}
VNA, PUMP = "TCPIP::10.0.0.9::5025::SOCKET", "ASRL/dev/ttyUSB0::INSTR"

HOLD = """\
import json, sys
from pathlib import Path
from labctl.rig.lock import RigLock
lock = RigLock([sys.argv[1]], json.loads(sys.argv[2]), Path(sys.argv[3]))
lock.acquire()
print("held", flush=True)
sys.stdin.read()
"""


def refused(addresses: list[str], folder: Path) -> InstrumentError:
    with pytest.raises(InstrumentError) as caught:
        RigLock(addresses, this_owner(), folder).acquire()
    return caught.value


def test_the_second_is_told_who_has_it_and_takes_nothing(tmp_path: Path) -> None:
    first = RigLock([VNA], OWNER, tmp_path)
    first.acquire()
    error = refused([PUMP, VNA.lower()], tmp_path)
    assert error.instrument == VNA.lower()
    assert (
        "it is in use by process 4711 of ada on bench-1 since 2026-11-22T08:00:00+00:00 "
        "(`labctl run wine.yaml` in /home/ada/lab); wait for it, or stop it with Ctrl-C there" in str(error)
    )
    first.name_run("2026-11-22-wine")
    assert "(run 2026-11-22-wine, `labctl run wine.yaml`" in str(refused([VNA], tmp_path))
    other = RigLock([PUMP], OWNER, tmp_path)
    other.acquire()
    other.release()
    first.release()
    first.release()
    second = RigLock([VNA, PUMP], OWNER, tmp_path)
    second.acquire()
    second.release()


def test_an_owner_that_was_killed_keeps_nobody_out(tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", HOLD, VNA, json.dumps(OWNER), str(tmp_path)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert "process 4711 of ada" in str(refused([VNA], tmp_path))
        holder.kill()
    lock = RigLock([VNA], OWNER, tmp_path)
    lock.acquire()
    lock.release()


def test_an_owner_that_cannot_be_read_is_another_process(tmp_path: Path) -> None:
    first = RigLock([VNA], OWNER, tmp_path)
    first.acquire()
    for file in tmp_path.glob("*.json"):
        file.write_text("{", encoding="utf-8")
    assert "in use by another process, which has not said who it is" in str(refused([VNA], tmp_path))
    first.release()


def test_this_process_can_be_named() -> None:
    owner = this_owner()
    assert owner.keys() == OWNER.keys()
    assert json.loads(json.dumps(owner)) == owner
