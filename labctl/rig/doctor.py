"""Looks after a rig: opens every instrument by itself, asks how it is, and lets every layer make one pass."""

import time
from collections.abc import Iterator
from dataclasses import replace
from threading import Event
from typing import Protocol, runtime_checkable

import numpy as np

from labctl.config.loading import LoadedRig
from labctl.contract.capabilities import DomainLimited, Finding, HealthCheckable, Identifiable
from labctl.contract.driver import Instrument
from labctl.contract.errors import InputError, InstrumentError
from labctl.contract.layer import Drives, LayerInfo, Levels, PhysicalLayer, RowStatus, Stop
from labctl.rig.examined import Examined
from labctl.rig.rig import Rig

REFERENCE_ROW = 1
"""Row id of a reference pass."""

AGAIN = "mend what it names, then ask `labctl doctor` again"

REMEDIES = {
    RowStatus.CLIPPED: "lower the drive's level or the input's gain",
    RowStatus.XRUN: "let the computer do nothing else, or lengthen the driver's buffers",
    RowStatus.STALE: "the response belongs to an earlier pass: lengthen what the layer waits",
    RowStatus.OVERLOAD: "lower the power, or put an attenuator before the receiver",
    RowStatus.FAILED: "some responses are no numbers: is everything connected?",
}
"""What to do about a pass that is not good."""


@runtime_checkable
class Examinable(Protocol):
    """A host that looks after its rig where the links are."""

    def examine(self) -> Iterator[Examined]:
        """Do as `examine` does."""
        ...


def examine(rig: Rig, loaded: LoadedRig) -> Iterator[Examined]:
    """Open the instruments of `rig` one by one and let each layer whose instruments are open make a pass.

    What is opened stays open: `put_away` closes it. Power is on during a pass, as the rig file states it. A rig that
    has a host is examined there. Raises `InstrumentError` when that ends, or an instrument is in use by somebody else.
    """
    yield from rig.host.examine() if isinstance(rig.host, Examinable) else examine_here(rig, loaded, Event())


def examine_here(rig: Rig, loaded: LoadedRig, stop: Stop) -> Iterator[Examined]:
    """Examine `rig` in this process. When `stop` is set a pass under way is the last."""
    failed: set[str] = set()
    for name, instrument in rig.instruments.items():
        examined = _examine_instrument(name, instrument, loaded)
        if examined.failure is not None:
            failed.add(name)
        yield examined
    for name, layer in rig.layers.items():
        missing = ", ".join(sorted(layer.info.resources & failed))
        if missing:
            yield Examined("layer", name, (), Finding("not tried", f"it needs {missing}", f"mend {missing} first"))
        else:
            yield _examine_layer(name, layer, stop)


def _examine_instrument(name: str, instrument: Instrument, loaded: LoadedRig) -> Examined:
    try:
        instrument.open()
    except InstrumentError as error:
        return Examined("instrument", name, (), Finding("open", error.cause, _how_to_reach(name, loaded)))
    findings: tuple[Finding, ...] = (Finding("open", "it answers"),)
    if isinstance(instrument, Identifiable):
        findings += (Finding("identity", instrument.identity or "it cannot say who it is"),)
    if not isinstance(instrument, HealthCheckable):
        return Examined("instrument", name, findings)
    try:
        return Examined("instrument", name, findings + instrument.health())
    except InstrumentError as error:
        return Examined("instrument", name, findings, Finding("health", str(error), AGAIN), in_doubt=True)


def _how_to_reach(name: str, loaded: LoadedRig) -> str:
    body, document = loaded.rig.instruments[name], loaded.document
    if "address" not in body:
        return AGAIN
    if body.get("simulated"):
        return "the rig file says that a simulator answers there: is `labctl simulate` still running?"
    place = document.position(("instruments", name, "address"))
    return f"is it switched on, connected and used by nobody else, and is {body['address']} right ({place})?"


def _examine_layer(name: str, layer: PhysicalLayer, stop: Stop) -> Examined:
    try:
        layer.open()
    except InstrumentError as error:
        return Examined("layer", name, (), Finding("open", str(error), AGAIN))
    except InputError as error:
        return Examined("layer", name, (), Finding("open", str(error), "change what the rig file asks of it"))
    drives = middle_drives(layer.info)
    misfit = layer.misfit(drives) if isinstance(layer, DomainLimited) else None
    if misfit is not None:
        text = f"drives in the middle of their ranges are none that it takes: {misfit.what}"
        return Examined("layer", name, (Finding("reference pass", text),))
    try:
        examined = _make_reference_pass(name, layer, drives, stop)
        well = layer.health() if isinstance(layer, HealthCheckable) and examined.failure is None else ()
        return replace(examined, findings=examined.findings + well)
    except InstrumentError as error:
        return Examined("layer", name, (), Finding("reference pass", str(error), AGAIN), in_doubt=True)


def _make_reference_pass(name: str, layer: PhysicalLayer, drives: Drives, stop: Stop) -> Examined:
    begun_s = time.monotonic()
    row = next(iter(layer.measure(drives, np.array([REFERENCE_ROW], dtype=np.int64), stop=stop)), None)
    took_s = time.monotonic() - begun_s
    if row is None:
        return Examined("layer", name, (), Finding("reference pass", "it was stopped", AGAIN))
    status = RowStatus(int(row.status[0]))
    if status != RowStatus.OK:
        problem = Finding("reference pass", f"its status is {status.name}", REMEDIES[status])
        return Examined("layer", name, (), problem)
    values, unit = row.values[0], layer.info.outputs[0].unit
    silent = values.size > 1 and np.ptp(values) == 0
    found = Finding(
        "reference pass",
        f"{values.size} responses from {values.min():.4g} to {values.max():.4g} {unit}, in {took_s:.2g} s",
        "all are the same: is everything connected?" if silent else "",
    )
    return Examined("layer", name, (found,))


def middle_drives(info: LayerInfo) -> Drives:
    """Return one row (1, n_inputs) in the middle of every input's range, at the nearest of its levels."""
    middle = [[0.5 * (channel.low + channel.high) for channel in info.inputs]]
    return Levels(info.inputs).nearest(np.array(middle, dtype=np.float32))
