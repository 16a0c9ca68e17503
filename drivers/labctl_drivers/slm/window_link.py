"""The link to a window's process: messages that are answered in time, or not at all."""

import contextlib
import subprocess
import time
from collections.abc import Mapping
from threading import Event, Thread
from typing import Any, BinaryIO, cast

from numpy.typing import NDArray

from labctl.contract.children import start_child
from labctl.contract.errors import InstrumentError
from labctl.contract.messages import encode, read_message

END_S = 2.0
WATCH_EVERY_S = 0.1


class WindowLink:
    """Starts `window_process` and talks to it.

    A process that hangs neither takes a plane nor answers; a thread keeps watch, and kills it when its time is over.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._process = start_child("labctl_drivers.slm.window_process")
        self._stdin = cast("BinaryIO", self._process.stdin)
        self._stdout = cast("BinaryIO", self._process.stdout)
        self._deadline_s = float("inf")
        self._frozen = False
        self._ended = Event()
        Thread(target=self._watch, name=f"window of {name}", daemon=True).start()

    def ask(
        self,
        head: Mapping[str, object],
        arrays: Mapping[str, NDArray[Any]] | None = None,
        *,
        within_s: float,
        command: str,
    ) -> Mapping[str, Any]:
        """Return the answer to a message. Raises `InstrumentError`; the process is of no use any more then."""
        self._deadline_s = time.monotonic() + within_s
        try:
            self._stdin.write(encode(head, arrays))
            self._stdin.flush()
            answer = read_message(self._stdout).head
        except (OSError, EOFError) as error:
            frozen = f"the window is frozen: its process has not answered for {within_s:g} s"
            cause = frozen if self._frozen else "the window has ended"
            raise InstrumentError(self._name, cause, command=command) from error
        finally:
            self._deadline_s = float("inf")
        if "error" in answer:
            raise InstrumentError(self._name, answer["error"], command=command)
        return answer

    def end(self) -> None:
        """Let the window go blank and end; kill it when it does not."""
        self._ended.set()
        with contextlib.suppress(OSError):
            self._stdin.close()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._stdout.close()

    def _watch(self) -> None:
        while not self._ended.wait(WATCH_EVERY_S):
            if time.monotonic() > self._deadline_s:
                self._frozen = True
                self._process.kill()
                return
