"""A virtual X display of its own, whose pixels can be read where they lie.

Xvfb keeps them in a file in the format of X window dumps (X11/XWDFile.h): a header of 25 big-endian words, a colour
table, then rows of four bytes a pixel, blue first.
"""

import mmap
import os
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from labctl.contract.errors import InputError
from labctl_simulators.instruments.programs import end

_HEADER = struct.Struct(">25I")
_COLOUR_BYTES = 12


class VirtualDisplay:
    """An Xvfb between `start` and `stop`, `width` x `height`. `number` is taken if it is free. A context manager."""

    def __init__(self, width: int, height: int, number: int | None = None) -> None:
        self._size = width, height
        self._number = number
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = ""
        self._map: mmap.mmap | None = None
        self._pixels: NDArray[np.uint8] | None = None

    @property
    def name(self) -> str:
        """Return the display's name, as in DISPLAY."""
        return f":{self._number}"

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """Return what the display shows now, (height, width, 4): blue, green, red, nothing. It changes by itself."""
        if self._pixels is None:
            raise RuntimeError("the display is not started")
        return self._pixels

    def start(self) -> None:
        """Start the display. Raises `InputError` where Xvfb is not installed or does not start."""
        self._folder = tempfile.mkdtemp(prefix="labctl-display-")
        number = self._started(self._number)
        if number is None and self._number is not None:
            number = self._started(None)
        if number is None:
            shutil.rmtree(self._folder)
            raise InputError("Xvfb does not start a virtual display")
        self._number = number
        with (Path(self._folder) / "Xvfb_screen0").open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        header = _HEADER.unpack(self._map[: _HEADER.size])
        begin = header[0] + header[19] * _COLOUR_BYTES
        width, height, row_bytes = header[4], header[5], header[12]
        self._pixels = np.ndarray((height, width, 4), np.uint8, self._map, begin, (row_bytes, 4, 1))

    def stop(self) -> None:
        """End the display and every window on it. Idempotent."""
        self._pixels = None
        if self._process is not None:
            end(self._process)
            self._process = None
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(self, *failure: object) -> None:
        """Stop."""
        self.stop()

    def _started(self, number: int | None) -> int | None:
        """Start Xvfb, as display `number` or as any that is free, and return the number; None if that fails."""
        told, telling = os.pipe()
        command = [
            *_ending_with_us(),
            "Xvfb",
            *([] if number is None else [f":{number}"]),
            "-displayfd",
            str(telling),
            "-nolisten",
            "tcp",
        ]
        screen = ["-screen", "0", f"{self._size[0]}x{self._size[1]}x24", "-fbdir", self._folder]
        try:
            # Ctrl-C at the terminal is for who started this, who then ends the display.
            self._process = subprocess.Popen(  # noqa: S603 - a program by name, and numbers
                [*command, *screen], pass_fds=(telling,), stderr=subprocess.DEVNULL, start_new_session=True
            )
        except FileNotFoundError as error:
            os.close(told)
            raise InputError("a virtual display needs Xvfb: install the package xvfb") from error
        finally:
            os.close(telling)
        with os.fdopen(told, "rb") as answer:
            line = answer.readline()
        if not line.strip():
            end(self._process)
            self._process = None
            return None
        return int(line)


def _ending_with_us() -> list[str]:
    """Return what begins a command that ends when this process is killed, where the system has it (util-linux)."""
    setpriv = shutil.which("setpriv")
    return [] if setpriv is None or shutil.which("Xvfb") is None else [setpriv, "--pdeathsig", "TERM"]
