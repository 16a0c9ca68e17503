"""The rig host: the process that owns a rig's links, and makes the rig safe when its orchestrator is gone.

Three threads: one reads what the orchestrator says, one talks to instruments (see `worker`), and the main one, which
never waits for an instrument, keeps watch. When the orchestrator ends or is silent, when it asks for it, when the guard
is gone, the main thread makes the rig safe on the live links; where that is not certain in time, or an instrument call
takes longer than it may, it ends the process on the spot, and the guard does the rest.
"""

import logging
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event, Lock, Semaphore, Thread
from typing import Any, BinaryIO, NoReturn, cast

from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from labctl.config.loading import LoadedRig, rig_from_text
from labctl.contract.capabilities import HealthCheckable, Identifiable, ParameterSink, RawSignals
from labctl.contract.children import outlive_signals, own_streams
from labctl.contract.errors import InputError, InstrumentError, LabctlError
from labctl.contract.layer import LayerInfo, Responses
from labctl.contract.messages import Message, encode, read_message
from labctl.rig.calibrating import calibrate, calibration_as_message
from labctl.rig.children import ALL_SAFE, log_to_stderr
from labctl.rig.doctor import examine_here
from labctl.rig.examined import examined_as_json, findings_as_json
from labctl.rig.guarding import Guard
from labctl.rig.messages import as_bytes, error_as_head
from labctl.rig.rig import Rig, build_rig, close_parts, identities, make_parts_safe, open_parts
from labctl.rig.safe_plan import collect
from labctl.rig.worker import Worker

BEAT_S = 0.1

AHEAD = 2
"""Chunks that may be measured before the orchestrator has taken them: what is lost when it is killed."""

CALIBRATION_S = 600.0
"""What a calibration may take; only the part itself knows how much it measures."""

_log = logging.getLogger("labctl.rig.host")

_Inbox = SimpleQueue[Message | None]
_Answer = tuple[Mapping[str, object], Mapping[str, NDArray[Any]]]


def main() -> None:
    """Serve the orchestrator that is this process's parent."""
    outlive_signals()
    log_to_stderr()
    stdin, stdout = own_streams()
    try:
        begin = read_message(stdin)
    except EOFError:
        return
    outbox = Outbox(stdout)
    inbox = _reading(stdin)
    with threadpool_limits(1):  # as the orchestrator's, so that simulators round as they do there
        try:
            source = begin.head["rig"]
            loaded = rig_from_text(source["text"], Path(source["path"]), Path(source["folder"]), source["overrides"])
            rig = build_rig(loaded)
            plan = collect([*rig.instruments.values(), *rig.layers.values()])
            guard = Guard(rig.name, plan, begin.head["owner"], loaded.rig.host.safe_within_s / 2)
        except LabctlError as error:
            outbox.put(begin, error_as_head(error, traceback.format_exc()))
            return
        outbox.put(begin, {"kind": "done"})
        Host(rig, loaded, guard, outbox).serve(inbox)


class Outbox:
    """Where answers go, from several threads. An orchestrator that is gone takes none, which its silence tells."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._lock = Lock()

    def put(self, to: Message, head: Mapping[str, object], arrays: Mapping[str, NDArray[Any]] | None = None) -> None:
        """Answer the message `to`."""
        data = encode({"of": to.head["id"], **head}, arrays)
        with self._lock:
            try:
                self._stream.write(data)
                self._stream.flush()
            except OSError:
                return


class Measurement:
    """A request for rows under way: whether it is to end, and how many chunks may be measured ahead.

    `cut_short` says why the host ends it, should it not be the orchestrator that does.
    """

    def __init__(self) -> None:
        self.stop = Event()
        self.cut_short: str | None = None
        self._wanted = Semaphore(AHEAD)

    def more(self) -> None:
        """Let one more chunk be measured."""
        self._wanted.release()

    def wait(self) -> None:
        """Return when the next chunk is wanted, or the request is to end."""
        while not self.stop.is_set() and not self._wanted.acquire(timeout=BEAT_S):
            pass


class Host:
    """Serves one orchestrator with one rig."""

    def __init__(self, rig: Rig, loaded: LoadedRig, guard: Guard, outbox: Outbox) -> None:
        self._rig = rig
        self._loaded = loaded
        self._safe_within_s = loaded.rig.host.safe_within_s
        self._patience_s = loaded.rig.host.patience_s
        self._guard = guard
        self._outbox = outbox
        self._worker = Worker()
        self._jobs: Mapping[str, Callable[[Message], None]] = {
            "open": self._open,
            "write": self._write,
            "health": self._health,
            "calibrate": self._calibrate,
        }
        self._measuring_jobs: Mapping[str, Callable[[Message, Measurement], None]] = {
            "measure": self._measure,
            "examine": self._examine,
        }
        self._under_way: dict[int, Measurement] = {}
        self._doubtful = False
        self._silent_s = 0.0

    def serve(self, inbox: _Inbox) -> None:
        """Do what the orchestrator says until it says to close; leave the rig safe on every way out."""
        while True:
            asked_s = time.monotonic()
            try:
                message = inbox.get(timeout=BEAT_S)
            except Empty:
                # Time in which this process itself stood still is nobody's silence.
                self._silent_s += min(time.monotonic() - asked_s, 2 * BEAT_S)
                self._keep_watch()
                continue
            if message is None:
                self._leave("the orchestrator has ended")
            self._silent_s = 0.0
            self._keep_watch()
            if message.kind == "close":
                self._close(message)
                return
            self._heed(message)

    def _keep_watch(self) -> None:
        self._guard.beat()
        if self._silent_s > self._safe_within_s / 2:
            self._leave(f"the orchestrator has been silent for {self._silent_s:.1f} s", spent_s=self._silent_s)
        if not self._guard.alive:
            self._leave("the guard is gone")
        if self._worker.overdue:
            self._end("an instrument call takes longer than it may")

    def _heed(self, message: Message) -> None:
        head = message.head
        if message.kind in self._jobs:
            self._guard.safe(certain=False)
            self._worker.put(partial(self._jobs[message.kind], message))
        elif message.kind in self._measuring_jobs:
            self._guard.safe(certain=False)
            measurement = self._under_way[head["id"]] = Measurement()
            self._worker.put(partial(self._measuring_jobs[message.kind], message, measurement))
        elif message.kind in ("more", "stop"):
            measurement = self._under_way.get(head["measurement"])
            if measurement is not None:
                measurement.more() if message.kind == "more" else measurement.stop.set()
        elif message.kind == "run":
            self._guard.name_run(head["name"])
        elif message.kind == "make_safe":
            self._require_safe("asked to make safe")
            self._answer(message, {"kind": "done"})

    def _open(self, message: Message) -> None:
        """Open all parts; one that cannot be opened has not been used, and leaves no doubt that it is safe."""
        try:
            with self._worker.call(self._patience_s):
                open_parts([self._rig])
            self._answer(message, {"kind": "done", "instruments": identities(self._rig)})
        except Exception as error:  # noqa: BLE001 - the orchestrator is told, whatever it is
            self._answer(message, error_as_head(error, traceback.format_exc()))

    def _write(self, message: Message) -> None:
        """Set a layer's parameters and answer with what became of them."""

        def write() -> _Answer:
            layer = cast("ParameterSink", self._rig.layers[message.head["part"]])
            written = layer.write_parameters(message.arrays["values"])
            return {}, {"commanded": written.commanded, "applied": written.applied}

        self._do(message, write)

    def _health(self, message: Message) -> None:
        """Answer with what a layer says of itself."""
        layer = cast("HealthCheckable", self._rig.layers[message.head["part"]])
        self._do(message, lambda: ({"findings": findings_as_json(layer.health())}, {}))

    def _calibrate(self, message: Message) -> None:
        """Answer with what a part measures of itself."""
        self._do(message, lambda: calibration_as_message(calibrate(self._rig, message.head["part"])), CALIBRATION_S)

    def _do(self, message: Message, act: "Callable[[], _Answer]", may_take_s: float = 0.0) -> None:
        try:
            with self._worker.call(self._patience_s + may_take_s):
                head, arrays = act()
            self._answer(message, {"kind": "done", **head}, arrays)
        except Exception as error:  # noqa: BLE001 - the orchestrator is told, whatever it is
            self._doubtful = self._doubtful or not isinstance(error, InputError)
            self._answer(message, error_as_head(error, traceback.format_exc()))

    def _examine(self, message: Message, examination: Measurement) -> None:
        """Answer with what is found out, part by part."""
        longest = max((layer.info for layer in self._rig.layers.values()), key=lambda info: info.nominal_pass_s)
        parts = examine_here(self._rig, self._loaded, examination.stop)
        try:
            while not examination.stop.is_set():
                with self._worker.call(self._may_take_s(longest, 1)):
                    examined = next(parts, None)
                if examined is None:
                    break
                self._doubtful = self._doubtful or examined.in_doubt
                self._answer(message, {"kind": "examined", "examined": examined_as_json(examined)})
            self._answer(message, self._end_of(examination))
        except Exception as error:  # noqa: BLE001 - the orchestrator is told, whatever it is
            self._doubtful = True
            self._answer(message, error_as_head(error, traceback.format_exc()))
        finally:
            del self._under_way[message.head["id"]]

    def _measure(self, message: Message, measurement: Measurement) -> None:
        """Answer with chunk after chunk. What fails leaves a doubt that its link still works, until one does not."""
        try:
            for chunk in self._chunks(message, measurement):
                arrays = {"ids": chunk.ids, "values": chunk.values, "status": chunk.status, "time_s": chunk.time_s}
                if chunk.raw is not None:
                    arrays["raw"] = as_bytes(chunk.raw)
                self._answer(message, {"kind": "chunk"}, arrays)
                self._doubtful = False
            self._answer(message, self._end_of(measurement))
        except Exception as error:  # noqa: BLE001 - the orchestrator is told, whatever it is
            self._doubtful = self._doubtful or not isinstance(error, InputError)
            self._answer(message, error_as_head(error, traceback.format_exc()))
        finally:
            del self._under_way[message.head["id"]]

    def _end_of(self, measurement: Measurement) -> dict[str, object]:
        """Return how a measurement ended that did not fail."""
        if measurement.cut_short is None:
            return {"kind": "done"}
        return error_as_head(InstrumentError(f"rig {self._rig.name}", measurement.cut_short, command="measure"), "")

    def _chunks(self, message: Message, measurement: Measurement) -> Iterator[Responses]:
        layer, ids = self._rig.layers[message.head["layer"]], message.arrays["ids"]
        left = len(ids)
        if isinstance(layer, RawSignals):
            layer.deliver_raw(wanted=message.head["raw"])
        with self._worker.call(self._may_take_s(layer.info, left)):
            rows = layer.measure(message.arrays["drives"], ids, stop=measurement.stop)
        while True:
            measurement.wait()
            with self._worker.call(self._may_take_s(layer.info, left)):
                chunk = next(rows, None)
            if chunk is None:
                return
            left -= len(chunk.ids)
            yield chunk

    def _may_take_s(self, info: LayerInfo, rows: int) -> float:
        """Return how long a chunk may take that may hold all `rows`."""
        return self._patience_s + 2.0 * info.nominal_pass_s * rows

    def _answer(
        self, to: Message, head: Mapping[str, object], arrays: Mapping[str, NDArray[Any]] | None = None
    ) -> None:
        layers = self._rig.layers
        states = {name: layer.state_id for name, layer in layers.items()}
        identities = {name: layer.identity for name, layer in layers.items() if isinstance(layer, Identifiable)}
        self._outbox.put(to, {**head, "states": states, "identities": identities}, arrays)

    def _require_safe(self, reason: str, spent_s: float = 0.0) -> None:
        """Return when all is safe; where that is not certain in time, end the process."""
        self._guard.safe(certain=False)
        for measurement in list(self._under_way.values()):
            measurement.cut_short = reason
            measurement.stop.set()
        if not self._made_safe((self._safe_within_s - spent_s) / 2):
            self._end(f"{reason}, and it is not certain that all is safe")
        self._guard.safe(certain=True)

    def _made_safe(self, within_s: float) -> bool:
        """Make all parts safe and return whether that is certain; half the time is left for the guard."""
        deadline_s = time.monotonic() + within_s
        outcome: list[bool] = []
        thread = Thread(target=lambda: outcome.append(self._make_safe()), name="make safe", daemon=True)
        thread.start()
        while thread.is_alive() and time.monotonic() < deadline_s:
            self._guard.beat()
            thread.join(BEAT_S / 2)
        return outcome == [True]

    def _make_safe(self) -> bool:
        """Make safe at once what must be, then, when no pass is under way that could undo it, everything."""
        if not self._worker.idle:
            make_parts_safe([self._rig], safeguarded_only=True)
            self._worker.wait_until_idle()
        return make_parts_safe([self._rig]) and not self._doubtful

    def _close(self, message: Message) -> None:
        """Leave in good order."""
        self._require_safe("asked to close")
        self._close_parts()
        self._guard.dismiss()
        self._answer(message, {"kind": "done"})

    def _close_parts(self) -> None:
        def job() -> None:
            with self._worker.call(self._patience_s):
                close_parts([self._rig])

        self._worker.put(job)
        while not self._worker.idle:
            self._guard.beat()
            if self._worker.overdue:
                self._end("closing takes longer than it may")
            time.sleep(BEAT_S / 10)

    def _leave(self, reason: str, spent_s: float = 0.0) -> NoReturn:
        """Leave the rig safe without anybody to answer to."""
        _log.warning("%s; making safe", reason)
        self._require_safe(reason, spent_s)
        _log.warning(ALL_SAFE)
        self._close_parts()
        _end_process()

    def _end(self, reason: str) -> NoReturn:
        """End at once, whatever the other threads wait for; the guard sees that nothing was said to be safe."""
        _log.error("%s", reason)
        _end_process()


def _end_process() -> NoReturn:
    sys.stderr.flush()
    os._exit(1)


def _reading(stream: BinaryIO) -> _Inbox:
    """Return a queue of what the orchestrator says, with None after its end."""
    inbox: _Inbox = SimpleQueue()

    def read() -> None:
        try:
            while True:
                inbox.put(read_message(stream))
        except (EOFError, OSError):
            inbox.put(None)

    Thread(target=read, name="orchestrator", daemon=True).start()
    return inbox


if __name__ == "__main__":
    main()
