"""Cameras of makers who ship a GenTL producer (a .cti file), through harvesters."""

import importlib
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from labctl.contract.driver import BuildContext, InstrumentDriver
from labctl.contract.errors import InstrumentError, SettingError
from labctl_drivers.camera.base import RawFrame, SourcedCamera
from labctl_drivers.camera.features import set_up
from labctl_drivers.camera.settings import Feature, GenicamSettings


class GentlSettings(GenicamSettings):
    """A camera behind a GenTL producer."""

    producer: Path = Field(description="the maker's .cti file", examples=["/opt/maker/lib/maker.cti"])
    address: str = Field(description="the camera's id as the producer lists it", examples=["SN_40012345"])


class GentlSource:
    """A `FrameSource` on harvesters, with a time-out on everything that waits: an unplugged camera never answers."""

    id_period: int | None = None
    streams = True

    def __init__(self, settings: GentlSettings, name: str) -> None:
        self.fires = settings.trigger.is_software
        self._settings = settings
        self._name = name
        self._harvester: Any = None
        self._acquirer: Any = None

    def connect(self) -> str:
        """Open the camera and set it up. Raises `InstrumentError`."""
        core = _library("harvesters.core", self._name)
        with self._failing("connect"):
            self._harvester = core.Harvester()
            self._harvester.add_file(str(self._settings.producer))
            self._harvester.update()
            devices = {device.id_: device for device in self._harvester.device_info_list}
            if self._settings.address not in devices:
                there = ", ".join(devices) or "none"
                cause = f"the producer lists no camera {self._settings.address}; there are: {there}"
                raise InstrumentError(self._name, cause, command="connect")
            self._acquirer = self._harvester.create({"id_": self._settings.address})
            set_up(self, self._settings, self._name)
            device = devices[self._settings.address]
            return ", ".join(filter(None, (device.vendor, device.model, device.serial_number)))

    def start(self) -> None:
        """Begin to acquire."""
        with self._failing("start"):
            self._acquirer.start()

    def fire(self) -> None:
        """Trigger."""
        with self._failing("trigger"):
            self._nodes.get_node("TriggerSoftware").execute()

    def fetch(self, timeout_s: float) -> RawFrame | None:
        """Return the next picture."""
        with self._failing("read"):
            buffer = self._acquirer.try_fetch(timeout=max(timeout_s, 1e-3))
            if buffer is None:
                return None
            with buffer:
                arrived_s, component = time.time(), buffer.payload.components[0]
                if component.data_format != self._settings.pixel_format:
                    return RawFrame(None, buffer.frame_id, arrived_s, f"it is {component.data_format}")
                image: Any = np.array(component.data).reshape(component.height, component.width)
                return RawFrame(image, buffer.frame_id, arrived_s)

    def stop(self) -> None:
        """End acquiring."""
        with self._failing("stop"):
            self._acquirer.stop()

    def disconnect(self) -> None:
        """Release the camera."""
        acquirer, self._acquirer = self._acquirer, None
        harvester, self._harvester = self._harvester, None
        for release in (getattr(acquirer, "destroy", None), getattr(harvester, "reset", None)):
            if release is not None:
                with suppress(Exception):  # a camera that is gone cannot be closed, and need not be
                    release()

    # ------------------------------------------------------------------------------------------------ features

    def has(self, feature: str) -> bool:
        """Return whether the camera has a feature that can be set now."""
        with self._failing(f"look for {feature}"):
            if not self._nodes.has_node(feature):
                return False
            modes = _library("genicam.genapi", self._name).EAccessMode
            return self._nodes.get_node(feature).get_access_mode() in (modes.RW, modes.WO)

    def set(self, feature: str, value: Feature) -> None:
        """Set a feature."""
        with self._failing(f"set {feature} to {value}"):
            self._nodes.get_node(feature).value = value

    def get(self, feature: str) -> Feature:
        """Return a feature's value."""
        with self._failing(f"get {feature}"):
            value: Feature = self._nodes.get_node(feature).value
            return value

    @property
    def _nodes(self) -> Any:
        if self._acquirer is None:
            raise InstrumentError(self._name, "the camera is not connected")
        return self._acquirer.remote_device.node_map

    @contextmanager
    def _failing(self, command: str) -> Generator[None]:
        """Raise what the library raises as an `InstrumentError`."""
        if self._acquirer is None and command != "connect":
            raise InstrumentError(self._name, "the camera is not connected", command=command)
        gentl, genapi = (_library(f"genicam.{part}", self._name) for part in ("gentl", "genapi"))
        try:
            yield
        except (gentl.GenericException, genapi.GenericException, AttributeError) as error:
            raise InstrumentError(self._name, str(error).split("\n", 1)[0], command=command) from error


def _library(module: str, name: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InstrumentError(name, "harvesters is not installed; install labctl[optics]") from error


def _build(settings: GentlSettings, context: BuildContext) -> SourcedCamera:
    producer = context.folder / settings.producer
    if not producer.is_file():
        raise SettingError(("producer",), f"{producer} is no file; the camera maker's software has a .cti file")
    own = settings.model_copy(update={"producer": producer})
    return SourcedCamera(own, GentlSource(own, context.name), context.name, context.clock)


DRIVER = InstrumentDriver(GentlSettings, _build)
