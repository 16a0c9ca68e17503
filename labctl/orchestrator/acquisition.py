"""Turns measurement requests into physical passes, each recorded before anything is learnt from it.

A response is the mean of its block's reads, each of them a row. Every row of a request has an id: ids are given out in
the order of measurement and depend on nothing but the experiment, so a row that the pass log already holds is taken
from there and never measured again.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from labctl.contract.capabilities import Differentiable, ParameterSink
from labctl.contract.errors import InputError, InstrumentError, RecordError
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
from labctl.record.passes import REPEATS_PER_ID, PassRows

_OK = int(RowStatus.OK)
"""A plain number: comparing an array with a member of an enumeration is several times slower."""

_log = logging.getLogger(__name__)


Recover = Callable[[PhysicalLayer, InstrumentError, int], None]
"""Called when a layer fails, with the failure and the rows sent so far: returns when it works again, or raises."""


def _give_up(layer: PhysicalLayer, failure: InstrumentError, rows_sent: int) -> None:  # noqa: ARG001 - a `Recover`
    raise failure


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

    `used` counts rows from the log and from hardware alike; `sent` only what this process put through hardware.
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
    chunk of rows. A `guard` looks at the layers every now and then; `recover`
    is called when one fails.
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
        rows, order = self._rows(request)
        if self._guard is not None:
            rows = self._after_looks(self._guard, rows)
        self.next_id = rows.first_id + len(order)
        values, _ = self._responses(rows)
        if self._guard is not None:
            sent = SentDrives(rows.samples, rows.labels, rows.drives)
            values = self._guard.used(request.block, request.purpose, sent, values)
        requested = np.empty_like(values)
        requested[order] = values
        return mean_of_reads(requested.reshape(*request.labels.shape, -1, values.shape[1]))

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

    def _rows(self, request: Measure) -> tuple[Rows, NDArray[np.int64]]:
        """Return the rows of a request, and where in it (groups, k, reads) each of them belongs.

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
            samples=request.samples.take(groups_wanted),
            labels=request.labels.take(wanted),
            drives=encoded.drives.take(wanted, axis=0),
        )
        return rows, order

    def _responses(self, rows: Rows) -> tuple[ResponseValues, bool]:
        """Return the responses (n, n_outputs) to rows, and whether any was measured now."""
        info = self._infos[rows.block]
        values = np.empty((len(rows.samples), info.n_outputs), dtype=info.response_dtype)
        done = np.zeros(len(values), np.bool_) if self._recorded is None else self._recorded.fill(rows, values)
        missing = bool(np.count_nonzero(done) < len(done))
        if missing:
            self._measure(rows, values, done)
        used = self.counters.used
        used[rows.purpose] = used.get(rows.purpose, 0) + len(values)
        return values, missing

    def _after_looks(self, guard: DriftGuard, rows: Rows) -> Rows:
        """Look at the layer first where that is due; return `rows` with the ids that come after."""
        block = rows.block
        guard.propose(block, rows.samples, rows.labels, rows.drives)
        while self._look_is_due(guard, block):
            purpose, references = guard.look_at(block)
            first_id = self.next_id
            look = Rows(block, purpose, first_id, references.samples, references.labels, references.drives)
            values, live = self._responses(look)
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

    def _measure(self, rows: Rows, values: ResponseValues, done: NDArray[np.bool_]) -> None:
        """Measure the rows that are not `done`, repeating rejected ones as often as allowed."""
        if self._layers is None:
            missing = rows.first_id + int(np.argmin(done))
            raise RecordError(f"pass {missing} ({rows.purpose}) is not in the log")
        layer = self._layers[rows.block]
        self._hold_state(layer)
        self._write_parameters(layer, rows.block)
        first = 0 if self._recorded is None else self._recorded.attempts(rows)
        last = min(first + self._retries, REPEATS_PER_ID - 1)
        repeat = first
        while repeat <= last:
            (pending,) = (~done).nonzero()
            self.heed_stop()
            self.counters.sent_hardware_s += self._switching.use(rows.block)
            try:
                self._attempt(layer, rows, pending, repeat, values, done)
            except InstrumentError as failure:
                self._recover(layer, failure, self.counters.sent)
                self._write_again(self._layers)
                self._hold_state(layer)
                last = min(last + 1, REPEATS_PER_ID - 1)  # it was none of the rows' own
            repeat += 1
            if np.count_nonzero(done) == len(done):
                return
            self.heed_stop()
            _log.warning("%d of %d rows of %s rejected, repeating", (~done).sum(), len(pending), layer.info.name)
        raise InstrumentError(
            layer.info.name,
            f"row {rows.first_id + int(np.argmin(done))} was rejected {last + 1} times in a row; "
            "see the pass log for its status, and mend the cause before `labctl resume`",
        )

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
            )

    def _attempt(
        self,
        layer: PhysicalLayer,
        rows: Rows,
        pending: NDArray[np.int64],
        repeat: int,
        values: ResponseValues,
        done: NDArray[np.bool_],
    ) -> None:
        """Send the `pending` rows once; keep the good ones in `values`, all of them in the record."""
        ids = rows.first_id + pending
        received = 0
        for chunk in layer.measure(rows.drives.take(pending, axis=0), ids, stop=self._stop):
            expected = slice(received, received + len(chunk.ids))
            where = pending[expected]
            _check_chunk(layer.info, chunk, ids[expected])
            received += len(chunk.ids)
            good: NDArray[np.int64] = (chunk.status == _OK).nonzero()[0]
            kept = where.take(good)
            values[kept] = chunk.values.take(good, axis=0)
            done[kept] = True
            self._keep(layer, rows, where, repeat, chunk)
        if received < len(pending) and not self._stop.is_set():
            raise InstrumentError(layer.info.name, f"returned {received} of {len(pending)} rows without saying why")

    def _keep(self, layer: PhysicalLayer, rows: Rows, where: NDArray[np.int64], repeat: int, chunk: Responses) -> None:
        counters = self.counters
        counters.sent += len(where)
        counters.last_id = int(chunk.ids[-1]) if len(chunk.ids) else counters.last_id
        counters.sent_hardware_s += len(where) * layer.info.nominal_pass_s
        counters.rejected += int(np.count_nonzero(chunk.status))
        if self._record is not None:
            self._record.append(
                PassRows(
                    ids=chunk.ids,
                    repeat=repeat,
                    step=self.step,
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
                )
            )
        if self._on_rows is not None:
            self._on_rows(counters)


def _check_chunk(info: LayerInfo, chunk: Responses, expected: RowIds) -> None:
    """Raise `InstrumentError` unless the chunk is what was asked for: a wrong pairing must never be learnt from."""
    if not np.array_equal(chunk.ids, expected):
        raise InstrumentError(info.name, f"answered rows {chunk.ids[:3]}... where {expected[:3]}... were next")
    if chunk.values.shape != (len(expected), info.n_outputs) or chunk.values.dtype != info.response_dtype:
        raise InstrumentError(
            info.name,
            f"answered {chunk.values.dtype} values of shape {chunk.values.shape}, "
            f"promised {info.response_dtype} of shape {(len(expected), info.n_outputs)}",
        )
    finite = np.isfinite(chunk.values)
    if np.count_nonzero(finite) == finite.size:
        return
    wrong = (chunk.status == _OK) & ~finite.all(axis=1)
    if wrong.any():
        raise InstrumentError(info.name, f"row {expected[int(np.argmax(wrong))]} is marked good but is not finite")
