"""Pictures for the cameras that pylon emulates, handed over at the very moment of their exposure.

pylon reads the picture of an exposure from a file of a folder, which `ImageFilename` names, when the exposure ends. The
file here is a named pipe: to open it is to have exposed, and nothing is exposed before.
"""

import sys

if sys.platform == "win32":
    raise ImportError("named pipes in a folder need Linux or macOS")

import fcntl
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from labctl_simulators.instruments.optics.png import as_png

_BROKEN = b"no picture"
_STOP_S = 0.02
_SHORTEST_US = 100.0
"""Nothing shorter is emulated."""
_PIPE_BYTES = 1 << 20

Expose = Callable[[float], tuple[NDArray[np.uint8] | None, float]]
"""Returns a picture of the light at a monotonic time, None for a lost one, and the delay with which it comes."""


class EmulatedPylonCamera:
    """Feeds one emulated camera between `start` and `stop`. `exposure_s` is what it is set to."""

    def __init__(self, expose: Expose, exposure_s: float) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="labctl-pictures-"))
        self._expose = expose
        self._exposure_s = exposure_s
        self._pipe = self.folder / "exposure"
        self._names = [self.folder / "files" / f"{k}.png" for k in range(2)]
        self._running = threading.Event()
        self._server: threading.Thread | None = None

    @property
    def features(self) -> list[dict[str, str | float]]:
        """Return the features that lead a camera to these pictures, in their order.

        Its `ExposureTime` can be set but changes nothing: it exposes for `ExposureTimeAbs`.
        """
        folder = str(self._names[0].parent)
        return [
            {"ImageFileMode": "Off"},
            {"TestImageSelector": "Off"},
            {"ImageFilename": folder},
            {"ImageFileMode": "On"},
            {"ExposureTimeAbs": max(1e6 * self._exposure_s, _SHORTEST_US)},
        ]

    def start(self) -> None:
        """Begin to feed."""
        os.mkfifo(self._pipe)
        self._names[0].parent.mkdir()
        for name in self._names:  # a folder of one file is read once only
            name.symlink_to(self._pipe)
        self._running.set()
        self._server = threading.Thread(target=self._serve, name="pictures", daemon=True)
        self._server.start()

    def stop(self) -> None:
        """End feeding. Idempotent."""
        self._running.clear()
        while self._server is not None and self._server.is_alive():
            with suppress(OSError):  # it waits for somebody to open the pipe, or is just about to
                os.close(os.open(self._pipe, os.O_RDONLY | os.O_NONBLOCK))
            self._server.join(_STOP_S)
        self._server = None
        shutil.rmtree(self.folder, ignore_errors=True)

    def _serve(self) -> None:
        while self._running.is_set():
            with self._pipe.open("wb", buffering=0) as reader:
                opened_s = time.monotonic()
                if not self._running.is_set():
                    return
                self._renew_pipe()
                _widen(cast("BinaryIO", reader))
                with suppress(BrokenPipeError):
                    reader.write(self._exposed(opened_s))

    def _exposed(self, ended_s: float) -> bytes:
        """Return the picture that a camera with a short exposure at the begin of the whole one takes."""
        picture, delay_s = self._expose(ended_s - self._exposure_s)
        if delay_s:
            time.sleep(delay_s)
        return _BROKEN if picture is None else as_png(picture)

    def _renew_pipe(self) -> None:
        """Put a new pipe in its place, so that the next exposure cannot meet the one that still reads."""
        new = self.folder / "next"
        os.mkfifo(new)
        new.replace(self._pipe)


def _widen(pipe: BinaryIO) -> None:
    """Let a whole picture fit into the pipe, where the system can: in parts it takes many turns of two processes."""
    if sys.platform == "linux":
        with suppress(OSError):
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
