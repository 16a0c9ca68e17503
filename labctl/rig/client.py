"""A rig in a host process: its layers as any others, so that orchestrator and commands need not know."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from labctl.config.loading import LoadedRig
from labctl.contract.errors import InstrumentError
from labctl.contract.layer import Drives, LayerInfo, PhysicalLayer, Responses, RowIds, Stop
from labctl.contract.messages import Message
from labctl.contract.safety import Safeguarded
from labctl.rig.host_process import HostLostError, HostProcess
from labctl.rig.lock import this_owner
from labctl.rig.rig import Rig

POLL_S = 0.05
"""How soon a request to stop is passed on."""

_log = logging.getLogger(__name__)


def hosted(loaded: LoadedRig, rig: Rig) -> Rig:
    """Return `rig`, built from `loaded`, with all of it in a host process if one of its parts needs that.

    Touches no hardware and starts nothing.
    """
    parts = [*rig.instruments.values(), *rig.layers.values()]
    needed = any(isinstance(part, Safeguarded) and part.safe_plan() for part in parts)
    if loaded.rig.host.when == "needed" and not needed:
        return rig
    host = HostedRig(loaded, rig)
    layers: dict[str, PhysicalLayer] = {name: HostedLayer(host, name, layer.info) for name, layer in rig.layers.items()}
    return replace(rig, layers=layers, host=host)


class HostedRig:
    """All instruments and layers of a rig as one instrument: opened, made safe and closed together."""

    def __init__(self, loaded: LoadedRig, rig: Rig) -> None:
        document = loaded.document
        self._source = {
            "text": document.text,
            "path": str(document.path),
            "folder": str(document.folder.resolve()),
            "overrides": list(document.overrides),
        }
        self._name = rig.name
        self._states = {name: layer.state_id for name, layer in rig.layers.items()}
        self._host: HostProcess | None = None
        self._safe = True

    def open(self) -> None:
        """Start the host and let it open everything. Idempotent.

        Raises `InstrumentError`, also when an instrument is in use by somebody else.
        """
        if self._host is not None:
            return
        try:
            self._host = HostProcess({"rig": self._source, "owner": this_owner()})
            self._safe = False
            self._take(self._host.ask("open"))
        except HostLostError as lost:
            raise self._failed(lost) from None
        except BaseException:
            self.close()
            raise

    def measure(self, layer: str, drives: Drives, ids: RowIds, stop: Stop) -> Iterator[Responses]:
        """Measure rows on a layer; see `PhysicalLayer`."""
        host = self._host
        if host is None:
            raise InstrumentError(layer, "it is not open", command="measure")
        if stop.is_set():
            return
        self._safe = False
        try:
            yield from self._chunks(host, layer, drives, ids, stop)
        except HostLostError as lost:
            raise self._failed(lost) from None

    def make_safe(self) -> None:
        """Return when everything is safe. Raises `InstrumentError` when neither host nor guard could make it so."""
        if self._host is None or self._safe:
            return
        try:
            self._take(self._host.ask("make_safe"))
            self._safe = True
        except HostLostError as lost:
            failed = self._failed(lost)
            if not lost.safe:
                raise failed from None
            _log.warning("%s", failed)

    def close(self) -> None:
        """Make everything safe, close it and end the host. Idempotent."""
        host, self._host = self._host, None
        if host is None:
            return
        try:
            host.ask("close")
        except HostLostError as lost:
            raise self._failed(lost) from None
        finally:
            host.close()

    def name_run(self, run: str) -> None:
        """Let others who find an instrument in use know by which run."""
        if self._host is not None:
            self._host.tell("run", name=run)

    def state_of(self, layer: str) -> str:
        """Return the state of a layer as of the last answer of the host, or as the rig file says before."""
        return self._states[layer]

    def _chunks(self, host: HostProcess, layer: str, drives: Drives, ids: RowIds, stop: Stop) -> Iterator[Responses]:
        with host.asking("measure", {"drives": drives, "ids": ids}, layer=layer) as asked:
            stopping = finished = False
            try:
                while True:
                    message = asked.answer(POLL_S)
                    if stop.is_set() and not stopping:
                        stopping = True
                        host.tell("stop", measurement=asked.number)
                    if message is None:
                        continue
                    self._take(message)
                    if message.kind == "done":
                        finished = True
                        return
                    host.tell("more", measurement=asked.number)
                    yield Responses(**message.arrays)
            finally:
                if not finished:
                    host.tell("stop", measurement=asked.number)

    def _take(self, message: Message) -> None:
        states: Mapping[str, Any] = message.head["states"]
        self._states.update(states)

    def _failed(self, lost: HostLostError) -> InstrumentError:
        self._host = None
        return InstrumentError(f"rig {self._name}", f"its host process has ended: {lost}")


class HostedLayer:
    """A layer of a rig in a host process. Opening, making safe and closing it concern the whole rig."""

    def __init__(self, host: HostedRig, name: str, info: LayerInfo) -> None:
        self._host = host
        self._name = name
        self._info = info

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
        return self._host.measure(self._name, drives, ids, stop)

    def make_safe(self) -> None:
        """Make the rig safe."""
        self._host.make_safe()

    def close(self) -> None:
        """Close the rig."""
        self._host.close()
