"""Basler cameras through pypylon; and pylon's own emulated cameras, which it numbers from 0815-0000."""

import os
import time
import warnings
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

from pydantic import Field

from labctl.contract.driver import BuildContext, InstrumentDriver
from labctl.contract.errors import InstrumentError
from labctl_drivers.camera.base import RawFrame, SourcedCamera
from labctl_drivers.camera.features import set_up
from labctl_drivers.camera.settings import Feature, GenicamSettings

READY_S = 1.0
EMULATED = "0815-"


class BaslerSettings(GenicamSettings):
    """A Basler camera, by USB 3 or GigE."""

    address: str = Field(description="serial number, as on the camera's label", examples=["40012345"])


class BaslerSource:
    """A `FrameSource` on pypylon.

    Whether the camera is ready for a trigger takes it a millisecond to say. It is asked when a picture has arrived, and
    says so while the picture is looked at.
    """

    id_period: int | None = None
    streams = True

    def __init__(self, settings: BaslerSettings, name: str) -> None:
        self.fires = settings.trigger.is_software
        self._settings = settings
        self._name = name
        self._pylon: Any = None
        self._camera: Any = None
        self._asking = ThreadPoolExecutor(1, f"trigger of {name}")
        self._ready: Future[bool] | None = None

    def connect(self) -> str:
        """Open the camera of the serial number and set it up. Raises `InstrumentError`."""
        pylon = self._pylon = self._library()
        with self._failing("connect"):
            factory = pylon.TlFactory.GetInstance()
            found = factory.EnumerateDevices([self._wanted()])
            if not found:
                raise InstrumentError(self._name, self._absent(factory), command="connect")
            self._camera = pylon.InstantCamera(factory.CreateDevice(found[0]))
            self._camera.Open()
            set_up(self, self._settings, self._name)
            self._camera.MaxNumBuffer.Value = 8
        info = self._camera.GetDeviceInfo()
        firmware = info.GetDeviceVersion() if info.IsDeviceVersionAvailable() else ""
        return ", ".join(filter(None, (info.GetVendorName(), info.GetModelName(), info.GetSerialNumber(), firmware)))

    def start(self) -> None:
        """Begin to grab."""
        with self._failing("start"):
            self._camera.StartGrabbing(self._pylon.GrabStrategy_OneByOne)

    def fire(self) -> None:
        """Trigger as soon as the camera is ready."""
        with self._failing("trigger"):
            if not self._said_ready():
                raise InstrumentError(self._name, f"not ready for a trigger within {READY_S:g} s", command="trigger")
            self._camera.ExecuteSoftwareTrigger()

    def fetch(self, timeout_s: float) -> RawFrame | None:
        """Return the next picture."""
        with self._failing("read"):
            result = self._camera.RetrieveResult(round(timeout_s * 1e3), self._pylon.TimeoutHandling_Return)
            if not result.IsValid():
                if not self._camera.IsGrabbing():
                    raise InstrumentError(self._name, "the camera has stopped grabbing", command="read")
                return None
            if self.fires and self._ready is None:
                self._ready = self._asking.submit(self._is_ready, self._camera)
            with result:
                if not result.GrabSucceeded():
                    return RawFrame(None, result.BlockID, time.time(), result.ErrorDescription)
                return RawFrame(result.Array.copy(), result.BlockID, time.time())

    def stop(self) -> None:
        """End grabbing."""
        with self._failing("stop"):
            self._forget_ready()
            self._camera.StopGrabbing()

    def disconnect(self) -> None:
        """Release the camera."""
        self._forget_ready()
        camera, self._camera = self._camera, None
        if camera is not None:
            with suppress(Exception):  # a camera that is gone cannot be closed, and need not be
                camera.StopGrabbing()
            with suppress(Exception):
                camera.Close()

    # ------------------------------------------------------------------------------------------------ trigger

    def _is_ready(self, camera: Any) -> bool:
        return bool(camera.WaitForFrameTriggerReady(round(READY_S * 1e3), self._pylon.TimeoutHandling_Return))

    def _said_ready(self) -> bool:
        """Return whether the camera is ready for the next trigger: one that was not when it was asked may be by now."""
        ready, self._ready = self._ready, None
        return (ready is not None and ready.result()) or self._is_ready(self._camera)

    def _forget_ready(self) -> None:
        """Let the camera say what it was asked, to nobody: nothing may use it while it is stopped."""
        ready, self._ready = self._ready, None
        if ready is not None:
            ready.exception()

    # ------------------------------------------------------------------------------------------------ features

    def has(self, feature: str) -> bool:
        """Return whether the camera has a feature that can be set now."""
        node = self._camera.GetNodeMap().GetNode(feature)
        return node is not None and bool(_genicam().IsWritable(node))

    def set(self, feature: str, value: Feature) -> None:
        """Set a feature."""
        with self._failing(f"set {feature} to {value}"):
            getattr(self._camera, feature).Value = value

    def get(self, feature: str) -> Feature:
        """Return a feature's value."""
        with self._failing(f"get {feature}"):
            value: Feature = getattr(self._camera, feature).Value
        return value

    # ------------------------------------------------------------------------------------------------ library

    def _library(self) -> Any:
        if self._settings.address.startswith(EMULATED):
            # pylon looks at this once, when it is loaded.
            os.environ.setdefault("PYLON_CAMEMU", "2")
        try:
            with warnings.catch_warnings():
                # Its types have no module, which Python says is deprecated; made an error, that crashes the library.
                warnings.simplefilter("ignore", DeprecationWarning)
                from pypylon import pylon  # an extra, and slow to load
        except ImportError as error:
            raise InstrumentError(self._name, "pypylon is not installed; install labctl[optics]") from error
        return pylon

    def _wanted(self) -> Any:
        """Return what the library looks for: looking everywhere takes seconds."""
        wanted = self._pylon.DeviceInfo()
        wanted.SetSerialNumber(self._settings.address)
        if self._settings.address.startswith(EMULATED):
            wanted.SetDeviceClass("BaslerCamEmu")
        return wanted

    def _absent(self, factory: Any) -> str:
        there = ", ".join(device.GetSerialNumber() for device in factory.EnumerateDevices())
        return f"there is no Basler camera {self._settings.address}; there are: {there or 'none'}"

    @contextmanager
    def _failing(self, command: str) -> Generator[None]:
        """Raise what the library raises as an `InstrumentError`."""
        if self._camera is None and command != "connect":
            raise InstrumentError(self._name, "the camera is not connected", command=command)
        try:
            yield
        except _genicam().GenericException as error:
            raise InstrumentError(self._name, _first_line(error), command=command) from error


def _genicam() -> Any:
    from pypylon import genicam  # an extra

    return genicam


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0].removesuffix(".")


def _build(settings: BaslerSettings, context: BuildContext) -> SourcedCamera:
    return SourcedCamera(settings, BaslerSource(settings, context.name), context.name, context.clock)


DRIVER = InstrumentDriver(BaslerSettings, _build)
