"""One user per instrument on this computer, whoever it is: a lock per address that says who has it.

The operating system frees a lock when the process that holds it ends, however it ends.

These are the guard's, for as long as a rig is in use. A link that is open locks its address besides, with a file of
its own in another folder: a guard and the host it watches hold the same address at once, and a driver used without a
rig is kept from an instrument all the same. One lock for both would shut the host out.
"""

import getpass
import hashlib
import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from labctl.contract.errors import InstrumentError


def this_owner() -> dict[str, Any]:
    """Return who this process is, as JSON values, for those who find an instrument taken."""
    return {
        "pid": os.getpid(),
        "user": getpass.getuser(),
        "computer": platform.node(),
        "since": datetime.now().astimezone().isoformat(timespec="seconds"),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "folder": str(Path.cwd()),
        "run": None,
    }


class RigLock:
    """The locks of all addresses of a rig. The owner is told to others and need not be the process that holds them."""

    def __init__(self, addresses: Iterable[str], owner: Mapping[str, Any], folder: Path | None = None) -> None:
        folder = folder or _common_folder()
        stems = {address: hashlib.sha256(address.upper().encode()).hexdigest()[:16] for address in addresses}
        self._owner = dict(owner)
        self._owner_files = {address: folder / f"{stem}.json" for address, stem in sorted(stems.items())}
        self._locks = {
            address: FileLock(folder / f"{stems[address]}.lock", mode=0o666, thread_local=False)
            for address in self._owner_files
        }

    def acquire(self) -> None:
        """Take all addresses, or none. Raises `InstrumentError` naming the address and who has it."""
        try:
            for address, lock in self._locks.items():
                self._acquire(address, lock)
        except InstrumentError:
            self.release()
            raise
        self._say()

    def name_run(self, run: str) -> None:
        """Add to what others are told which run it is."""
        self._owner["run"] = run
        self._say()

    def release(self) -> None:
        """Give all addresses back. Idempotent."""
        for lock in self._locks.values():
            lock.release()

    def _acquire(self, address: str, lock: FileLock) -> None:
        try:
            lock.acquire(blocking=False)
        except Timeout:
            raise InstrumentError(address, f"it is in use by {_in_words(self._owner_files[address])}") from None
        except OSError as error:
            raise InstrumentError(address, f"it cannot be locked: {error}; delete {lock.lock_file}") from None

    def _say(self) -> None:
        text = json.dumps(self._owner)
        for file in self._owner_files.values():
            with suppress(OSError):  # another user's left-over, which that user alone may replace
                file.write_text(text, encoding="utf-8")


def _in_words(file: Path) -> str:
    try:
        owner = json.loads(file.read_text(encoding="utf-8"))
        run = f"run {owner['run']}, " if owner["run"] else ""
        who = f"process {owner['pid']} of {owner['user']} on {owner['computer']} since {owner['since']}"
        return f"{who} ({run}`{owner['command']}` in {owner['folder']}); wait for it, or stop it with Ctrl-C there"
    except (OSError, ValueError, KeyError):
        return "another process, which has not said who it is"


def _common_folder() -> Path:
    """Return the folder of all users' locks."""
    shared = Path("/tmp")  # noqa: S108 - TMPDIR may differ from user to user
    folder = (shared if shared.is_dir() else Path(tempfile.gettempdir())) / "labctl-rigs"
    folder.mkdir(exist_ok=True)
    with suppress(PermissionError):
        folder.chmod(0o777)  # every user of the computer locks instruments here
    return folder
