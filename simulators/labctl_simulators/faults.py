"""Faults on purpose: which rows go wrong, how, and how often.

A plan is data, written in a rig file or in a test. What strikes a row depends on (seed, row id, how often that row was
measured since opening) alone, so a run with faults can be repeated. `FaultyLayer` applies a plan to any layer; a
simulated instrument asks `FaultSchedule` before each exchange.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal, get_args

import numpy as np
from pydantic import Field, model_validator

from labctl.contract.capabilities import DomainLimited
from labctl.contract.clock import Clock
from labctl.contract.driver import Settings
from labctl.contract.errors import InstrumentError, SettingError
from labctl.contract.layer import (
    Drives,
    LayerInfo,
    Misfit,
    PhysicalLayer,
    Responses,
    ResponseValues,
    RowIds,
    RowStatus,
    Stop,
)
from labctl.contract.units import Seconds
from labctl_simulators.disturbances import Disturbance, channel_changes

StatusFaultKind = Literal["clipped", "xrun", "stale", "overload", "failed"]
FaultKind = Literal[StatusFaultKind, "error", "delay"]

STATUS: dict[str, RowStatus] = {
    "clipped": RowStatus.CLIPPED,
    "xrun": RowStatus.XRUN,
    "stale": RowStatus.STALE,
    "overload": RowStatus.OVERLOAD,
    "failed": RowStatus.FAILED,
}


class Fault(Settings):
    """One kind of fault: on named `rows` the first `times` they are measured, or on every row at a random `rate`.

    `clipped`, `xrun`, `stale`, `overload` and `failed` mark the row; a stale row shows the response of the row before.
    `error` raises an `InstrumentError` in place of the row, where it directly follows the row before it: a run that is
    resumed there, as one resumes when the instrument has been mended, gets on. `delay` lets `delay` pass before the
    row.
    """

    kind: FaultKind = Field(description="what goes wrong")
    rows: tuple[int, ...] = Field(default=(), description="ids of the rows that are struck, counted from 0 in a run")
    times: int = Field(default=1, ge=1, description="how often each of the rows is struck before it comes through")
    rate: float = Field(default=0.0, ge=0, le=1, description="probability per measured row")
    delay_s: Annotated[Seconds, Field(gt=0)] | None = Field(
        alias="delay", default=None, description="how much later a row of kind delay comes"
    )

    @model_validator(mode="after")
    def _strikes_in_one_way(self) -> "Fault":
        if bool(self.rows) == (self.rate > 0):
            raise SettingError((), "name the `rows` that are struck, or a `rate` above zero, and not both")
        if (self.kind == "delay") != (self.delay_s is not None):
            what = "`delay` says how long a fault of kind delay lasts, and belongs to no other kind"
            raise SettingError(("delay",), what)
        return self


class FaultPlan(Settings):
    """All faults of a layer or an instrument. `seed` draws those that come at a rate."""

    seed: int = Field(default=0, ge=0, description="draws the faults that come at a rate")
    faults: tuple[Fault, ...] = Field(alias="list", default=(), description="what goes wrong, and when")
    disturbances: tuple[Disturbance, ...] = Field(default=(), description="what changes for good, and when")

    @model_validator(mode="after")
    def _something_is_planned(self) -> "FaultPlan":
        if not self.faults and not self.disturbances:
            raise SettingError(("list",), "nothing is planned; expected `list`, `disturbances` or both")
        return self

    def require_kinds(
        self,
        possible: Sequence[FaultKind],
        what: str,
        *,
        disturbances: Sequence[str] = ("gain", "offset", "dead", "swapped"),
    ) -> None:
        """Raise `SettingError` for a fault or disturbance of a kind that is not possible for what it befalls."""
        for place, disturbance in enumerate(self.disturbances):
            if disturbance.kind not in disturbances:
                message = f"{what} knows no disturbance {disturbance.kind}; expected one of {', '.join(disturbances)}"
                raise SettingError(("faults", "disturbances", place, "kind"), message)
        for place, fault in enumerate(self.faults):
            if fault.kind not in possible:
                message = f"{what} has no faults of kind {fault.kind}; expected one of {', '.join(possible)}"
                raise SettingError(("faults", "list", place, "kind"), message)

    def striking(self, row_id: int, repeat: int) -> tuple[Fault, ...]:
        """Return what strikes row `row_id` when it is measured for the `repeat`-th time, counted from 1."""
        if not self.faults:
            return ()
        # A row id is any int64; a spawn key holds unsigned words.
        key = (row_id % 2**64, repeat)
        chances = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=key)).random(len(self.faults))
        return tuple(
            fault
            for fault, chance in zip(self.faults, chances.tolist(), strict=True)
            if chance < fault.rate or (row_id in fault.rows and repeat <= fault.times)
        )


@dataclass(frozen=True)
class Strike:
    """What befalls one measurement: a pause before it, an error instead of it, or a status on it (or nothing)."""

    delay_s: float = 0.0
    error: bool = False
    status: RowStatus = RowStatus.OK


class FaultSchedule:
    """Follows a plan, counting how often each row is measured."""

    def __init__(self, plan: FaultPlan) -> None:
        self._plan = plan
        self._repeats: Counter[int] = Counter()
        self._last: int | None = None

    def next(self, row_id: int) -> Strike:
        """Count one more measurement of `row_id` and return what befalls it."""
        strike = self.coming(row_id, self._last)
        self._repeats[row_id] += 1
        self._last = row_id
        return strike

    def coming(self, row_id: int, before: int | None) -> Strike:
        """Return what will befall `row_id` when it is measured after the row `before`; the first of statuses counts."""
        faults = self._plan.striking(row_id, self._repeats[row_id] + 1)
        return Strike(
            delay_s=sum(fault.delay_s or 0.0 for fault in faults),
            error=before == row_id - 1 and any(fault.kind == "error" for fault in faults),
            status=next((STATUS[fault.kind] for fault in faults if fault.kind in STATUS), RowStatus.OK),
        )

    def calm(self, row_ids: Sequence[int]) -> int:
        """Return how many of the rows come before the next one that anything befalls."""
        for place, (before, row_id) in enumerate(zip([self._last, *row_ids], row_ids, strict=False)):
            if self.coming(row_id, before) != Strike():
                return place
        return len(row_ids)

    def restart(self) -> None:
        """Forget what was measured."""
        self._repeats.clear()
        self._last = None


class FaultyLayer:
    """A `PhysicalLayer` that measures as another one does, and fails as planned.

    A row that is struck is passed on alone: one that an `error` strikes never reaches the layer, and those before it
    have been yielded. A stale row holds what the layer measured last, a failed one no number, any other its own
    response. Faults do not change the `state_id`: the physics is the same.
    """

    def __init__(self, layer: PhysicalLayer, plan: FaultPlan, clock: Clock) -> None:
        """Raise `SettingError` for a disturbance that cannot befall any layer."""
        plan.require_kinds(get_args(FaultKind), f"layer '{layer.info.name}'")
        self._changes = channel_changes(plan.disturbances, plan.seed, [channel.name for channel in layer.info.outputs])
        self._layer = layer
        self._clock = clock
        self._schedule = FaultSchedule(plan)
        self._open = False
        self._measured: ResponseValues | None = None

    @property
    def info(self) -> LayerInfo:
        """Describe the layer underneath."""
        return self._layer.info

    @property
    def state_id(self) -> str:
        """Name the state of the layer underneath."""
        return self._layer.state_id

    def open(self) -> None:
        """Open the layer underneath; unless it was open, the plan starts afresh."""
        self._layer.open()
        if not self._open:
            self._open = True
            self._schedule.restart()
            self._measured = None

    def measure(self, drives: Drives, ids: RowIds, *, stop: Stop) -> Iterator[Responses]:
        """Measure rows in order. Raises what the layer raises, and `InstrumentError` where planned."""
        # A request that is stopped before it starts is checked and measures nothing.
        for _ in self._layer.measure(drives, ids, stop=_Stopped()):
            pass
        return self._rows(drives, ids, stop)

    def misfit(self, drives: Drives) -> Misfit | None:
        """Return what the layer underneath says, if it has a say (see `DomainLimited`)."""
        return self._layer.misfit(drives) if isinstance(self._layer, DomainLimited) else None

    def make_safe(self) -> None:
        """Make the layer underneath safe."""
        self._layer.make_safe()

    def close(self) -> None:
        """Close the layer underneath."""
        self._layer.close()
        self._open = False

    def _rows(self, drives: Drives, ids: RowIds, stop: Stop) -> Iterator[Responses]:
        first = 0
        while first < len(ids) and not stop.is_set():
            calm = self._schedule.calm(ids[first:].tolist())
            rows = slice(first, first + max(1, calm))
            status = RowStatus.OK if calm else self._strike(int(ids[first]))
            for chunk in self._layer.measure(drives[rows], ids[rows], stop=stop):
                if calm:
                    for row_id in chunk.ids.tolist():
                        self._schedule.next(row_id)
                yield self._marked(chunk, status)
            first = rows.stop

    def _strike(self, row_id: int) -> RowStatus:
        """Let happen to a row what is planned before it is measured; return the status it will have."""
        strike = self._schedule.next(row_id)
        if strike.delay_s > 0.0:
            self._clock.sleep_s(strike.delay_s)
        if strike.error:
            raise InstrumentError(self.info.name, "a fault was planned here", command=f"row {row_id}")
        return strike.status

    def _marked(self, chunk: Responses, status: RowStatus) -> Responses:
        """Return a chunk as the fault leaves it; one that is struck has one row."""
        chunk = replace(chunk, values=self._changes.apply(chunk.values, chunk.ids))
        measured, self._measured = self._measured, chunk.values[-1:]
        if status == RowStatus.OK:
            return chunk
        values = chunk.values
        if status == RowStatus.STALE:
            values = np.zeros_like(values) if measured is None else measured
        elif status == RowStatus.FAILED and values.dtype.kind in "fc":
            values = np.full_like(values, np.nan)
        return replace(chunk, values=values.copy(), status=np.full_like(chunk.status, status))


def with_faults(layer: PhysicalLayer, plan: FaultPlan | None, clock: Clock) -> PhysicalLayer:
    """Return `layer`, with the faults of `plan` if there is one."""
    return layer if plan is None else FaultyLayer(layer, plan, clock)


class _Stopped:
    def is_set(self) -> bool:
        return True
