"""Turns measurement requests into physical passes, each recorded before anything is learnt from it.

A response is the mean of its block's reads, each of them a row. Every row of a request has an id: ids are given out in
the order of measurement and depend on nothing but the experiment, so a row that the pass log already holds is taken
from there and never measured again.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from labctl.contract.capabilities import Differentiable
from labctl.contract.errors import InputError, RecordError
from labctl.contract.layer import LayerInfo, PhysicalLayer, ResponseValues, Stop
from labctl.learning.requests import Differentiate, Measure, Write
from labctl.network.network import Network
from labctl.network.reads import mean_of_reads
from labctl.orchestrator.counters import Counters
from labctl.orchestrator.measuring import Disturb, Hold, Measuring, NoHold, Record, Recover, give_up, leave_alone
from labctl.orchestrator.order import counterbalanced_order
from labctl.orchestrator.references import LOOKS, DriftGuard
from labctl.orchestrator.rows import Answer, Rows
from labctl.orchestrator.stopping import heed
from labctl.orchestrator.stored_rows import SentDrives


class Recorded(Protocol):
    """Rows that were measured earlier."""

    def fill(self, acquisition: Rows, values: ResponseValues) -> NDArray[np.bool_]:
        """Write recorded responses into `values` (n, n_outputs) and return which rows (n,) they are."""
        ...

    def purpose_of(self, row_id: int) -> str | None:
        """Return what a row was measured for; None for one that is not recorded."""
        ...

    def attempts(self, acquisition: Rows) -> int:
        """Return how often a row of the acquisition has been rejected at most."""
        ...


class Acquisition:
    """Answers requests from recorded rows where it can and from hardware where it must.

    `infos` has one entry per block; `layers` likewise, or is None when only recorded rows may be used. `simulators`
    are open layers to ask for derivatives, which no log holds; unless given, `layers`. `on_rows` is called after every
    chunk of rows. A `guard` looks at the layers every now and then; `recover` is called when one fails, `pace` before
    hardware is sent the rows of a request; `disturb` has every chunk in its hands before it is recorded. While `hold`
    is set nothing is measured.
    """

    def __init__(
        self,
        network: Network,
        infos: Sequence[LayerInfo],
        layers: Sequence[PhysicalLayer] | None,
        *,
        simulators: Sequence[PhysicalLayer] | None = None,
        record: Record | None = None,
        recorded: Recorded | None = None,
        retries: int = 0,
        stop: Stop | None = None,
        first_id: int = 0,
        on_rows: Callable[[Counters], None] | None = None,
        guard: DriftGuard | None = None,
        recover: Recover = give_up,
        hold: Hold | None = None,
        disturb: Disturb = leave_alone,
        pace: Callable[[], None] = lambda: None,
    ) -> None:
        self.next_id = first_id
        self.step = 0
        self.counters = Counters()
        self._network = network
        self._infos = infos
        self._simulators = simulators or layers
        self._recorded = recorded
        self._stop = stop or threading.Event()
        self._guard = guard
        self._generator = np.random.default_rng(0)
        self._measuring: Measuring | None = None
        if layers is not None:
            self._measuring = Measuring(
                infos,
                layers,
                self.counters,
                record=record,
                retries=retries,
                stop=self._stop,
                on_rows=on_rows,
                recover=recover,
                hold=hold or NoHold(),
                disturb=disturb,
                pace=pace,
            )

    def begin(self, generator: np.random.Generator) -> None:
        """Take over the random numbers that decide the order of the coming acquisitions."""
        self._generator = generator

    def heed_stop(self) -> None:
        """Raise `Stopped` when asked to stop; learning from memory can go on for long without a measurement."""
        heed(self._stop)

    def acquire(self, request: Measure) -> ResponseValues:
        """Return the responses (groups, k, n_outputs) to `request`.

        Raises `Stopped` when asked to stop before all rows are measured, `Remixed` when the guard finds that the
        training responses there are have become worthless, `InstrumentError` when rows keep failing,
        `DriveError` before anything is sent, `RecordError` when rows are missing and there is no hardware.
        """
        rows, order = self._rows(request, self.step)
        if self._guard is not None:
            rows = self._after_looks(self._guard, rows)
        self.next_id = rows.first_id + len(order)
        (values,), _ = self._responses(rows)
        if self._guard is not None:
            sent = SentDrives(rows.samples, rows.labels, rows.drives)
            values = self._guard.used(request.block, request.purpose, sent, values)
        return self._as_requested(request, values, order)

    def acquire_together(self, requests: Mapping[int, Measure]) -> list[ResponseValues]:
        """Return the responses to requests by step, each of a block of its own, their layers measured at once.

        Ids are given out in the order of `requests`, whichever row comes first. No guard looks. Raises as `acquire`.
        """
        asked: list[tuple[Rows, NDArray[np.int64]]] = []
        for step, request in requests.items():
            asked.append(self._rows(request, step))
            self.next_id += len(asked[-1][1])
        values, _ = self._responses(*(rows for rows, _ in asked))
        orders = [order for _, order in asked]
        return [self._as_requested(*each) for each in zip(requests.values(), values, orders, strict=True)]

    def differentiate(self, request: Differentiate) -> NDArray[np.floating]:
        """Return the gradient (n, n_inputs) that the layer of the request's block tells of itself.

        Raises `InputError` when no layer that knows its derivative is at hand.
        """
        layer = None if self._simulators is None else self._simulators[request.block]
        if not isinstance(layer, Differentiable):
            name = self._infos[request.block].name
            raise InputError(f"the derivative of layer '{name}' is needed, and no simulator that knows it is open")
        drives = self._network.blocks[request.block].encoder.encode(request.inputs).drives
        return layer.differentiate(drives, request.upstream)

    def write(self, request: Write) -> None:
        """Let the parameters of the block's layer be as requested when it is measured next.

        They are written then and not before: rows that are recorded need no hardware in any state.
        """
        if self._measuring is not None:
            self._measuring.want(request.block, request.values)

    def _rows(self, request: Measure, step: int) -> tuple[Rows, NDArray[np.int64]]:
        """Return the rows of a request of `step`, and where in it (groups, k, reads) each of them belongs.

        Each response asked for takes as many rows as its block takes reads.
        """
        groups, k = request.labels.shape
        block = self._network.blocks[request.block]
        order = counterbalanced_order(groups, k * block.reads, self._generator)
        wanted: NDArray[np.int64] = order // block.reads
        groups_wanted: NDArray[np.int64] = wanted // k
        encoded = block.encoder.encode(request.inputs.reshape(groups * k, -1))
        self.counters.clipped_values += encoded.clipped
        rows = Rows(
            request.block,
            request.purpose,
            self.next_id,
            step,
            samples=request.samples.take(groups_wanted),
            labels=request.labels.take(wanted),
            drives=encoded.drives.take(wanted, axis=0),
        )
        return rows, order

    def _responses(self, *asked: Rows) -> tuple[list[ResponseValues], bool]:
        """Return the responses (n, n_outputs) to rows of different blocks, and whether any was measured now."""
        answers = [self._recorded_part(rows) for rows in asked]
        missing = [answer for answer in answers if not answer.complete]
        if missing:
            self._measure(missing)
        used = self.counters.used
        for rows in asked:
            used[rows.purpose] = used.get(rows.purpose, 0) + len(rows.samples)
        return [answer.values for answer in answers], bool(missing)

    def _measure(self, missing: Sequence[Answer]) -> None:
        """Measure what the record does not hold."""
        if self._measuring is None:
            raise RecordError(f"pass {missing[0].first_missing} ({missing[0].rows.purpose}) is not in the log")
        if self._recorded is not None:
            for answer in missing:
                answer.repeat = self._recorded.attempts(answer.rows)
        self._measuring.measure(missing)

    def _recorded_part(self, rows: Rows) -> Answer:
        """Return what the record holds of `rows`."""
        info = self._infos[rows.block]
        values = np.empty((len(rows.samples), info.n_outputs), dtype=info.response_dtype)
        done = np.zeros(len(values), np.bool_) if self._recorded is None else self._recorded.fill(rows, values)
        return Answer(rows, values, done)

    def _after_looks(self, guard: DriftGuard, rows: Rows) -> Rows:
        """Look at the layer first where that is due; return `rows` with the ids that come after."""
        block = rows.block
        guard.propose(block, rows.samples, rows.labels, rows.drives)
        while self._look_is_due(guard, block):
            purpose, references = guard.look_at(block)
            first_id = self.next_id
            look = Rows(block, purpose, first_id, self.step, references.samples, references.labels, references.drives)
            (values,), live = self._responses(look)
            self.next_id = first_id + len(values)
            trains = rows.purpose in ("train", "statistics")
            guard.conclude(block, first_id, values, live=live, retrain=trains)
        return replace(rows, first_id=self.next_id)

    def _look_is_due(self, guard: DriftGuard, block: int) -> bool:
        """Follow the record where there is one; else ask the guard."""
        recorded = None if self._recorded is None else self._recorded.purpose_of(self.next_id)
        if recorded is not None:
            return recorded in LOOKS
        return self._measuring is not None and guard.is_due(block)

    def _as_requested(self, request: Measure, values: ResponseValues, order: NDArray[np.int64]) -> ResponseValues:
        """Return the answer to a request: `values` (n, n_outputs) put in place by `order` (n,), each the mean of reads.

        Running statistics of the block follow what it is trained on.
        """
        requested = np.empty_like(values)
        requested[order] = values
        responses = mean_of_reads(requested.reshape(*request.labels.shape, -1, values.shape[1]))
        if request.purpose == "train":
            self._network.blocks[request.block].follow(responses)
        return responses
