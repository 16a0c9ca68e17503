"""GigE Vision and USB3 Vision cameras of any maker through Aravis, which every Linux distribution has.

Aravis comes with the system, not from PyPI: its Python binding is PyGObject's.
"""

import importlib
import importlib.util
import sys
import time
import warnings
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from labctl.contract.driver import BuildContext, InstrumentDriver
from labctl.contract.errors import InstrumentError
from labctl.contract.units import Hertz, Seconds
from labctl_drivers.camera.base import RawFrame, SourcedCamera
from labctl_drivers.camera.features import set_up
from labctl_drivers.camera.settings import Feature, GenicamSettings

BUFFERS = 8
SYSTEM_PACKAGES = Path("/usr/lib/python3/dist-packages")
"""Where Debian keeps PyGObject, which a virtual environment does not look into."""

_INSTALL = "install the packages gir1.2-aravis-0.8 and python3-gi, or their equivalents"


class AravisSettings(GenicamSettings):
    """A GigE Vision or USB3 Vision camera."""

    address: str = Field(
        description="IP address, or the camera's id as `arv-tool-0.8` shows it", examples=["192.168.1.20"]
    )
    packet_size: Annotated[int, Field(ge=576, le=16384)] | None = Field(
        default=None, description="of GigE Vision, in bytes; 8000 where all network parts take jumbo frames"
    )
    frame_rate_limit_hz: Annotated[Hertz, Field(gt=0)] | None = Field(
        alias="frame_rate_limit",
        default=None,
        description="set where a camera limits triggers by a frame rate of its own",
    )
    heartbeat_s: Annotated[Seconds, Field(gt=0, le=600)] = Field(
        alias="heartbeat", default=3.0, description="how long the camera waits for a computer that is gone"
    )


class AravisSource:
    """A `FrameSource` on Aravis."""

    id_period: int | None = 65535
    """GigE Vision numbers pictures by 16 bits and leaves out 0."""

    streams = True

    def __init__(self, settings: AravisSettings, name: str) -> None:
        self.fires = settings.trigger.is_software
        self._settings = settings
        self._name = name
        self._aravis: Any = None
        self._camera: Any = None
        self._stream: Any = None

    def connect(self) -> str:
        """Open the camera and set it up. Raises `InstrumentError`."""
        aravis = self._aravis = _library(self._name)
        with self._failing("connect"):
            self._camera = aravis.Camera.new(self._settings.address)
            self._set_transport()  # first: a frame rate that is set switches triggers off
            set_up(self, self._settings, self._name)
            return ", ".join(
                str(part)
                for part in (
                    self._camera.get_vendor_name(),
                    self._camera.get_model_name(),
                    self._camera.get_device_serial_number(),
                )
                if part
            )

    def start(self) -> None:
        """Begin to acquire, into a stream of its own, so that nothing of before is in it."""
        with self._failing("start"):
            self._stream = self._camera.create_stream(None, None)
            payload = self._camera.get_payload()
            for _ in range(BUFFERS):
                self._stream.push_buffer(self._aravis.Buffer.new_allocate(payload))
            self._camera.start_acquisition()

    def fire(self) -> None:
        """Trigger."""
        with self._failing("trigger"):
            self._camera.software_trigger()

    def fetch(self, timeout_s: float) -> RawFrame | None:
        """Return the next picture."""
        deadline_s = time.monotonic() + timeout_s
        with self._failing("read"):
            while True:
                left_s = max(0.0, deadline_s - time.monotonic())
                buffer = self._stream.timeout_pop_buffer(round(left_s * 1e6))
                if buffer is None:
                    self._require_there()
                    return None
                try:
                    if self._is_picture(buffer):
                        return self._frame(buffer)
                finally:
                    self._stream.push_buffer(buffer)

    def stop(self) -> None:
        """End acquiring."""
        with self._failing("stop"):
            self._camera.stop_acquisition()
            self._stream = None

    def disconnect(self) -> None:
        """Release the camera."""
        camera, self._camera, self._stream = self._camera, None, None
        if camera is not None:
            with suppress(Exception):  # a camera that is gone cannot be told, and need not be
                camera.stop_acquisition()

    # ------------------------------------------------------------------------------------------------ features

    def has(self, feature: str) -> bool:
        """Return whether the camera has a feature that can be set."""
        with self._failing(f"look for {feature}"):
            return bool(self._camera.is_feature_available(feature))

    def set(self, feature: str, value: Feature) -> None:
        """Set a feature."""
        with self._failing(f"set {feature} to {value}"):
            match value:
                case bool():
                    self._camera.set_boolean(feature, value)
                case int():
                    self._camera.set_integer(feature, value)
                case float():
                    self._camera.set_float(feature, value)
                case str():
                    self._camera.set_string(feature, value)

    def get(self, feature: str) -> Feature:
        """Return a feature's value."""
        with self._failing(f"get {feature}"):
            node = self._camera.get_device().get_feature(feature)
            gc = self._aravis
            if isinstance(node, gc.GcBoolean):
                return bool(node.get_value())
            if isinstance(node, gc.GcEnumeration):
                return str(node.get_string_value())
            if isinstance(node, gc.GcFloat):
                return float(node.get_value())
            value: Feature = node.get_value()
            return value

    # ------------------------------------------------------------------------------------------------ transport

    def _set_transport(self) -> None:
        if self._settings.frame_rate_limit_hz is not None:
            self._camera.set_frame_rate(self._settings.frame_rate_limit_hz)
        if self._camera.is_gv_device():
            # A packet socket hears the whole network until its filter is set: what it took for a picture by then
            # spoils the numbers of those that follow.
            self._camera.gv_set_stream_options(self._aravis.GvStreamOption.PACKET_SOCKET_DISABLED)
            if self._settings.packet_size is not None:
                self._camera.gv_set_packet_size(self._settings.packet_size)
            if self._camera.is_feature_available("GevHeartbeatTimeout"):
                self._camera.set_integer("GevHeartbeatTimeout", round(self._settings.heartbeat_s * 1e3))

    def _is_picture(self, buffer: Any) -> bool:
        """Return whether the camera sent what is in a buffer, whole or with a number that says which one is broken."""
        status = self._aravis.BufferStatus
        if buffer.get_status() == status.CLEARED:
            return False
        return bool(buffer.get_status() == status.SUCCESS or buffer.get_frame_id() != 0)

    def _frame(self, buffer: Any) -> RawFrame:
        arrived_s = time.time()
        status = buffer.get_status()
        if status != self._aravis.BufferStatus.SUCCESS:
            return RawFrame(None, buffer.get_frame_id(), arrived_s, status.value_nick)
        rows, columns = buffer.get_image_height(), buffer.get_image_width()
        dtype = np.uint8 if self._settings.pixel_format == "Mono8" else np.uint16
        image = np.frombuffer(buffer.get_data(), dtype, rows * columns).reshape(rows, columns)
        return RawFrame(image.copy(), buffer.get_frame_id(), arrived_s)

    def _require_there(self) -> None:
        """Ask the camera something. Raises `InstrumentError` when it is gone: a stream alone does not say."""
        self._camera.get_exposure_time()

    @contextmanager
    def _failing(self, command: str) -> Generator[None]:
        """Raise what the library raises as an `InstrumentError`."""
        if self._camera is None and command != "connect":
            raise InstrumentError(self._name, "the camera is not connected", command=command)
        glib: Any = sys.modules["gi.repository.GLib"]  # comes with the library
        try:
            yield
        except glib.Error as error:
            cause = f"{error.message} ({self._settings.address})" if command == "connect" else str(error.message)
            raise InstrumentError(self._name, cause, command=command) from error


def _library(name: str) -> Any:
    """Return Aravis. Raises `InstrumentError` saying what to install."""
    if importlib.util.find_spec("gi") is None and SYSTEM_PACKAGES.is_dir():
        sys.path.append(str(SYSTEM_PACKAGES))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ImportWarning)  # its importer is of an older kind
            gi: Any = importlib.import_module("gi")
            gi.require_version("Aravis", "0.8")
            importlib.import_module("gi.repository.GLib")
            return importlib.import_module("gi.repository.Aravis")
    except (ImportError, ValueError) as error:
        raise InstrumentError(name, f"Aravis is not installed ({error}); {_INSTALL}") from error


def _build(settings: AravisSettings, context: BuildContext) -> SourcedCamera:
    return SourcedCamera(settings, AravisSource(settings, context.name), context.name, context.clock)


DRIVER = InstrumentDriver(AravisSettings, _build)
