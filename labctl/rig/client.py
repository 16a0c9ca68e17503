"""The layers of a rig in a host process: as any others, so that orchestrator and commands need not know."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from labctl.config.loading import LoadedRig
from labctl.contract.capabilities import (
    DomainLimited,
    Finding,
    HealthCheckable,
    Identifiable,
    ParameterSink,
    RawSignals,
    Reread,
    WrittenParameters,
)
from labctl.contract.layer import Channel, Drives, LayerInfo, Misfit, PhysicalLayer, Responses, RowIds, Stop
from labctl.contract.safety import Safeguarded
from labctl.rig.hosted_rig import HostedRig
from labctl.rig.rig import Rig


def hosted(loaded: LoadedRig, rig: Rig) -> Rig:
    """Return `rig`, built from `loaded`, with all of it in a host process if one of its parts needs that.

    Touches no hardware and starts nothing.
    """
    parts = [*rig.instruments.values(), *rig.layers.values()]
    needed = any(isinstance(part, Safeguarded) and part.safe_plan() for part in parts)
    if loaded.rig.host.when == "needed" and not needed:
        return rig
    host = HostedRig(loaded, rig)
    layers: dict[str, PhysicalLayer] = {name: _hosted_layer(host, name, layer) for name, layer in rig.layers.items()}
    return replace(rig, layers=layers, host=host)


class HostedLayer:
    """A layer of a rig in a host process. Opening, making safe and closing it concern the whole rig.

    `unopened` is the same layer as it was built in this process; it answers what can be known before `open`.
    """

    def __init__(self, host: HostedRig, name: str, unopened: PhysicalLayer) -> None:
        self._host = host
        self._name = name
        self._unopened = unopened
        self._info = unopened.info
        self._raw: np.dtype[Any] | None = None

    @property
    def info(self) -> LayerInfo:
        """Describe the layer."""
        return self._info

    @property
    def state_id(self) -> str:
        """Name the layer's state."""
        return self._host.state_of(self._name)

    def open(self) -> None:
        """Open the rig. Raises `InstrumentError`."""
        self._host.open()

    def measure(self, drives: Drives, ids: RowIds, *, stop: Stop) -> Iterator[Responses]:
        """Yield rows as the layer does in its host. Raises `DriveError`, `InstrumentError`."""
        return self._host.measure(self._name, drives, ids, stop, self._raw)

    def make_safe(self) -> None:
        """Make the rig safe."""
        self._host.make_safe()

    def close(self) -> None:
        """Close the rig."""
        self._host.close()


class HostedDomain(HostedLayer):
    """Of a layer that is `DomainLimited`."""

    def misfit(self, drives: Drives) -> Misfit | None:
        """Return the first of `drives` (n, n_inputs) that the layer would refuse."""
        return cast("DomainLimited", self._unopened).misfit(drives)


class HostedIdentity(HostedLayer):
    """Of a layer that is `Identifiable`."""

    @property
    def identity(self) -> str:
        """Return what the layer calls itself."""
        return self._host.identity_of(self._name)


class HostedHealth(HostedLayer):
    """Of a layer that is `HealthCheckable`."""

    def health(self) -> tuple[Finding, ...]:
        """Return what the layer says of itself. Raises `InstrumentError`, also while it is being measured."""
        return self._host.health(self._name)


class HostedParameters(HostedLayer):
    """Of a layer that is a `ParameterSink`."""

    @property
    def parameters(self) -> tuple[Channel, ...]:
        """Describe the parameters."""
        return cast("ParameterSink", self._unopened).parameters

    @property
    def written(self) -> WrittenParameters:
        """Return the last write; before the first, what the layer begins with."""
        return self._host.written(self._name) or cast("ParameterSink", self._unopened).written

    def write_parameters(self, values: NDArray[np.floating]) -> WrittenParameters:
        """Set the parameters (n_parameters,). Raises `DriveError`, `InstrumentError`; not while being measured."""
        return self._host.write_parameters(self._name, values)


class HostedRawSignals(HostedLayer):
    """Of a layer that offers `RawSignals`."""

    @property
    def raw_dtype(self) -> np.dtype[Any]:
        """Return the type of one pass's raw signal."""
        return cast("RawSignals", self._unopened).raw_dtype

    def deliver_raw(self, *, wanted: bool) -> None:
        """Let the host send raw signals with the responses of measurements begun from now on, or no longer."""
        self._raw = self.raw_dtype if wanted else None

    def rereading(self, sender: object) -> Reread:
        """Return how the layer reads what `sender` recorded; see `RawSignals`."""
        measured_by = sender._unopened if isinstance(sender, HostedLayer) else sender
        return cast("RawSignals", self._unopened).rereading(measured_by)


_OFFERS: tuple[tuple[type, type[HostedLayer]], ...] = (
    (DomainLimited, HostedDomain),
    (Identifiable, HostedIdentity),
    (HealthCheckable, HostedHealth),
    (ParameterSink, HostedParameters),
    (RawSignals, HostedRawSignals),
)


def _hosted_layer(host: HostedRig, name: str, layer: PhysicalLayer) -> HostedLayer:
    """Return a layer that offers what `layer` offers."""
    offered = tuple(kind for capability, kind in _OFFERS if isinstance(layer, capability))
    return _kind(offered)(host, name, layer)


@cache
def _kind(offered: tuple[type[HostedLayer], ...]) -> type[HostedLayer]:
    return type("HostedLayer", offered or (HostedLayer,), {})
