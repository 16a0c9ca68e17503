"""One user per instrument on this computer: a lock file per address, freed when its process ends, however it ends."""

import hashlib
import os
import tempfile
from pathlib import Path

from filelock import FileLock, Timeout


class AddressLock:
    """Holds an address, as the rig file spells it, for one link."""

    def __init__(self, address: str) -> None:
        folder = Path(tempfile.gettempdir()) / "labctl-locks"
        folder.mkdir(exist_ok=True)
        stem = hashlib.sha256(address.upper().encode()).hexdigest()[:16]
        self._owner = folder / f"{stem}.owner"
        # Who closes a link need not be the thread that opened it.
        self._lock = FileLock(folder / f"{stem}.lock", thread_local=False)

    def acquire(self, name: str) -> str | None:
        """Take the address for instrument `name` and return None, or return who has it."""
        try:
            self._lock.acquire(blocking=False)
        except Timeout:
            return self._owner.read_text(encoding="utf-8") if self._owner.exists() else "another process"
        self._owner.write_text(f"process {os.getpid()} ('{name}')", encoding="utf-8")
        return None

    def release(self) -> None:
        """Give the address back. Idempotent."""
        self._lock.release()
