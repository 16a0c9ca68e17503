"""The process that owns an audio device: plays what it is sent, and falls silent when nobody is there to send.

PortAudio can hang for ever, and a process that is killed cannot mute. So the stream lives in a child that does nothing
else. Its watchdog thread waits for nothing: when the parent's pipe ends or the parent says nothing for `SILENCE_S`, it
lets the callback fade out, gives the main thread a moment to close the device in order, and ends the process whatever
became of that, which closes the device, too.
"""

import os
import sys
import time
from queue import Empty, SimpleQueue
from threading import Event, Lock, Thread
from typing import Any, BinaryIO, NoReturn

from labctl.contract.audio import Samples
from labctl.contract.children import outlive_signals, own_streams
from labctl.contract.messages import Message, encode, read_message
from labctl_drivers.audio.device import DeviceError, DeviceWanted, Stream
from labctl_drivers.audio.splicer import Splicer, Take

SILENCE_S = 1.0
"""A parent that has not been heard for so long is gone or hangs."""

PULSE_S = 0.05
BEAT_S = 0.2
FADED_S = 0.2
"""How long a fade-out may take before the process goes on without it."""

CLOSED_S = 0.4
"""How long closing may take before the process ends without it."""


def main() -> None:
    """Serve the driver that is this process's parent."""
    outlive_signals()
    stdin, stdout = own_streams()
    try:
        begin = read_message(stdin)
    except EOFError:
        return
    Engine(begin.head, stdout).serve(stdin)


class Engine:
    """A device, what is played on it, and who listens to its parent."""

    def __init__(self, begin: Any, stdout: BinaryIO) -> None:
        self._stdout = stdout
        self._writing = Lock()
        self._events: SimpleQueue[Message | Take | None] = SimpleQueue()
        self._silent = Event()
        self._stall_s: float = begin["stall_s"]
        self._wanted = DeviceWanted(**begin["device"])
        self._splicer = Splicer(self._wanted.samplerate_hz, self._events.put, self._silent.set)
        self._heard_s = time.monotonic()
        self._leaving = False

    def serve(self, stdin: BinaryIO) -> None:
        """Open the device and do what the parent says until it ends."""
        Thread(target=self._listen, args=(stdin,), name="parent", daemon=True).start()
        Thread(target=self._watch, name="watchdog", daemon=True).start()
        Thread(target=self._beat, name="beat", daemon=True).start()
        try:
            stream = Stream(self._wanted, self._process)
        except DeviceError as error:
            self._say({"kind": "failed", "text": str(error)})
            _end()
        self._say({"kind": "opened"})
        while not self._leaving:
            try:
                event = self._events.get(timeout=PULSE_S)
            except Empty:
                event = None
            if isinstance(event, Take):
                self._say_heard(event)
            elif event is not None:
                self._heed(event)
            if not stream.active or time.monotonic() - self._splicer.called_s > self._stall_s:
                self._say({"kind": "failed", "text": "the device has stopped: it was unplugged, or its server ended"})
                _end()
        stream.close()
        _end()

    def _process(self, heard: Samples, played: Samples, lost: bool) -> None:
        self._splicer.process(heard, played, flagged=lost)

    def _heed(self, message: Message) -> None:
        head = message.head
        if message.kind == "play":
            played, n_inputs = message.arrays["played"], self._wanted.input_channels
            self._splicer.add(Take(head["number"], played, n_inputs, head["flag_wait"]))
        elif message.kind == "delay":
            self._splicer.delay = head["frames"]
        elif message.kind == "hold":
            self._splicer.held = head["held"]
        elif message.kind == "mute":
            self._mute()
            self._say({"kind": "muted", "number": head["number"]})
        elif message.kind == "close":
            self._mute()
            self._leaving = True

    def _mute(self) -> bool:
        self._silent.clear()
        self._splicer.mute()
        return self._silent.wait(FADED_S)

    def _say_heard(self, take: Take) -> None:
        head = {"kind": "heard", "number": take.number, "flagged": take.flagged, "delay": take.delay}
        self._say({**head, "time_s": take.time_s}, take.heard)

    def _say(self, head: dict[str, object], heard: Samples | None = None) -> None:
        data = encode(head, None if heard is None else {"heard": heard})
        with self._writing:
            try:
                self._stdout.write(data)
                self._stdout.flush()
            except OSError:
                return  # nobody is left to be told; the watchdog knows

    def _listen(self, stdin: BinaryIO) -> None:
        try:
            while True:
                message = read_message(stdin)
                self._heard_s = time.monotonic()
                if message.kind != "beat":
                    self._events.put(message)
        except (EOFError, OSError):
            self._heard_s = float("-inf")

    def _beat(self) -> None:
        while True:
            self._say({"kind": "beat"})
            time.sleep(BEAT_S)

    def _watch(self) -> None:
        while time.monotonic() - self._heard_s < SILENCE_S:
            time.sleep(PULSE_S)
        self._mute()
        self._leaving = True
        time.sleep(CLOSED_S)
        _end()


def _end() -> NoReturn:
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
