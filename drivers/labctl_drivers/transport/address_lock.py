"""One user per instrument on this computer: a lock file per address, freed when its process ends, however it ends."""

import hashlib
import os
import tempfile
from pathlib import Path

from filelock import FileLock, Timeout

from labctl_drivers.transport.journal import Journal
from labctl_drivers.transport.link import LinkRefusedError


class AddressLock:
    """Holds an address, as the rig file spells it, for one link."""

    def __init__(self, address: str) -> None:
        self._of = address
        folder = Path(tempfile.gettempdir()) / "labctl-locks"
        folder.mkdir(exist_ok=True)
        stem = hashlib.sha256(address.upper().encode()).hexdigest()[:16]
        self._owner = folder / f"{stem}.owner"
        # Who closes a link need not be the thread that opened it.
        self._lock = FileLock(folder / f"{stem}.lock", thread_local=False)

    def acquire(self, journal: Journal) -> None:
        """Take the address for the instrument of `journal`. Raises `LinkRefusedError` that says who has it."""
        try:
            self._lock.acquire(blocking=False)
        except Timeout:
            owner = self._owner.read_text(encoding="utf-8") if self._owner.exists() else "another process"
            raise journal.fault(LinkRefusedError, f"{owner} uses {self._of}") from None
        self._owner.write_text(f"process {os.getpid()} ('{journal.name}')", encoding="utf-8")

    def release(self) -> None:
        """Give the address back. Idempotent."""
        self._lock.release()
