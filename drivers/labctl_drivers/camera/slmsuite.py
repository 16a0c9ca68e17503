"""Cameras that slmsuite drives: Allied Vision, FLIR, Imaging Source, Thorlabs, Xenics, Micro-Manager's and others."""

import time
from typing import Any

import numpy as np
from pydantic import Field

from labctl.contract.driver import BuildContext, InstrumentDriver
from labctl.contract.errors import InstrumentError
from labctl_drivers.camera.base import RawFrame, SourcedCamera
from labctl_drivers.camera.settings import CameraSettings
from labctl_drivers.slmsuite_class import Argument, ClassPath, instance_of, slmsuite_failing


class SlmsuiteCameraSettings(CameraSettings):
    """A camera by the slmsuite class that drives it."""

    class_path: ClassPath = Field(
        alias="class", description="slmsuite's class", examples=["slmsuite.hardware.cameras.thorlabs.ThorCam"]
    )
    arguments: dict[str, Argument] = Field(
        default_factory=dict, description="what its constructor needs, see slmsuite's documentation"
    )


class SlmsuiteSource:
    """A `FrameSource` on an slmsuite camera, whose pictures have no numbers: one counts when it was begun in time."""

    id_period: int | None = None
    streams = False
    fires = False

    def __init__(self, settings: SlmsuiteCameraSettings, name: str) -> None:
        self._settings = settings
        self._name = name
        self._camera: Any = None

    def connect(self) -> str:
        """Construct slmsuite's object, which connects, and set region and exposure. Raises `InstrumentError`."""
        settings, region = self._settings, self._settings.region
        self._camera = instance_of(settings.class_path, settings.arguments, self._name)
        with slmsuite_failing(self._name, "set up"):
            self._camera.set_woi((region.left, region.width, region.top, region.height))
            held_s = float(self._camera.set_exposure(settings.exposure_s))
        if abs(held_s - settings.exposure_s) > 0.01 * settings.exposure_s:
            cause = f"the exposure is {held_s:g} s, not {settings.exposure_s:g} s as it was set"
            raise InstrumentError(self._name, cause, command="set up")
        return f"{settings.class_path} {getattr(self._camera, 'name', '')}".strip()

    def start(self) -> None:
        """Throw away what the camera has in store."""
        with slmsuite_failing(self._name, "flush"):
            self._camera.flush()

    def fire(self) -> None:
        """Do nothing: slmsuite triggers when a picture is fetched."""

    def fetch(self, timeout_s: float) -> RawFrame | None:
        """Return the next picture."""
        try:
            image: Any = np.asarray(self._camera.get_image(timeout_s=timeout_s, transform=False, averaging=False))
        except TimeoutError:
            return None
        except Exception as error:
            raise InstrumentError(self._name, f"{type(error).__name__}: {error}", command="read") from error
        return RawFrame(image, None, time.time())

    def stop(self) -> None:
        """Do nothing."""

    def disconnect(self) -> None:
        """Release the camera."""
        camera, self._camera = self._camera, None
        if camera is not None:
            try:
                camera.close()
            except Exception:  # noqa: BLE001 - a camera that is gone cannot be closed, and need not be
                return


def _build(settings: SlmsuiteCameraSettings, context: BuildContext) -> SourcedCamera:
    return SourcedCamera(settings, SlmsuiteSource(settings, context.name), context.name, context.clock)


DRIVER = InstrumentDriver(SlmsuiteCameraSettings, _build)
