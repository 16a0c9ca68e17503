"""The driver's side of the engine: starts it, tells it that somebody is there, and takes its answers in order."""

import logging
import subprocess
import time
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from threading import Thread
from typing import IO, Any, BinaryIO, cast

from labctl.contract.audio import Samples
from labctl.contract.children import keep_telling, start_child
from labctl.contract.messages import Message, encode, read_message

PULSE_S = 0.05
HUNG_S = 1.0
"""An engine that has not been heard for so long hangs, and is killed."""

START_S = 20.0
"""How long an interpreter may take to start."""

END_S = 1.0
"""How long an engine may take to fade out and end before it is killed."""

_log = logging.getLogger(__name__)


class EngineLostError(Exception):
    """The engine has ended, refused, or does not answer; the message says why."""


class EngineMutedError(EngineLostError):
    """Somebody muted the engine while something was to be heard; it is as good as before."""


class EngineProcess:
    """An engine that has been started. `mute` and `close` may be called from any thread."""

    def __init__(self, begin: dict[str, Any], open_within_s: float) -> None:
        """Return when the device is open. Raises `EngineLostError`."""
        self._process = start_child("labctl_drivers.audio.engine", stderr=subprocess.PIPE)
        self._outgoing: SimpleQueue[bytes | None] = SimpleQueue()
        self._answers: SimpleQueue[Message] = SimpleQueue()
        self._muted: SimpleQueue[Message] = SimpleQueue()
        self._number = 0
        self._heard_s = time.monotonic() + START_S
        self._said: deque[str] = deque(maxlen=5)
        telling = (cast("BinaryIO", self._process.stdin), self._outgoing)
        self._threads = [
            Thread(target=keep_telling, args=telling, daemon=True),
            *(Thread(target=each, daemon=True) for each in (self._receive, self._listen, self._watch)),
        ]
        self._tell("open", **begin)
        for thread in self._threads:
            thread.start()
        try:
            self._answer(open_within_s)
        except EngineLostError:
            self.kill()
            raise

    @property
    def next_number(self) -> int:
        """The number that the next burst will have."""
        return self._number

    def play(self, played: Samples, flag_wait: int = 0) -> None:
        """Play a burst (n, n_outputs) after those before; losses flagged `flag_wait` frames later may be of it."""
        self._tell("play", played, number=self._number, flag_wait=flag_wait)
        self._number += 1

    @contextmanager
    def together(self) -> Generator[None]:
        """Begin with the bursts that are sent in the body when all of them are there."""
        self._tell("hold", held=True)
        try:
            yield
        finally:
            self._tell("hold", held=False)

    def set_delay(self, frames: int) -> None:
        """Begin recordings of bursts that have not begun so many frames after them."""
        self._tell("delay", frames=frames)

    def heard(self, number: int, within_s: float) -> Message:
        """Return what was heard of a burst; those before it are forgotten.

        Its head has `delay` in frames, whether it is `flagged`, and `time_s`. Raises `EngineLostError`, also when there
        is none in time, as after a `mute`.
        """
        while True:
            message = self._answer(within_s)
            if message.head.get("number") == number:
                return message
            if message.kind == "muted" and message.head["number"] > number:
                raise EngineMutedError("it was muted meanwhile")

    def mute(self) -> None:
        """Return when nothing sounds any more; what was not yet heard is forgotten. An engine that hangs is killed."""
        number, self._number = self._number, self._number + 1
        self._tell("mute", number=number)
        with suppress(Empty):
            while self._muted.get(timeout=END_S).head.get("number", number) != number:
                pass
            self._answers.put(Message({"kind": "muted", "number": number}))
            return
        self.kill()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it is there."""
        return self._process.poll() is None

    def close(self) -> None:
        """Fade out, close the device and end the engine."""
        self._tell("close")
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(END_S)
        self.kill()

    def kill(self) -> None:
        """End it on the spot, whatever it hangs in: the device closes with it."""
        self._process.kill()
        self._process.wait()
        self._outgoing.put(None)
        for thread in self._threads:
            thread.join()

    def _answer(self, within_s: float) -> Message:
        try:
            message = self._answers.get(timeout=within_s)
        except Empty:
            raise EngineLostError(f"the engine has not answered for {within_s:g} s") from None
        if message.kind in ("failed", "lost"):
            self._answers.put(message)
            raise EngineLostError(str(message.head.get("text")) if message.kind == "failed" else self._last_words())
        return message

    def _tell(self, kind: str, played: Samples | None = None, **fields: object) -> None:
        self._outgoing.put(encode({"kind": kind, **fields}, None if played is None else {"played": played}))

    def _watch(self) -> None:
        """Kill an engine that hangs; the sender may be waiting for it at that time."""
        while self._process.poll() is None:
            if time.monotonic() - self._heard_s > HUNG_S:
                self._said.append(f"it was silent for {HUNG_S:g} s and was killed")
                self._process.kill()
            time.sleep(PULSE_S)

    def _receive(self) -> None:
        with cast("BinaryIO", self._process.stdout) as stdout, suppress(EOFError, OSError):
            while True:
                message = read_message(stdout)
                self._heard_s = time.monotonic()
                if message.kind == "beat":
                    continue
                (self._muted if message.kind == "muted" else self._answers).put(message)
        lost = Message({"kind": "lost"})
        self._answers.put(lost)
        self._muted.put(lost)

    def _listen(self) -> None:
        with cast("IO[bytes]", self._process.stderr) as stderr:
            for line in stderr:
                self._said.append(line.decode(errors="replace").strip())
                _log.debug("%s", self._said[-1])

    def _last_words(self) -> str:
        return f"its engine has ended; it said last: {' | '.join(self._said) or 'nothing'}"
