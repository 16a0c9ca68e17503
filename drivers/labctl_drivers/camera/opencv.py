"""Cameras that the operating system knows as video devices, through OpenCV. They run freely and cannot be triggered."""

import importlib
import time
from typing import Any, Literal

from pydantic import Field

from labctl.contract.driver import BuildContext, InstrumentDriver
from labctl.contract.errors import InstrumentError
from labctl_drivers.camera.base import RawFrame, SourcedCamera
from labctl_drivers.camera.settings import CameraSettings

_CHANNELS = {"blue": 0, "green": 1, "red": 2}


class OpenCvSettings(CameraSettings):
    """A video device. `exposure` states what is set by the system's own tools: devices differ in what OpenCV may set.

    Of pictures that a device keeps in store the oldest come first: state in `discard` how many.
    """

    address: str | int = Field(
        description="number of the device (0 is the first), its path, or a video's", examples=[0, "/dev/video2"]
    )
    channel: Literal["blue", "green", "red"] | None = Field(
        default=None, description="of a colour camera: which of its colours is read"
    )


class OpenCvSource:
    """A `FrameSource` on OpenCV."""

    id_period: int | None = None
    streams = False
    fires = False

    def __init__(self, settings: OpenCvSettings, name: str) -> None:
        self._settings = settings
        self._name = name
        self._capture: Any = None

    def connect(self) -> str:
        """Open the device and look at one picture. Raises `InstrumentError`."""
        try:
            cv2: Any = importlib.import_module("cv2")
        except ImportError as error:
            raise InstrumentError(self._name, "OpenCV is not installed; install labctl[optics]") from error
        self._capture = cv2.VideoCapture(self._settings.address)
        if not self._capture.isOpened():
            self.disconnect()
            raise InstrumentError(self._name, f"there is no video device {self._settings.address}", command="connect")
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        region = self._settings.region
        self._capture.set(cv2.CAP_PROP_FRAME_WIDTH, region.left + region.width)
        self._capture.set(cv2.CAP_PROP_FRAME_HEIGHT, region.top + region.height)
        if self.fetch(self._settings.timeout_s) is None:
            raise InstrumentError(self._name, "the device sends no picture", command="connect")
        return f"{self._capture.getBackendName()} {self._settings.address}"

    def start(self) -> None:
        """Do nothing: a video device always runs."""

    def fire(self) -> None:
        """Do nothing: it exposes by itself."""

    def fetch(self, timeout_s: float) -> RawFrame | None:
        """Return the next picture; the time-out is the device's own."""
        del timeout_s
        if self._capture is None:
            raise InstrumentError(self._name, "the camera is not connected", command="read")
        arrived, picture = self._capture.read()
        if not arrived:
            return None
        if picture.ndim == 3:
            picture = picture[:, :, self._channel(picture.shape[2])]
        region = self._settings.region
        bottom, right = region.top + region.height, region.left + region.width
        if picture.shape[0] < bottom or picture.shape[1] < right:
            rows, columns = picture.shape
            cause = f"the region reaches to row {bottom}, column {right}; a picture has {rows} and {columns}"
            raise InstrumentError(self._name, cause, command="read")
        return RawFrame(picture[region.top : bottom, region.left : right], None, time.time())

    def stop(self) -> None:
        """Do nothing: a video device always runs."""

    def disconnect(self) -> None:
        """Release the device."""
        capture, self._capture = self._capture, None
        if capture is not None:
            capture.release()

    def _channel(self, n_channels: int) -> int:
        if n_channels == 1:
            return 0
        if self._settings.channel is None:
            cause = "the camera sends colours: say with `channel` which of blue, green and red is read"
            raise InstrumentError(self._name, cause, command="read")
        return _CHANNELS[self._settings.channel]


def _build(settings: OpenCvSettings, context: BuildContext) -> SourcedCamera:
    return SourcedCamera(settings, OpenCvSource(settings, context.name), context.name, context.clock)


DRIVER = InstrumentDriver(OpenCvSettings, _build)
