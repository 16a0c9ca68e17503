"""The orchestrator's side of a rig host: starts it, keeps telling it that somebody is there, and pairs its answers.

Threads of their own send and receive, so that a Ctrl-C in the main thread never cuts a message in two.
"""

import itertools
import subprocess
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, BinaryIO, cast

from numpy.typing import NDArray

from labctl.contract.children import keep_telling, start_child
from labctl.contract.messages import Message, encode, read_message
from labctl.rig.children import ALL_SAFE, relay
from labctl.rig.guard import TRY_FOR_S
from labctl.rig.messages import error_from_head

START_S = 120.0
END_S = TRY_FOR_S + 5.0
"""How long a host and its guard may take to end."""

_Answers = SimpleQueue[Message | None]


class HostLostError(Exception):
    """The host has ended. `said` is what it and its guard said last, `safe` whether they left all safe."""

    def __init__(self, said: list[str]) -> None:
        self.said = said
        self.safe = ALL_SAFE in said
        super().__init__("; ".join(said) or "it said nothing")


class Asked:
    """A request under way."""

    def __init__(self, host: "HostProcess", number: int, answers: _Answers) -> None:
        self.number = number
        self._host = host
        self._answers = answers

    def answer(self, timeout_s: float | None = None) -> Message | None:
        """Return the next answer, or None when there is none in time. Raises the error it is, or `HostLostError`."""
        try:
            message = self._answers.get(timeout=timeout_s)
        except Empty:
            return None
        if message is None:
            raise self._host.lost()
        if message.kind == "error":
            raise error_from_head(message.head)
        return message


class HostProcess:
    """A rig host that has been started. Usable from several threads."""

    def __init__(self, begin: Mapping[str, object]) -> None:
        self._process = start_child("labctl.rig.host", stderr=subprocess.PIPE)
        self._outgoing: SimpleQueue[bytes | None] = SimpleQueue()
        self._asked: dict[int, _Answers] = {}
        self._numbers = itertools.count()
        self._ended = False
        self._said: list[str] = []
        telling = (cast("BinaryIO", self._process.stdin), self._outgoing)
        self._threads = [
            Thread(target=keep_telling, args=telling, daemon=True),
            *(Thread(target=each, daemon=True) for each in (self._receive, self._listen)),
        ]
        for thread in self._threads:
            thread.start()
        try:
            self.ask("begin", timeout_s=START_S, **begin)
        except BaseException:
            self.kill()
            raise

    def ask(self, kind: str, /, *, timeout_s: float | None = None, **fields: object) -> Message:
        """Send a request and return its one answer. Raises the error it is, `HostLostError`, or `TimeoutError`."""
        with self.asking(kind, None, **fields) as asked:
            answer = asked.answer(timeout_s)
        if answer is None:
            raise TimeoutError(f"the rig host did not answer '{kind}' in {timeout_s:g} s")
        return answer

    @contextmanager
    def asking(self, kind: str, arrays: Mapping[str, NDArray[Any]] | None = None, **fields: object) -> Generator[Asked]:
        """Send a request; in the body take its answers. Those that come later are dropped."""
        number = next(self._numbers)
        answers = self._asked[number] = SimpleQueue()
        try:
            if self._ended:
                raise self.lost()
            self.tell(kind, arrays, id=number, **fields)
            yield Asked(self, number, answers)
        finally:
            del self._asked[number]

    def tell(self, kind: str, arrays: Mapping[str, NDArray[Any]] | None = None, /, **fields: object) -> None:
        """Send what needs no answer."""
        self._outgoing.put(encode({"kind": kind, **fields}, arrays))

    def lost(self) -> HostLostError:
        """Return why the host has ended, once its guard has ended, too."""
        self._join(END_S)
        return HostLostError(self._said)

    def close(self) -> None:
        """Return when the host, which has been told to close, has ended."""
        self._outgoing.put(None)
        self._join(END_S)
        if self._process.poll() is None:
            self.kill()

    def kill(self) -> None:
        """End the host on the spot; its guard does what is left to be done."""
        self._process.kill()
        self._outgoing.put(None)
        self._join(END_S)

    def _join(self, within_s: float) -> None:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(within_s)
        self._outgoing.put(None)
        for thread in self._threads:
            thread.join(within_s)

    def _receive(self) -> None:
        with cast("BinaryIO", self._process.stdout) as stdout:
            try:
                while True:
                    message = read_message(stdout)
                    answers = self._asked.get(message.head["of"])
                    if answers is not None:
                        answers.put(message)
            except (EOFError, OSError, ValueError):
                self._ended = True
                for answers in list(self._asked.values()):
                    answers.put(None)

    def _listen(self) -> None:
        with cast("BinaryIO", self._process.stderr) as stderr:
            relay(stderr, self._said)
