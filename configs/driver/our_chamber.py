"""A chamber with four sources and six sensors."""

import time
from collections.abc import Iterator, Mapping
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from labctl.contract.chunks import Row, in_chunks
from labctl.contract.driver import BuildContext, Instrument, LayerDriver, Settings
from labctl.contract.errors import InstrumentError
from labctl.contract.layer import Channel, Drives, LayerInfo, Responses, RowIds, RowStatus, Stop, check_drives
from labctl.contract.units import Seconds


class ChamberSettings(Settings):
    """Keys of the rig file; quantities carry their unit, names the unit of the value."""

    pass_s: Annotated[Seconds, Field(gt=0)] = Field(alias="pass", description="time of one pass")
    seed: int = Field(ge=0, description="the chamber")


class Chamber:
    """A `PhysicalLayer`. Constructing it touches no hardware."""

    def __init__(self, settings: ChamberSettings, name: str) -> None:
        self._settings = settings
        self._mixing = np.random.default_rng(settings.seed).standard_normal((6, 4))
        self._connected = False
        self._info = LayerInfo(
            name=name,
            inputs=tuple(Channel(f"source {k}", "V", 0.0, 1.0) for k in range(4)),
            outputs=tuple(Channel(f"sensor {k}", "V", 0.0, np.inf) for k in range(6)),
            nominal_pass_s=settings.pass_s,
            resources=frozenset({name}),
            simulated=True,  # say False when hardware is behind it: reports and results show it
        )

    @property
    def info(self) -> LayerInfo:
        """Valid before `open`, and always the same."""
        return self._info

    @property
    def state_id(self) -> str:
        """Must change whenever configuration, parameters or calibration do."""
        return f"chamber-{self._settings.seed}"

    def open(self) -> None:
        """Connect; may be called when open. Raise `InstrumentError` and leave nothing connected if it fails."""
        self._connected = True

    def measure(self, drives: Drives, ids: RowIds, *, stop: Stop) -> Iterator[Responses]:
        """Check everything before sending anything; then yield rows in order, each as soon as that pays."""
        check_drives(self._info, drives, ids)
        if not self._connected:
            raise InstrumentError(self._info.name, "it is not open", command="measure")
        return in_chunks(self._rows(drives, ids, stop))

    def make_safe(self) -> None:
        """Leave the hardware so that it can be left alone: in any state, any number of times, without raising."""

    def close(self) -> None:
        """Release everything; may be called when closed."""
        self._connected = False

    def _rows(self, drives: Drives, ids: RowIds, stop: Stop) -> Iterator[Row]:
        for row_id, drive in zip(ids.tolist(), drives, strict=True):
            if stop.is_set():
                return
            status = RowStatus.OK  # or CLIPPED, XRUN, ...: the orchestrator repeats
            yield Row(row_id, self._pass(drive), status, time.time())

    def _pass(self, drive: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.abs(self._mixing @ drive).astype(np.float32)


def _build(settings: ChamberSettings, _: Mapping[str, Instrument], context: BuildContext) -> Chamber:
    """Build the layer. One that is made of the rig's instruments gets them by name: see `pick_instrument`."""
    return Chamber(settings, context.name)


DRIVER = LayerDriver(ChamberSettings, _build)
