"""What a pass log says about its run, gathered for the report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labctl.contract.errors import RecordError
from labctl.contract.layer import RowStatus
from labctl.orchestrator.disturbing import DISTURBED
from labctl.orchestrator.recovery import WAITING
from labctl.orchestrator.runs import RUN_SCHEMA, reread_layer
from labctl.orchestrator.switching import switching_s
from labctl.orchestrator.wellness import UNWELL
from labctl.record.reader import Event, LayerState, LogReader
from labctl.report.digital import digital_work
from labctl.report.layer_use import LayerUse, layer_use


@dataclass(frozen=True)
class Result:
    """A run's test: `scores` (n, n_classes), true `labels` (n,), `confusion` (true, predicted).

    `accuracy` is a share from 0 to 1, `low` to `high` its 95 % interval. `clipped_values` counts the drive values that
    encoders clipped in the session that tested.
    """

    accuracy: float
    low: float
    high: float
    right: int
    samples: int
    confusion: NDArray[np.int64]
    scores: NDArray[np.float64]
    labels: NDArray[np.int64]
    clipped_values: int
    time_s: float

    @cached_property
    def correct(self) -> NDArray[np.bool_]:
        """Which samples (n,) were predicted correctly."""
        return self.scores.argmax(axis=1) == self.labels

    @cached_property
    def true_scores(self) -> NDArray[np.float64]:
        """Scores (n,) of the true labels."""
        return self.scores[np.arange(self.samples), self.labels]

    @cached_property
    def best_wrong_scores(self) -> NDArray[np.float64]:
        """Scores (n,) of the wrong labels that scored highest."""
        wrong = self.scores.copy()
        wrong[np.arange(self.samples), self.labels] = -np.inf
        return wrong.max(axis=1)


@dataclass(frozen=True)
class Session:
    """A process that wrote the run, in POSIX seconds. `ending`: closed, stopped, failed, or empty when it just ended.

    `reason` is what the process gave; `end_s` of a process that was killed is when it last noted something.
    """

    begin_s: float
    end_s: float
    ending: str
    reason: str


@dataclass(frozen=True)
class RunFacts:
    """Everything the report tells. Blocks count from 0; `right` of baselines (n,) follows the test samples.

    `unwell` is what layers found not well with themselves, `waits` what the run waited for.
    """

    folder_name: str
    meta: Mapping[str, Any]
    instruments: Mapping[str, str]
    sessions: Sequence[Session]
    epochs: NDArray[np.int64]
    curves: Mapping[str, NDArray[np.float64]]
    test: Result | None
    baselines: Mapping[str, NDArray[np.bool_]] | None
    passes_by_purpose: Mapping[str, int]
    passes_by_block: Mapping[int, int]
    switching_s: float
    rejected: Mapping[RowStatus, int]
    states: Sequence[LayerState]
    layer_use: Mapping[int, LayerUse]
    macs: Mapping[str, int] | None
    disturbances: Sequence[Mapping[str, Any]] = ()
    unwell: Sequence[Mapping[str, Any]] = ()
    waits: Sequence[Mapping[str, Any]] = ()

    @property
    def replayed(self) -> Mapping[str, Any] | None:
        """The run whose record answered in place of hardware, if one did."""
        return self.meta.get("replayed")

    @property
    def passes(self) -> int:
        """Number of passes, accepted or not."""
        return sum(self.passes_by_block.values())

    @property
    def hardware_s(self) -> float:
        """Time that the passes took on the hardware, changes of operating point included, in seconds."""
        return sum(self.hardware_s_of(block) for block in self.passes_by_block) + self.switching_s

    def hardware_s_of(self, block: int) -> float:
        """Time that the passes of one block took on the hardware, in seconds."""
        return self.passes_by_block[block] * float(self.meta["blocks"][block]["nominal_pass_s"])

    @property
    def created(self) -> datetime:
        """When the run began, with its time zone."""
        return datetime.fromisoformat(self.meta["created"])

    def at(self, time_s: float) -> datetime:
        """Return a time of the run in the time zone the run began in."""
        return datetime.fromtimestamp(time_s, self.created.tzinfo)


def gather_facts(reader: LogReader) -> RunFacts:
    """Return what the log says at this moment. Raises `RecordError` when it is not the log of a run."""
    with reader.snapshot():
        meta = reader.meta()
        if meta.get("schema") != RUN_SCHEMA:
            raise RecordError(f"{reader.path} holds {meta.get('schema')!r}; this labctl reports runs of {RUN_SCHEMA}")
        events = reader.events()
        last = {event.kind: event for event in events}
        last_step = reader.last_step()
        test = _result(last["test"]) if "test" in last else None
        epochs, curves = _curves([event.detail for event in events if event.kind == "epoch"])
        return RunFacts(
            folder_name=reader.path.resolve().parent.name,
            meta=meta,
            instruments=reader.instruments(),
            sessions=_sessions(events, last_step.time_s if last_step else 0.0),
            epochs=epochs,
            curves=curves,
            test=test,
            baselines=_baselines(last["baselines"].detail, test) if "baselines" in last and test else None,
            passes_by_purpose=reader.count_by_purpose(),
            passes_by_block=reader.count_by_block(),
            switching_s=switching_s([reread_layer(block) for block in meta["blocks"]], reader.blocks_in_order()),
            rejected=reader.rejected(),
            states=reader.states(),
            layer_use=layer_use(reader, meta["blocks"]),
            macs=digital_work(reader),
            disturbances=[event.detail for event in events if event.kind == DISTURBED],
            unwell=[event.detail for event in events if event.kind == UNWELL],
            waits=[event.detail for event in events if event.kind == WAITING],
        )


def _result(event: Event) -> Result:
    found = event.detail
    return Result(
        accuracy=found["accuracy"],
        low=found["low"],
        high=found["high"],
        right=found["right"],
        samples=found["samples"],
        confusion=np.array(found["confusion"], dtype=np.int64),
        scores=np.array(found["scores"], dtype=np.float64),
        labels=np.array(found["labels"], dtype=np.int64),
        clipped_values=found["values_clipped_by_encoders"],
        time_s=event.time_s,
    )


def _baselines(found: Mapping[str, Any], test: Result) -> dict[str, NDArray[np.bool_]]:
    samples = np.arange(test.samples)
    return {name: np.isin(samples, np.array(entry["right"], dtype=np.int64)) for name, entry in found.items()}


def _curves(details: Sequence[Mapping[str, Any]]) -> tuple[NDArray[np.int64], dict[str, NDArray[np.float64]]]:
    """Return the epochs (n,) and each figure (n,); of an epoch that was gone through again, the last time counts."""
    by_epoch = {int(detail["epoch"]): detail for detail in details}
    epochs = sorted(by_epoch)
    names = dict.fromkeys(name for detail in details for name in detail if name != "epoch")
    curves = {name: np.array([float(by_epoch[e].get(name, "nan")) for e in epochs]) for name in names}
    return np.array(epochs, dtype=np.int64), curves


def _sessions(events: Sequence[Event], last_step_s: float) -> list[Session]:
    """Return the sessions up to the test; later ones only add to the record."""
    sessions: list[Session] = []
    for event in events:
        if event.kind == "opened":
            sessions.append(Session(event.time_s, event.time_s, "", ""))
        elif sessions:
            before = sessions[-1]
            reason = str(event.detail.get("reason", "")) if event.kind in ("stopped", "failed") else before.reason
            ending = before.ending if before.ending in ("stopped", "failed") else _ENDINGS.get(event.kind, "")
            sessions[-1] = Session(before.begin_s, event.time_s, ending, reason)
        if event.kind == "test":
            return sessions
    if sessions and not sessions[-1].ending:
        running = sessions[-1]
        sessions[-1] = Session(running.begin_s, max(running.end_s, last_step_s), "", "")
    return sessions


_ENDINGS = {"closed": "closed", "stopped": "stopped", "failed": "failed"}
