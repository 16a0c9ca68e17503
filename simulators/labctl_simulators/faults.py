"""Faults on purpose: which rows go wrong, how, and how often.

A plan is data, written in a rig file or in a test. What strikes a row depends on (seed, row id, how often that row was
measured) alone, so a run with faults can be repeated. `FaultyLayer` applies a plan to any layer; a virtual instrument
asks `FaultSchedule` before each exchange.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from labctl.contract.clock import Clock
from labctl.contract.driver import Settings
from labctl.contract.errors import InstrumentError
from labctl.contract.layer import Drives, LayerInfo, PhysicalLayer, Responses, ResponseValues, RowIds, RowStatus, Stop
from labctl.contract.units import Seconds

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
    `error` raises an `InstrumentError` in place of the row; `delay` lets `delay` pass before it.
    """

    kind: FaultKind
    rows: tuple[int, ...] = ()
    times: int = Field(default=1, ge=1, description="how often each of the rows is struck before it comes through")
    rate: float = Field(default=0.0, ge=0, le=1, description="probability per measured row")
    delay_s: Annotated[Seconds, Field(gt=0)] | None = Field(alias="delay", default=None)

    @model_validator(mode="after")
    def _strikes_in_one_way(self) -> "Fault":
        if bool(self.rows) == (self.rate > 0):
            raise ValueError("name the `rows` that are struck, or a `rate` above zero, and not both")
        if (self.kind == "delay") != (self.delay_s is not None):
            raise ValueError("`delay` says how long a fault of kind delay lasts, and belongs to no other kind")
        return self


class FaultPlan(Settings):
    """All faults of a layer or an instrument. `seed` draws those that come at a rate."""

    seed: int = Field(default=0, ge=0)
    faults: tuple[Fault, ...] = Field(alias="list", min_length=1)

    def striking(self, row_id: int, repeat: int) -> tuple[Fault, ...]:
        """Return what strikes row `row_id` when it is measured for the `repeat`-th time, counted from 1."""
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

    def next(self, row_id: int) -> Strike:
        """Count one more measurement of `row_id` and return what befalls it; of several statuses the first counts."""
        self._repeats[row_id] += 1
        faults = self._plan.striking(row_id, self._repeats[row_id])
        return Strike(
            delay_s=sum(fault.delay_s or 0.0 for fault in faults),
            error=any(fault.kind == "error" for fault in faults),
            status=next((STATUS[fault.kind] for fault in faults if fault.kind in STATUS), RowStatus.OK),
        )

    def restart(self) -> None:
        """Forget what was measured."""
        self._repeats.clear()


class FaultyLayer:
    """A `PhysicalLayer` that measures as another one does, and fails as planned.

    Rows are passed on one by one: one that an `error` strikes never reaches the layer, and those before it have been
    yielded. A stale row holds what the layer measured last, a failed one no number, any other its own response. Faults
    do not change the `state_id`: the physics is the same.
    """

    def __init__(self, layer: PhysicalLayer, plan: FaultPlan, clock: Clock) -> None:
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

    def make_safe(self) -> None:
        """Make the layer underneath safe."""
        self._layer.make_safe()

    def close(self) -> None:
        """Close the layer underneath."""
        self._layer.close()
        self._open = False

    def _rows(self, drives: Drives, ids: RowIds, stop: Stop) -> Iterator[Responses]:
        for row in range(len(ids)):
            if stop.is_set():
                return
            strike = self._schedule.next(int(ids[row]))
            if strike.delay_s > 0.0:
                self._clock.sleep_s(strike.delay_s)
            if strike.error:
                raise InstrumentError(self.info.name, "a fault was planned here", command=f"row {ids[row]}")
            for chunk in self._layer.measure(drives[row : row + 1], ids[row : row + 1], stop=stop):
                yield self._marked(chunk, strike.status)

    def _marked(self, chunk: Responses, status: RowStatus) -> Responses:
        """Return a chunk of one row as the fault leaves it; a row that the layer itself did not find good stays so."""
        measured, self._measured = self._measured, chunk.values
        if status == RowStatus.OK:
            return chunk
        values = chunk.values
        if status == RowStatus.STALE:
            values = np.zeros_like(values) if measured is None else measured
        elif status == RowStatus.FAILED and values.dtype.kind in "fc":
            values = np.full_like(values, np.nan)
        return replace(chunk, values=values.copy(), status=np.full_like(chunk.status, status))


class _Stopped:
    def is_set(self) -> bool:
        return True
