"""A virtual optical bench: a display that is watched, the simulated medium behind it, one camera, and a shutter.

Inputs of the medium are macro-pixels as large as fit on the modulator, in its middle, and its outputs are blocks in the
middle of the camera's picture, both as square in number as can be (see `labctl.contract.blocks`).
"""

import math
import sys
from collections.abc import Mapping
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict

from labctl.contract.blocks import Blocks
from labctl.contract.driver import Instrument
from labctl.contract.errors import InputError, SettingError
from labctl.contract.layer import PhysicalLayer
from labctl.contract.simulator import BenchSimulator, SettingsByName
from labctl.contract.units import Seconds
from labctl_simulators.instruments.optics.panel import Panel
from labctl_simulators.instruments.optics.scene import Scene
from labctl_simulators.instruments.serial_switch import VirtualSwitch, serve_switch
from labctl_simulators.loopback.optics import OpticalLayer

WINDOW = "slm.window"
BASLER = "camera.basler"
ARAVIS = "camera.aravis"
SERIAL_LIGHT = "light.serial"

NEEDS = "a virtual optical bench needs Linux: it has pseudo-terminals, named pipes and a virtual display"


class Part(Protocol):
    """One virtual instrument between `start` and `stop`."""

    def start(self) -> None:
        """Begin to serve."""
        ...

    def stop(self) -> None:
        """Stop serving. Idempotent."""
        ...


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True)

    driver: str


class _WindowBody(_Body):
    size: tuple[int, int]
    position: tuple[int, int] = (0, 0)
    display: str | None = None


class _RegionBody(BaseModel):
    width: int
    height: int


class _CameraBody(_Body):
    region: _RegionBody
    exposure: Seconds
    address: str = ""


class OpticsBench:
    """A `VirtualBench`. `scene`, `panel`, `camera` and `shutter` are there when it is started."""

    def __init__(self, physics: OpticalLayer) -> None:
        self.scene: Scene | None = None
        self.panel: Panel | None = None
        self.shutter: VirtualSwitch | None = None
        self.camera: Part | None = None
        self._physics = physics
        self._parts: list[Part] = []

    def start(self, instruments: SettingsByName, at: SettingsByName) -> SettingsByName:
        """Serve one display, one camera and at most one shutter. Raises `SettingError`."""
        if sys.platform == "win32":
            raise InputError("an optical bench is simulated on Xvfb, which needs Linux or macOS")
        window_name = _only(instruments, {WINDOW}, "display")
        camera_name = _only(instruments, {BASLER, ARAVIS}, "camera")
        changes: dict[str, Mapping[str, Any]] = {}
        light_names = [name for name, body in instruments.items() if body["driver"] == SERIAL_LIGHT]
        if light_names:
            changes[light_names[0]] = self._serve_light(instruments, light_names, at)
        changes[window_name] = self._serve_display(window_name, instruments, at)
        changes[camera_name] = self._serve_camera(camera_name, instruments[camera_name], at)
        return changes

    def stop(self) -> None:
        """End every instrument, the camera first."""
        while self._parts:
            self._parts.pop().stop()

    def _serve_light(self, instruments: SettingsByName, names: list[str], at: SettingsByName) -> Mapping[str, Any]:
        if len(names) > 1:
            raise SettingError((names[1], "driver"), f"'{names[0]}' is the simulated bench's only light")
        self.shutter, port = serve_switch(instruments[names[0]], at.get(names[0], {}))
        self._parts.append(port)
        return {"address": port.address}

    def _serve_display(self, name: str, instruments: SettingsByName, at: SettingsByName) -> Mapping[str, Any]:
        from labctl_simulators.instruments.optics.framebuffer import VirtualDisplay  # not on Windows

        body = _WindowBody.model_validate(instruments[name])
        (left, top), (width, height) = body.position, body.size
        before = str(at.get(name, {}).get("display", "")).removeprefix(":")
        display = VirtualDisplay(left + width, top + height, int(before) if before.isdecimal() else None)
        display.start()
        self._parts.append(display)
        modulator = self._physics.settings.modulator
        self.panel = Panel(
            lambda: display.pixels[top : top + height, left : left + width],
            _blocks(self._physics.info.n_inputs, (height, width), name, "size"),
            latency_s=modulator.latency_s,
            settle_s=modulator.settle_s,
            exposure_s=_exposure_s(instruments),
        )
        self.panel.start()
        self._parts.append(self.panel)
        return {"display": display.name, "monitor": 0}

    def _serve_camera(self, name: str, settings: Mapping[str, Any], at: SettingsByName) -> Mapping[str, Any]:
        body = _CameraBody.model_validate(settings)
        shape = body.region.height, body.region.width
        blocks = _blocks(self._physics.info.n_outputs, shape, name, "region")
        if self.panel is None:
            raise RuntimeError("the display is served first")
        self.scene = Scene(self._physics, self.panel, self.shutter, blocks, shape)
        if body.driver == BASLER:
            return self._serve_pylon(self.scene, body)
        return self._serve_gige(self.scene, str(at.get(name, {}).get("address", "")))

    def _serve_pylon(self, scene: Scene, body: _CameraBody) -> Mapping[str, Any]:
        if sys.platform == "win32":
            raise InputError(NEEDS)
        from labctl_simulators.instruments.optics.emulated_pylon import EmulatedPylonCamera

        camera = EmulatedPylonCamera(scene.expose, body.exposure)
        camera.start()
        self.camera = camera
        self._parts.append(camera)
        return {"address": "0815-0000", "features": camera.features}

    def _serve_gige(self, scene: Scene, before: str) -> Mapping[str, Any]:
        from labctl_simulators.instruments.optics.gige_camera import GigeCamera  # needs Aravis

        camera = GigeCamera(scene.expose, before or None)
        camera.start()
        self.camera = camera
        self._parts.append(camera)
        return {"address": camera.address}


def _exposure_s(instruments: SettingsByName) -> float:
    """Return how long after its begin an exposure asks for light: pylon's emulation does so at its end."""
    bodies = [_CameraBody.model_validate(body) for body in instruments.values() if body["driver"] == BASLER]
    return max((body.exposure for body in bodies), default=0.0)


def _only(instruments: SettingsByName, drivers: set[str], what: str) -> str:
    names = [name for name, body in instruments.items() if body["driver"] in drivers]
    if not names:
        raise InputError(f"a simulated optical bench needs a {what}: {' or '.join(sorted(drivers))}")
    if len(names) > 1:
        raise SettingError((names[1], "driver"), f"'{names[0]}' is the simulated bench's only {what}")
    return names[0]


def _blocks(count: int, shape: tuple[int, int], name: str, at: str) -> Blocks:
    """Return `count` blocks in the middle of `shape`, as square in number as can be. Raises `SettingError`."""
    rows = next(rows for rows in range(math.isqrt(count), 0, -1) if count % rows == 0)
    try:
        return Blocks.in_the_middle(shape, rows, count // rows)
    except ValueError as error:
        raise SettingError((name, at), f"the simulated medium: {error}") from error


def _build(physics: Instrument | PhysicalLayer) -> OpticsBench:
    if not isinstance(physics, OpticalLayer):
        raise InputError("an optical bench needs a simulated optical layer, without `faults`")
    if physics.settings.camera.bits != 8:
        raise InputError("a virtual camera has 8 bits: write `bits: 8` in the simulated layer's `camera`")
    if physics.settings.modulator.levels != 256:
        raise InputError("a virtual display has 256 levels: write `levels: 256` in the simulated layer's `modulator`")
    return OpticsBench(physics)


BENCH = BenchSimulator(frozenset({WINDOW, BASLER, ARAVIS, SERIAL_LIGHT}), _build)
"""A virtual display, camera and shutter in place of those of a rig."""
