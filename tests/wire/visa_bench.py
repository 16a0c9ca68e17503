"""Small and virtual instruments at USB and GPIB addresses: devices of PyVISA-sim, a VISA library without hardware."""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyvisa
from pyvisa.rname import to_canonical_name
from pyvisa_sim.devices import Device

NOTHING_YET = """\
spec: "1.1"
devices: {}
resources: {}
"""


class BusDevice(Device):
    """Hands messages to `execute`, without their newline, and sends what it answers byte by byte, END with the last."""

    def __init__(self, execute: Callable[[bytes], bytes | None]) -> None:
        super().__init__("bench", b"")
        self._execute = execute
        self._coming: deque[bytes] = deque()

    def write(self, data: bytes) -> None:
        answer = self._execute(data.removesuffix(b"\n"))
        if answer is not None:
            self._coming.append(answer)

    def read(self) -> tuple[bytes, bool]:
        if not self._coming:
            return b"", False
        answer = self._coming.popleft()
        if answer[1:]:
            self._coming.appendleft(answer[1:])
        return answer[:1], len(answer) == 1


@contextmanager
def bus_with(address: str, execute: Callable[[bytes], bytes | None], folder: Path) -> Iterator[str]:
    """Put an instrument at `address` and yield the PyVISA backend that finds it."""
    (folder / "bus.yaml").write_text(NOTHING_YET, encoding="utf-8")
    backend = f"{folder / 'bus.yaml'}@sim"
    # PyVISA forgets a library, and what is on it, with the last manager that refers to it.
    manager = pyvisa.ResourceManager(backend)
    manager.visalib.devices.add_device(to_canonical_name(address), BusDevice(execute))
    yield backend
    manager.close()
