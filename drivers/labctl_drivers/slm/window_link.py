"""The link to a window's process: requests that are answered in time, or not at all."""

import contextlib
import os
import subprocess
import sys
from queue import Empty, SimpleQueue
from threading import Thread

from labctl.contract.errors import InstrumentError

END_S = 2.0


class WindowLink:
    """Starts `window_process` on an X `display`, the session's own for None, and talks to it.

    Two threads write and read, since a process that hangs neither takes a plane nor answers.
    """

    def __init__(self, name: str, display: str | None) -> None:
        self._name = name
        path = os.pathsep.join(entry for entry in sys.path if entry)
        environment = {**os.environ, "PYTHONPATH": path}
        if display is not None:
            # Without a driver's name the library takes a display that nobody sees where this one is not there.
            environment |= {"DISPLAY": display, "SDL_VIDEODRIVER": "x11"}
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "labctl_drivers.slm.window_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
        self._requests: SimpleQueue[bytes | None] = SimpleQueue()
        self._answers: SimpleQueue[bytes] = SimpleQueue()
        for work in (self._write, self._read):
            Thread(target=work, name=f"window of {name}", daemon=True).start()

    def ask(self, request: bytes, within_s: float, command: str) -> bytes:
        """Return the line that answers `request`. Raises `InstrumentError`; then the process is of no use any more."""
        self._requests.put(request)
        try:
            answer = self._answers.get(timeout=within_s)
        except Empty:
            cause = f"the window is frozen: its process has not answered for {within_s:g} s"
            raise InstrumentError(self._name, cause, command=command) from None
        if not answer:
            raise InstrumentError(self._name, "the window has ended", command=command)
        return answer

    def end(self) -> None:
        """Let the window go blank and end; kill it when it does not."""
        self._requests.put(None)
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _write(self) -> None:
        stream = self._process.stdin
        if stream is None:
            return
        with contextlib.suppress(OSError), stream:
            while (request := self._requests.get()) is not None:
                stream.write(request)
                stream.flush()

    def _read(self) -> None:
        stream = self._process.stdout
        if stream is None:
            return
        with stream:
            while line := stream.readline():
                self._answers.put(line)
        self._answers.put(b"")
