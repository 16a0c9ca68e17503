"""The life of a camera, whatever drives it: connect, expose, and hand over the picture of that exposure and no other.

Pictures are told apart by the camera's own numbers: one that comes late, twice or not at all is found out by its
number and never taken for another. A camera without numbers is started afresh whenever a picture is missing.
"""

import hashlib
import logging
import time
from collections import Counter
from typing import NamedTuple, Protocol

import numpy as np

from labctl.contract.capabilities import Finding
from labctl.contract.clock import Clock
from labctl.contract.errors import Fault, InstrumentError
from labctl.contract.optics import Frame, FrameError, Image
from labctl_drivers.camera.settings import CameraSettings

RECONNECT_PAUSE_S = 0.5

_log = logging.getLogger(__name__)


class RawFrame(NamedTuple):
    """What a library hands over: an image (rows, columns) as the camera sent it, or None and the `cause`.

    `id` is the camera's own number, where it has one; `time_s` POSIX time of arrival.
    """

    image: Image | None
    id: int | None
    time_s: float
    cause: str = ""


class FrameSource(Protocol):
    """A camera as a library drives it. Every method raises `InstrumentError` when the camera is gone."""

    id_period: int | None
    """Where the camera's numbers begin again, None where they do not."""

    fires: bool
    """Whether exposures begin on command; else they come by themselves: an external trigger, or a stream."""

    streams: bool
    """Whether pictures of exposures that come by themselves wait until they are fetched."""

    def connect(self) -> str:
        """Connect, configure, read back; return make, model, serial number and firmware. Raises `InstrumentError`."""
        ...

    def start(self) -> None:
        """Begin to acquire. What was exposed before never arrives."""
        ...

    def fire(self) -> None:
        """Begin an exposure, as soon as the camera is ready for one."""
        ...

    def fetch(self, timeout_s: float) -> RawFrame | None:
        """Return the next picture, None when none arrives in time."""
        ...

    def stop(self) -> None:
        """End acquiring."""
        ...

    def disconnect(self) -> None:
        """Release the camera; never raises."""
        ...


class SourcedCamera:
    """A `Camera`, `Identifiable` and `HealthCheckable` on any `FrameSource`.

    `counts` says what befell pictures so far: `late`, `lost`, `duplicate`, `broken`, `reset`.
    """

    def __init__(self, settings: CameraSettings, source: FrameSource, name: str, clock: Clock) -> None:
        self.counts: Counter[str] = Counter()
        self._settings = settings
        self._source = source
        self._name = name
        self._clock = clock
        self._identity = ""
        self._is_open = False
        self._taken: Frame | None = None
        self._exposures = 0
        self._begin_anew()

    @property
    def name(self) -> str:
        """Return the instrument's name in the rig file."""
        return self._name

    @property
    def simulated(self) -> bool:
        """Return whether the rig file says so."""
        return self._settings.simulated

    @property
    def identity(self) -> str:
        """Return who answers; empty before `open`."""
        return self._identity

    @property
    def state_id(self) -> str:
        """Name what makes a picture: all settings but where the camera is and how long it is waited for."""
        elsewhere = {"address", "timeout_s", "reconnects", "producer"}
        if self._settings.simulated:
            elsewhere.add("features")  # they lead to the simulator
        described = self._settings.model_dump_json(exclude=elsewhere, exclude_defaults=True)
        return hashlib.sha256(described.encode()).hexdigest()[:12]

    @property
    def shape(self) -> tuple[int, int]:
        """Return rows and columns of a picture."""
        return self._settings.region.height, self._settings.region.width

    @property
    def bits(self) -> int:
        """Return the bits of a pixel."""
        return self._settings.bits

    @property
    def exposure_s(self) -> float:
        """Return how long light is collected."""
        return self._settings.exposure_s

    @property
    def expose_s(self) -> float:
        """Return how long `expose` nominally takes."""
        return self._exposures_each * (self._settings.start_delay_s + self._settings.exposure_s)

    @property
    def _exposures_each(self) -> int:
        """Return how many exposures one picture takes: of those that come by themselves, one is on its way."""
        return 1 + self._settings.discard + (self._source.streams and not self._source.fires)

    def open(self) -> None:
        """Connect, configure and begin to acquire; does nothing when already open. Raises `InstrumentError`."""
        if self._is_open:
            return
        self._exposures = 0
        self._connect()
        self._is_open = True

    def expose(self) -> None:
        """Take one picture; return when its exposure has ended.

        A camera that turns out to be gone is looked for again. Raises `InstrumentError` when it stays away.
        """
        if not self._is_open:
            raise InstrumentError(self._name, "the camera is not open", command="expose")
        self._taken = None
        self._exposures += 1
        try:
            self._expose()
        except FrameError:
            raise
        except InstrumentError as error:
            self._reconnect(error)
            self._expose()

    def read(self) -> Frame:
        """Return the picture of the last `expose`.

        Raises `FrameError` when it is lost, late or broken, or the camera was reset and has been found again;
        `InstrumentError` when it stays away.
        """
        if not self._is_open:
            raise InstrumentError(self._name, "the camera is not open", command="read")
        if self._taken is not None:
            return self._taken
        try:
            raw = self._awaited()
        except FrameError:
            raise
        except InstrumentError as error:
            self._reconnect(error)
            raise FrameError(self._name, f"the camera was reset ({error.cause}); it is back", command="read") from error
        return self._frame(raw)

    def health(self) -> tuple[Finding, ...]:
        """Return what befell pictures since the camera was built."""
        befell = ", ".join(f"{count} {what}" for what, count in sorted(self.counts.items()))
        return (Finding("pictures", befell or "none lost, late or broken"),)

    def make_safe(self) -> None:
        """Do nothing: a camera harms nobody."""

    def close(self) -> None:
        """Release the camera."""
        self._is_open = False
        self._source.disconnect()

    # ------------------------------------------------------------------------------------------------ exposures

    def _expose(self) -> None:
        for _ in range(1 + self._settings.discard):
            if self._source.fires:
                self._source.fire()
                self._fired += 1
                self._clock.sleep_s(self._settings.start_delay_s + self._settings.exposure_s)
        if not self._source.fires:
            self._taken = self._frame(self._first_begun_from_now())

    def _first_begun_from_now(self) -> RawFrame:
        """Return the picture that counts of a camera that exposes by itself; those begun before do not.

        What waits was exposed before. So may the next one have been, whenever it arrives: it was on its way.
        """
        while self._source.streams and self._source.fetch(0.0) is not None:
            pass
        begin_s = time.time()
        wanted = self._exposures_each
        while True:
            raw = self._source.fetch(
                self._settings.start_delay_s + self._settings.exposure_s + self._settings.timeout_s
            )
            if raw is None:
                self.counts["lost"] += 1
                raise FrameError(self._name, "no picture arrives: does the trigger's cable carry a signal?")
            wanted -= raw.time_s - self._settings.exposure_s >= begin_s
            if wanted == 0:
                return raw

    def _awaited(self) -> RawFrame:
        """Return the picture of what was fired last."""
        deadline_s = time.monotonic() + self._settings.timeout_s
        while True:
            raw = self._source.fetch(max(0.0, deadline_s - time.monotonic()))
            if raw is None:
                raise self._missing_now()
            number = self._number(raw)
            self._settle_accounts(number)
            if number == self._fired:
                self._timeouts = 0
                return raw
            if number > self._fired:
                self._restart()
                self.counts["broken"] += 1
                raise FrameError(self._name, "the camera sends pictures that nobody asked for; it was started afresh")

    def _number(self, raw: RawFrame) -> int:
        """Return which firing since the start a picture belongs to, counted from 1: the first one to the first."""
        self._arrived += 1
        if raw.id is None:
            return self._arrived
        if self._first_id is None:
            self._first_id = raw.id
        ahead = raw.id - self._first_id - (self._fired - 1)
        period = self._source.id_period
        if period is not None:
            ahead = (ahead + period // 2) % period - period // 2
        return self._fired + ahead

    def _settle_accounts(self, number: int) -> None:
        """Count what turns out by the arrival of a picture: it came late or twice, or earlier ones never will."""
        if number in self._missing:
            self._missing.discard(number)
            self.counts["late"] += 1
        elif number <= self._newest:
            self.counts["duplicate"] += 1
        if lost := {missing for missing in self._missing if missing < number}:
            self.counts["lost"] += len(lost)
            self._missing -= lost
        self._newest = max(self._newest, number)

    def _missing_now(self) -> FrameError:
        self._timeouts += 1
        self._missing.add(self._fired)
        if self._timeouts > 1 or self._first_id is None:
            self.counts["lost"] += len(self._missing)
            self._restart()
        waited = f"{self._settings.timeout_s:g} s after its exposure"
        return FrameError(self._name, f"no picture {waited}: it is lost or late", command="read")

    def _frame(self, raw: RawFrame) -> Frame:
        image = raw.image
        if image is None:
            self.counts["broken"] += 1
            raise FrameError(self._name, f"the picture is broken: {raw.cause}", command="read")
        if image.shape != self.shape:
            rows, columns = self.shape
            cause = f"a picture of {' x '.join(map(str, image.shape))} where {rows} x {columns} belongs"
            raise InstrumentError(self._name, cause, command="read")
        return Frame(self._counts_of(image), self._exposures, raw.time_s)

    def _counts_of(self, image: Image) -> Image:
        dtype = np.uint8 if self.bits <= 8 else np.uint16
        if self._settings.alignment == "left":
            image = image >> (16 - self.bits)
        # One look at all bits is enough, and cheaper than one at the largest value.
        if image.dtype.itemsize * 8 > self.bits and int(np.bitwise_or.reduce(image, axis=None)) >> self.bits:
            cause = f"a pixel has more than {self.bits} bits: is `bits` right, and `alignment`?"
            raise InstrumentError(self._name, cause, command="read")
        return image.astype(dtype, copy=False)

    # ------------------------------------------------------------------------------------------------ connection

    def _connect(self) -> None:
        try:
            identity = self._source.connect()
            self._require_same(identity)
            self._source.start()
        except BaseException:
            self._source.disconnect()
            raise
        self._identity = identity
        self._begin_anew()

    def _require_same(self, identity: str) -> None:
        if self._identity and identity != self._identity:
            cause = f"'{identity}' answers where '{self._identity}' did before: was it exchanged?"
            raise InstrumentError(self._name, cause, command="connect", fault=Fault.REFUSED)

    def _reconnect(self, error: InstrumentError) -> None:
        """Look for a camera that is gone. Raises the last `InstrumentError` when it stays away."""
        self.counts["reset"] += 1
        _log.warning("%s; looking for the camera again", error)
        failure = error
        for _ in range(self._settings.reconnects):
            self._source.disconnect()
            try:
                self._connect()
            except InstrumentError as again:
                failure = again
                time.sleep(RECONNECT_PAUSE_S)
            else:
                return
        self.close()
        raise failure

    def _restart(self) -> None:
        """Begin to acquire afresh, with nothing of what was exposed before."""
        self._source.stop()
        self._source.start()
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._fired = self._arrived = self._newest = self._timeouts = 0
        self._first_id: int | None = None
        self._missing: set[int] = set()
