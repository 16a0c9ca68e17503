"""Turns measurement requests into physical passes, each recorded before anything is learnt from it.

A response is the mean of its block's reads, each of them a row. Every row of a request has an id: ids are given out in
the order of measurement and depend on nothing but the experiment, so a row that the pass log already holds is taken
from there and never measured again.
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from labctl.contract.capabilities import Differentiable, ParameterSink
from labctl.contract.errors import Fault, InputError, InstrumentError, RecordError
from labctl.contract.layer import (
    Drives,
    LayerInfo,
    PhysicalLayer,
    Responses,
    ResponseValues,
    RowIds,
    RowStatus,
    Stop,
)
from labctl.learning.requests import Differentiate, Measure, Purpose, Write
from labctl.network.network import Network
from labctl.network.reads import mean_of_reads
from labctl.orchestrator.order import counterbalanced_order
from labctl.orchestrator.references import LOOKS, DriftGuard
from labctl.orchestrator.stopping import stopped
from labctl.orchestrator.stored_rows import SentDrives
from labctl.orchestrator.switching import Switching
from labctl.orchestrator.together import Either, Sending, measured
from labctl.record.passes import REPEATS_PER_ID, PassRows

_OK = int(RowStatus.OK)
"""A plain number: comparing an array with a member of an enumeration is several times slower."""

_log = logging.getLogger(__name__)


Recover = Callable[[PhysicalLayer, InstrumentError, int], None]
"""Called when a layer fails, with the failure and the good rows so far: returns when it works again, or raises."""


def _give_up(_layer: PhysicalLayer, failure: InstrumentError, _good_rows: int) -> None:
    raise failure


class Hold(Protocol):
    """Says when layers must rest."""

    def is_set(self) -> bool:
        """Return whether they must rest now; the pass under way may end."""
        ...

    def take(self) -> None:
        """Return when they may work and are open again. Raises `InstrumentError` when one does not open."""
        ...


class _NoHold:
    def is_set(self) -> bool:
        return False

    def take(self) -> None:
        """Nothing is to be waited for."""


Disturb = Callable[[int, Responses], Responses]
"""Returns measured rows of a block as they are to be taken for what was measured."""


def _leave_alone(_block: int, chunk: Responses) -> Responses:
    return chunk


class Record(Protocol):
    """Where measured rows go."""

    def append(self, rows: PassRows) -> None:
        """Keep a chunk of rows."""
        ...


class Recorded(Protocol):
    """Rows that were measured earlier."""

    def fill(self, acquisition: "Rows", values: ResponseValues) -> NDArray[np.bool_]:
        """Write recorded responses into `values` (n, n_outputs) and return which rows (n,) they are."""
        ...

    def purpose_of(self, row_id: int) -> str | None:
        """Return what a row was measured for; None for one that is not recorded."""
        ...

    def attempts(self, acquisition: "Rows") -> int:
        """Return how often a row of the acquisition has been rejected at most."""
        ...


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one block in the order of measurement: ids `first_id`, `first_id` + 1, ..."""

    block: int
    purpose: Purpose
    first_id: int
    step: int
    samples: NDArray[np.int64]
    labels: NDArray[np.int64]
    drives: Drives

    @property
    def ids(self) -> RowIds:
        """Ids (n,) in the order of measurement."""
        return np.arange(self.first_id, self.first_id + len(self.samples))


@dataclass
class Counters:
    """What has been spent: rows used by purpose, passes sent now, their hardware seconds, rows rejected and repeated.

    `used` counts rows from the log and from hardware alike; `sent` only what this process put through hardware, for
    `sent_hardware_s`, in which layers that are measured at once count once.
    """

    used: dict[str, int] = field(default_factory=dict[str, int])
    sent: int = 0
    last_id: int = -1
    sent_hardware_s: float = 0.0
    rejected: int = 0
    clipped_values: int = 0


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
        recover: Recover = _give_up,
        hold: Hold | None = None,
        disturb: Disturb = _leave_alone,
        pace: Callable[[], None] = lambda: None,
    ) -> None:
        self.next_id = first_id
        self.step = 0
        self.counters = Counters()
        self._network = network
        self._infos = infos
        self._layers = layers
        self._simulators = simulators or layers
        self._record = record
        self._recorded = recorded
        self._retries = retries
        self._stop = stop or threading.Event()
        self._on_rows = on_rows
        self._guard = guard
        self._recover = recover
        self._hold = hold or _NoHold()
        self._disturb = disturb
        self._pace = pace
        self._generator = np.random.default_rng(0)
        # Of layers by identity: two rigs may have layers of one name, and two blocks one layer.
        self._states: dict[int, str] = {}
        self._wanted: dict[int, NDArray[np.float64]] = {}
        self._written: dict[int, NDArray[np.float64]] = {}
        self._switching = Switching(infos)

    def begin(self, generator: np.random.Generator) -> None:
        """Take over the random numbers that decide the order of the coming acquisitions."""
        self._generator = generator

    def heed_stop(self) -> None:
        """Raise `Stopped` when asked to stop; learning from memory can go on for long without a measurement."""
        if self._stop.is_set():
            raise stopped(self._stop)

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
        return _as_requested(request, values, order)

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
        return [_as_requested(*each) for each in zip(requests.values(), values, orders, strict=True)]

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
        self._wanted[request.block] = request.values

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

    def _recorded_part(self, rows: Rows) -> "_Answer":
        """Return what the record holds of `rows`."""
        info = self._infos[rows.block]
        values = np.empty((len(rows.samples), info.n_outputs), dtype=info.response_dtype)
        done = np.zeros(len(values), np.bool_) if self._recorded is None else self._recorded.fill(rows, values)
        return _Answer(rows, values, done)

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
        return self._layers is not None and guard.is_due(block)

    def _measure(self, answers: Sequence["_Answer"]) -> None:
        """Measure the rows that are missing, repeating rejected ones as often as allowed."""
        if self._layers is None:
            raise RecordError(f"pass {answers[0].first_missing} ({answers[0].rows.purpose}) is not in the log")
        self._pace()
        for answer in answers:
            layer = self._layers[answer.rows.block]
            self._hold_state(layer)
            self._write_parameters(layer, answer.rows.block)
            answer.repeat = 0 if self._recorded is None else self._recorded.attempts(answer.rows)
            answer.last_repeat = min(answer.repeat + self._retries, REPEATS_PER_ID - 1)
        while answers:
            self.heed_stop()
            self._rest_if_told(self._layers)
            for answer in answers:
                self.counters.sent_hardware_s += self._switching.use(answer.rows.block)
            failures = self._attempt(self._layers, answers)
            for layer, failure in failures:
                self._recover_from(failure, layer, self._layers)
            if failures or self._hold.is_set():  # none of the rows' own, nor of those that were broken off with them
                for answer in answers:
                    answer.last_repeat = min(answer.last_repeat + 1, REPEATS_PER_ID - 1)
            answers = [answer for answer in answers if not answer.complete]
            if answers:
                self.heed_stop()
            for answer in answers:
                self._repeat(answer, self._layers)

    def _repeat(self, answer: "_Answer", layers: Sequence[PhysicalLayer]) -> None:
        """Go on to the next repeat of rows that are still missing. Raises `InstrumentError` when it is one too many."""
        layer = layers[answer.rows.block]
        n_missing = len(answer.done) - np.count_nonzero(answer.done)
        _log.warning("%d of %d rows of %s are measured again", n_missing, len(answer.pending), layer.info.name)
        answer.repeat += 1
        if answer.repeat > answer.last_repeat:
            failure = InstrumentError(
                layer.info.name,
                f"row {answer.first_missing} was rejected {answer.repeat} times in a row; "
                "see the pass log for its status, and mend the cause before `labctl resume`",
                fault=Fault.REJECTED,
            )
            if answer.repeat >= REPEATS_PER_ID:
                raise failure
            self._recover_from(failure, layer, layers)
            answer.last_repeat = min(answer.repeat + self._retries, REPEATS_PER_ID - 1)

    def _rest_if_told(self, layers: Sequence[PhysicalLayer]) -> None:
        """Let the layers rest when they must; they are in the state they were held in afterwards."""
        if not self._hold.is_set():
            return
        try:
            self._hold.take()
        except InstrumentError as failure:
            self._recover_from(failure, layers[0], layers)
        else:
            self._write_again(layers)
            for layer in layers:
                self._hold_state(layer)

    def _recover_from(self, failure: InstrumentError, layer: PhysicalLayer, layers: Sequence[PhysicalLayer]) -> None:
        """Return when `layer` works again, in the state it was held in. Raises `InstrumentError` when it does not."""
        self._recover(layer, failure, self.counters.sent - self.counters.rejected)
        self._write_again(layers)
        self._hold_state(layer)

    def _write_parameters(self, layer: PhysicalLayer, block: int) -> None:
        """Bring the layer into the state that its block wants, if it is not; it is held there from now on."""
        wanted = self._wanted.get(block)
        if wanted is None or np.array_equal(wanted, self._written.get(id(layer), ())):
            return
        if not isinstance(layer, ParameterSink):
            cause = "it has no parameters that can be set, though the run was begun with some"
            raise InstrumentError(layer.info.name, cause)
        layer.write_parameters(wanted)
        self._written[id(layer)] = wanted
        self._states[id(layer)] = layer.state_id

    def _write_again(self, layers: Sequence[PhysicalLayer]) -> None:
        """Bring layers that were opened again back into the state they were held in."""
        for layer in layers:
            written = self._written.get(id(layer))
            if written is not None and isinstance(layer, ParameterSink):
                layer.write_parameters(written)

    def _hold_state(self, layer: PhysicalLayer) -> None:
        """Raise `InstrumentError` when the layer is no longer in the state its earlier rows were measured in."""
        state = self._states.setdefault(id(layer), layer.state_id)
        if layer.state_id != state:
            raise InstrumentError(
                layer.info.name,
                f"its state changed from {state} to {layer.state_id} during the run, so that responses and statistics "
                "taken before no longer hold; start a new run, with `init_from` to keep the weights",
                fault=Fault.REFUSED,
            )

    def _attempt(
        self, layers: Sequence[PhysicalLayer], answers: Sequence["_Answer"]
    ) -> list[tuple[PhysicalLayer, InstrumentError]]:
        """Send the missing rows once, all layers at once; return those that failed, and how."""
        sendings: list[Sending] = []
        for answer in answers:
            answer.send_missing()
            rows, pending = answer.rows, answer.pending
            sendings.append(Sending(layers[rows.block], rows.drives.take(pending, axis=0), rows.first_id + pending))
        failures: list[tuple[PhysicalLayer, InstrumentError]] = []
        spent_s = [0.0] * len(sendings)
        with closing(measured(sendings, Either(self._stop, self._hold))) as chunks:
            for number, chunk in chunks:
                layer, longest_s = sendings[number].layer, max(spent_s)
                if isinstance(chunk, InstrumentError):
                    failures.append((layer, chunk))
                    continue
                spent_s[number] += len(chunk.ids) * layer.info.nominal_pass_s
                self.counters.sent_hardware_s += max(spent_s) - longest_s
                self._keep(layer, answers[number], self._disturb(answers[number].rows.block, chunk))
        return failures

    def _keep(self, layer: PhysicalLayer, answer: "_Answer", chunk: Responses) -> None:
        """Keep a chunk of the pending rows in the record, and the good ones as answer."""
        where, rows, counters = answer.received(len(chunk.ids)), answer.rows, self.counters
        good: NDArray[np.int64] = (chunk.status == _OK).nonzero()[0]
        kept = where.take(good)
        answer.values[kept] = chunk.values.take(good, axis=0)
        answer.done[kept] = True
        counters.sent += len(where)
        counters.last_id = int(chunk.ids[-1]) if len(chunk.ids) else counters.last_id
        counters.rejected += int(np.count_nonzero(chunk.status))
        if self._record is not None:
            self._record.append(
                PassRows(
                    ids=chunk.ids,
                    repeat=answer.repeat,
                    step=rows.step,
                    block=rows.block,
                    purpose=rows.purpose,
                    samples=rows.samples.take(where),
                    labels=rows.labels.take(where),
                    layer=layer.info.name,
                    state_id=layer.state_id,
                    status=chunk.status,
                    time_s=chunk.time_s,
                    drives=rows.drives.take(where, axis=0),
                    responses=chunk.values,
                    raw=chunk.raw,
                )
            )
        if self._on_rows is not None:
            self._on_rows(counters)


@dataclass(eq=False)
class _Answer:
    """Rows with their responses `values` (n, n_outputs) as far as they are `done` (n,), and the attempt at the rest.

    `pending` are the indices of the rows sent last, `repeat` counts attempts from 0, `last_repeat` is allowed.
    """

    rows: Rows
    values: ResponseValues
    done: NDArray[np.bool_]
    repeat: int = 0
    last_repeat: int = 0
    pending: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    _n_received: int = 0

    @property
    def complete(self) -> bool:
        """Whether every row is done."""
        return bool(np.count_nonzero(self.done) == len(self.done))

    @property
    def first_missing(self) -> int:
        """The id of the first row that is not done."""
        return self.rows.first_id + int(np.argmin(self.done))

    def send_missing(self) -> None:
        """Have all rows on their way that are not done."""
        (self.pending,) = (~self.done).nonzero()
        self._n_received = 0

    def received(self, n: int) -> NDArray[np.int64]:
        """Return the indices of the next `n` rows on their way."""
        where = self.pending[self._n_received : self._n_received + n]
        self._n_received += n
        return where


def _as_requested(request: Measure, values: ResponseValues, order: NDArray[np.int64]) -> ResponseValues:
    """Return the answer to a request: `values` (n, n_outputs) put in place by `order` (n,), each the mean of reads."""
    requested = np.empty_like(values)
    requested[order] = values
    return mean_of_reads(requested.reshape(*request.labels.shape, -1, values.shape[1]))
