"""Sends rows through layers until every one is good: repeats what is rejected, rests and recovers, keeps it all."""

import logging
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from labctl.contract.capabilities import ParameterSink
from labctl.contract.errors import Fault, InstrumentError
from labctl.contract.layer import LayerInfo, PhysicalLayer, Responses, RowStatus, Stop
from labctl.orchestrator.counters import Counters
from labctl.orchestrator.rows import Answer
from labctl.orchestrator.stopping import heed
from labctl.orchestrator.switching import Switching
from labctl.orchestrator.together import Either, Sending, measured
from labctl.record.passes import REPEATS_PER_ID, PassRows

_OK = int(RowStatus.OK)
"""A plain number: comparing an array with a member of an enumeration is several times slower."""

_log = logging.getLogger(__name__)


Recover = Callable[[PhysicalLayer, InstrumentError, int], None]
"""Called when a layer fails, with the failure and the good rows so far: returns when it works again, or raises."""


def give_up(_layer: PhysicalLayer, failure: InstrumentError, _good_rows: int) -> None:
    """Raise `failure`."""
    raise failure


class Hold(Protocol):
    """Says when layers must rest."""

    def is_set(self) -> bool:
        """Return whether they must rest now; the pass under way may end."""
        ...

    def take(self) -> None:
        """Return when they may work and are open again. Raises `InstrumentError` when one does not open."""
        ...


class NoHold:
    """Layers never rest."""

    def is_set(self) -> bool:
        """Return False."""
        return False

    def take(self) -> None:
        """Nothing is to be waited for."""


Disturb = Callable[[int, Responses], Responses]
"""Returns measured rows of a block as they are to be taken for what was measured."""


def leave_alone(_block: int, chunk: Responses) -> Responses:
    """Return `chunk`."""
    return chunk


class Record(Protocol):
    """Where measured rows go."""

    def append(self, rows: PassRows) -> None:
        """Keep a chunk of rows."""
        ...


class Measuring:
    """Measures by `layers`, one for each block as `infos` has them; what it spends goes to `counters`.

    For the other parameters see `Acquisition`.
    """

    def __init__(
        self,
        infos: Sequence[LayerInfo],
        layers: Sequence[PhysicalLayer],
        counters: Counters,
        *,
        record: Record | None,
        retries: int,
        stop: Stop,
        on_rows: Callable[[Counters], None] | None,
        recover: Recover,
        hold: Hold,
        disturb: Disturb,
        pace: Callable[[], None],
    ) -> None:
        self._layers = layers
        self._counters = counters
        self._record = record
        self._retries = retries
        self._stop = stop
        self._on_rows = on_rows
        self._recover = recover
        self._hold = hold
        self._disturb = disturb
        self._pace = pace
        # Of layers by identity: two rigs may have layers of one name, and two blocks one layer.
        self._states: dict[int, str] = {}
        self._wanted: dict[int, NDArray[np.float64]] = {}
        self._written: dict[int, NDArray[np.float64]] = {}
        self._switching = Switching(infos)

    def want(self, block: int, parameters: NDArray[np.float64]) -> None:
        """Let the layer of `block` have these parameters when it is measured next."""
        self._wanted[block] = parameters

    def measure(self, answers: Sequence[Answer]) -> None:
        """Measure the rows that are missing, of different blocks at once, repeating rejected ones as often as allowed.

        `repeat` of each answer says how often its rows were rejected before. Raises `Stopped` when asked to stop,
        `InstrumentError` when rows keep failing, `DriveError` before anything is sent.
        """
        self._pace()
        for answer in answers:
            layer = self._layers[answer.rows.block]
            self._hold_state(layer)
            self._write_parameters(layer, answer.rows.block)
            answer.last_repeat = min(answer.repeat + self._retries, REPEATS_PER_ID - 1)
        while answers:
            heed(self._stop)
            self._rest_if_told()
            for answer in answers:
                self._counters.sent_hardware_s += self._switching.use(answer.rows.block)
            failures = self._attempt(answers)
            for layer, failure in failures:
                self._recover_from(failure, layer)
            if failures or self._hold.is_set():  # none of the rows' own, nor of those that were broken off with them
                for answer in answers:
                    answer.last_repeat = min(answer.last_repeat + 1, REPEATS_PER_ID - 1)
            answers = [answer for answer in answers if not answer.complete]
            if answers:
                heed(self._stop)
            for answer in answers:
                self._repeat(answer)

    def _repeat(self, answer: Answer) -> None:
        """Go on to the next repeat of rows that are still missing. Raises `InstrumentError` when it is one too many."""
        layer = self._layers[answer.rows.block]
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
            self._recover_from(failure, layer)
            answer.last_repeat = min(answer.repeat + self._retries, REPEATS_PER_ID - 1)

    def _rest_if_told(self) -> None:
        """Let the layers rest when they must; they are in the state they were held in afterwards."""
        if not self._hold.is_set():
            return
        try:
            self._hold.take()
        except InstrumentError as failure:
            self._recover_from(failure, self._layers[0])
        else:
            self._write_again()
            for layer in self._layers:
                self._hold_state(layer)

    def _recover_from(self, failure: InstrumentError, layer: PhysicalLayer) -> None:
        """Return when `layer` works again, in the state it was held in. Raises `InstrumentError` when it does not."""
        self._recover(layer, failure, self._counters.sent - self._counters.rejected)
        self._write_again()
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

    def _write_again(self) -> None:
        """Bring layers that were opened again back into the state they were held in."""
        for layer in self._layers:
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

    def _attempt(self, answers: Sequence[Answer]) -> list[tuple[PhysicalLayer, InstrumentError]]:
        """Send the missing rows once, all layers at once; return those that failed, and how."""
        sendings: list[Sending] = []
        for answer in answers:
            answer.send_missing()
            rows, pending = answer.rows, answer.pending
            sendings.append(
                Sending(self._layers[rows.block], rows.drives.take(pending, axis=0), rows.first_id + pending)
            )
        failures: list[tuple[PhysicalLayer, InstrumentError]] = []
        spent_s = [0.0] * len(sendings)
        with closing(measured(sendings, Either(self._stop, self._hold))) as chunks:
            for number, chunk in chunks:
                layer, longest_s = sendings[number].layer, max(spent_s)
                if isinstance(chunk, InstrumentError):
                    failures.append((layer, chunk))
                    continue
                spent_s[number] += len(chunk.ids) * layer.info.nominal_pass_s
                self._counters.sent_hardware_s += max(spent_s) - longest_s
                self._keep(layer, answers[number], self._disturb(answers[number].rows.block, chunk))
        return failures

    def _keep(self, layer: PhysicalLayer, answer: Answer, chunk: Responses) -> None:
        """Keep a chunk of the pending rows in the record, and the good ones as answer."""
        where, rows, counters = answer.received(len(chunk.ids)), answer.rows, self._counters
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
