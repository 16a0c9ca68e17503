"""Several layers measured at once, each on a thread of its own, their rows handed to one thread as they come."""

import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Event, Thread

from labctl.contract.errors import InstrumentError
from labctl.contract.layer import Drives, PhysicalLayer, Responses, RowIds, Stop
from labctl.orchestrator.chunks import checked_chunks

POLL_S = 0.1
"""How long the thread that takes rows is deaf to Ctrl-C where a wait cannot be interrupted."""

LET_GO_S = 1.0
"""How long an impatient Ctrl-C waits for the passes under way."""


@dataclass(frozen=True, slots=True)
class Sending:
    """Rows to be sent to a layer: `drives` (n, n_inputs), `ids` (n,)."""

    layer: PhysicalLayer
    drives: Drives
    ids: RowIds


_Told = tuple[int, Responses | BaseException | None]
"""Of the sending of that number: a chunk, what it failed with, or None at its end."""


class Either:
    """Asks for an end when one of two does."""

    def __init__(self, first: Stop, second: Stop) -> None:
        self._first = first
        self._second = second

    def is_set(self) -> bool:
        """Return whether a measurement should end."""
        return self._first.is_set() or self._second.is_set()


def measured(sendings: Sequence[Sending], stop: Stop) -> Generator[tuple[int, Responses | InstrumentError]]:
    """Measure; yield the number of a sending with each of its chunks as they come, or with the failure of its layer.

    One sending alone is measured on the caller's thread. As soon as one layer fails, the others end after their pass
    under way; so they do when the generator is closed. It ends when all have ended. Raises what is no
    `InstrumentError` as it is.
    """
    if len(sendings) == 1:
        yield from _alone(sendings[0], stop)
        return
    halt = Event()
    told: SimpleQueue[_Told] = SimpleQueue()
    threads = [_begin(number, sending, Either(stop, halt), told) for number, sending in enumerate(sendings)]
    left = len(threads)
    try:
        while left:
            try:
                number, what = told.get(timeout=POLL_S)
            except Empty:
                continue
            if isinstance(what, Responses):
                yield number, what
                continue
            left -= 1
            if what is None:
                continue
            halt.set()
            if not isinstance(what, InstrumentError):
                raise what
            yield number, what
    finally:
        halt.set()
        let_go_s = time.monotonic() + LET_GO_S
        for thread in threads:
            thread.join(max(0.0, let_go_s - time.monotonic()))


def _alone(sending: Sending, stop: Stop) -> Generator[tuple[int, Responses | InstrumentError]]:
    chunks = checked_chunks(sending.layer, sending.drives, sending.ids, stop)
    while True:
        try:
            chunk = next(chunks, None)
        except InstrumentError as failure:
            yield 0, failure
            return
        if chunk is None:
            return
        yield 0, chunk


def _begin(number: int, sending: Sending, stop: Stop, told: SimpleQueue[_Told]) -> Thread:
    def measure() -> None:
        try:
            for chunk in checked_chunks(sending.layer, sending.drives, sending.ids, stop):
                told.put((number, chunk))
        except BaseException as error:  # noqa: BLE001 - raised where rows are taken
            told.put((number, error))
        else:
            told.put((number, None))

    thread = Thread(target=measure, name=f"measures {sending.layer.info.name}", daemon=True)
    thread.start()
    return thread
