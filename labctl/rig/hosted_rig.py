"""A rig in a host process, as one instrument: opened, made safe and closed together."""

import logging
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labctl.config.loading import LoadedRig
from labctl.contract.capabilities import Calibration, Finding, WrittenParameters
from labctl.contract.errors import InstrumentError
from labctl.contract.layer import Drives, Responses, RowIds, Stop
from labctl.contract.messages import Message
from labctl.rig.calibrating import calibration_from_message
from labctl.rig.examined import Examined, examined_from_json, findings_from_json
from labctl.rig.host_process import HostLostError, HostProcess
from labctl.rig.lock import this_owner
from labctl.rig.messages import from_bytes
from labctl.rig.rig import Rig

POLL_S = 0.05
"""How soon a request to stop is passed on."""

_log = logging.getLogger(__name__)


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
        self._identities: dict[str, str] = {}
        self._instruments: dict[str, str] = {}
        self._written: dict[str, WrittenParameters] = {}
        self._host: HostProcess | None = None
        self._is_open = False
        self._measuring = False
        self._safe = True

    def open(self) -> None:
        """Start the host and let it open everything; parameters are as they were written last. Idempotent.

        Raises `InstrumentError`, also when an instrument is in use by somebody else.
        """
        if self._is_open:
            return
        try:
            opened = self._started().ask("open")
            self._take(opened)
            self._instruments = opened.head["instruments"]
            self._is_open = True
            for layer, written in self._written.items():
                self.write_parameters(layer, written.commanded)
        except HostLostError as lost:
            raise self._failed(lost) from None
        except BaseException:
            self.close()
            raise

    def examine(self) -> Iterator[Examined]:
        """Start the host and let it look after everything, part by part. Raises `InstrumentError`."""
        try:
            with self._started().asking("examine") as asked:
                while True:
                    message = asked.answer(POLL_S)
                    if message is None:
                        continue
                    self._take(message)
                    if message.kind == "done":
                        return
                    yield examined_from_json(message.head["examined"])
        except HostLostError as lost:
            raise self._failed(lost) from None

    def measure(
        self, layer: str, drives: Drives, ids: RowIds, stop: Stop, raw: np.dtype[Any] | None = None
    ) -> Iterator[Responses]:
        """Measure rows on a layer; see `PhysicalLayer`. `raw` is the type of its raw signals where they are wanted."""
        host = self._host
        if host is None:
            raise InstrumentError(layer, "it is not open", command="measure")
        if stop.is_set():
            return
        self._safe = False
        self._measuring = True
        try:
            yield from self._chunks(host, layer, drives, ids, stop, raw)
        except HostLostError as lost:
            raise self._failed(lost) from None
        finally:
            self._measuring = False

    def write_parameters(self, layer: str, values: NDArray[np.floating]) -> WrittenParameters:
        """Set the parameters of a layer; see `ParameterSink`."""
        answer = self._answered("write", layer, {"values": values})
        self._written[layer] = WrittenParameters(answer.arrays["commanded"], answer.arrays["applied"])
        return self._written[layer]

    def written(self, layer: str) -> WrittenParameters | None:
        """Return what was written to a layer last, None before the first time."""
        return self._written.get(layer)

    def health(self, layer: str) -> tuple[Finding, ...]:
        """Return how a layer is; see `HealthCheckable`."""
        return findings_from_json(self._answered("health", layer).head["findings"])

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
        host = self._host
        if host is None:
            return
        self._forget()
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

    def identity_of(self, layer: str) -> str:
        """Return what a layer calls itself; empty while there is no host."""
        return self._identities.get(layer, "")

    def calibrate(self, part: str) -> Calibration:
        """Return what an instrument or a layer measures of itself; see `Calibratable`."""
        return calibration_from_message(self._answered("calibrate", part))

    def identities(self) -> Mapping[str, str]:
        """Return who answers at the addresses of the instruments; empty before `open`."""
        return self._instruments

    def _started(self) -> HostProcess:
        if self._host is None:
            self._host = HostProcess({"rig": self._source, "owner": this_owner()})
        self._safe = False
        return self._host

    def _answered(self, kind: str, part: str, arrays: Mapping[str, NDArray[Any]] | None = None) -> Message:
        """Return the answer to a request that concerns one part. Raises the error it is, or `InstrumentError`."""
        if self._host is None:
            raise InstrumentError(part, "it is not open", command=kind)
        if self._measuring:
            raise InstrumentError(part, "it is being measured: take all rows, or let go of them, first", command=kind)
        self._safe = False
        try:
            with self._host.asking(kind, arrays, part=part) as asked:
                while (message := asked.answer(POLL_S)) is None:
                    pass
            self._take(message)
        except HostLostError as lost:
            raise self._failed(lost) from None
        return message

    def _chunks(
        self, host: HostProcess, layer: str, drives: Drives, ids: RowIds, stop: Stop, raw: np.dtype[Any] | None
    ) -> Iterator[Responses]:
        with host.asking("measure", {"drives": drives, "ids": ids}, layer=layer, raw=raw is not None) as asked:
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
                    arrays = dict(message.arrays)
                    signals = None if raw is None else from_bytes(arrays.pop("raw"), raw)
                    yield Responses(**arrays, raw=signals)
            finally:
                if not finished:
                    host.tell("stop", measurement=asked.number)

    def _take(self, message: Message) -> None:
        self._states.update(message.head["states"])
        self._identities.update(message.head["identities"])

    def _forget(self) -> None:
        self._host = None
        self._is_open = False
        self._identities.clear()
        self._instruments = {}

    def _failed(self, lost: HostLostError) -> InstrumentError:
        self._forget()
        return InstrumentError(f"rig {self._name}", f"its host process has ended: {lost}")
