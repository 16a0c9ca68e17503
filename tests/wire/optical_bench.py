"""A virtual optical bench in this process, and the drivers that work on it."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from labctl_drivers.camera import basler
from labctl_drivers.camera.base import SourcedCamera
from labctl_drivers.layers import optical
from labctl_drivers.layers.optical import OpticalLayer
from labctl_drivers.slm import window
from labctl_drivers.slm.window import WindowModulator
from labctl_drivers.switch import serial_line
from labctl_drivers.switch.serial_line import SerialSwitch
from labctl_simulators.instruments.optics.bench import OpticsBench
from labctl_simulators.loopback import optics as simulated

from labctl.contract.clock import SimulatedClock, WallClock
from labctl.contract.driver import BuildContext
from labctl.contract.layer import Drives

SIDE = 6
PHYSICS: dict[str, Any] = {
    "modulator": {"modulation": {"kind": "amplitude", "typical_drive": 0.577}, "fill": 0.95},
    "medium": {"kind": "gaussian", "inputs": SIDE**2, "outputs": SIDE**2, "seed": 3},
    "camera": {"exposure": 0.125, "max_saturated": 0.3},
    "seed": 1,
    "pass": "1 ms",
}
CAMERA = "camera.basler"
INSTRUMENTS: dict[str, dict[str, Any]] = {
    "slm": {"size": [64, 50], "position": [20, 10], "refresh": "1 kHz", "settle": "1 ms", "simulated": True},
    "camera": {
        "address": "0815-0000",
        "region": {"width": 48, "height": 40},
        "exposure": "1 ms",
        "start_delay": "4 ms",
        "simulated": True,
    },
    "shutter": {"address": "ASRL/dev/none::INSTR", "on": "OPEN", "off": "CLOSE", "reply": "OK", "simulated": True},
}
LAYER: dict[str, Any] = {
    "modulator": "slm",
    "camera": "camera",
    "light": "shutter",
    "modulation": {"kind": "amplitude"},
    "inputs": {"rows": SIDE, "columns": SIDE},
    "outputs": {"rows": SIDE, "columns": SIDE},
    "max_saturated": 0.3,
}
DRIVERS: Mapping[str, tuple[str, Any]] = {
    "slm": ("slm.window", window.DRIVER),
    "camera": (CAMERA, basler.DRIVER),
    "shutter": ("light.serial", serial_line.DRIVER),
}


def physics_of(**changes: Any) -> simulated.OpticalLayer:
    """Return the layer that computes what the bench shows, opened."""
    settings = simulated.DRIVER.settings.model_validate(merged(PHYSICS, changes))
    context = BuildContext("twin", Path(), SimulatedClock(float("inf")))
    layer = simulated.DRIVER.build(settings, {}, context)
    assert isinstance(layer, simulated.OpticalLayer)
    layer.open()
    return layer


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with `changes`, mappings into mappings of the same kind."""
    both = dict(base)
    for key, value in changes.items():
        old = both.get(key)
        alike = isinstance(old, dict) and isinstance(value, dict) and value.get("kind") in (None, old.get("kind"))
        both[key] = merged(old, value) if alike else value
    return both


@dataclass(frozen=True)
class OpticalBench:
    """The instruments of a rig, each by its driver, on one virtual bench; `twin` computes what it shows."""

    virtual: OpticsBench
    twin: simulated.OpticalLayer
    slm: WindowModulator
    camera: SourcedCamera
    shutter: SerialSwitch

    def layer(self, **changes: Any) -> OpticalLayer:
        """Return a layer on the instruments, closed."""
        settings = optical.DRIVER.settings.model_validate(merged(LAYER, changes))
        instruments = {"slm": self.slm, "camera": self.camera, "shutter": self.shutter}
        layer = optical.DRIVER.build(settings, instruments, BuildContext("bench", Path(), WallClock()))
        assert isinstance(layer, OpticalLayer)
        return layer

    def drives(self, n_rows: int, seed: int = 0) -> Drives:
        """Return drives at levels (n_rows, n_inputs)."""
        rng = np.random.default_rng(seed)
        return (rng.integers(0, 256, (n_rows, self.twin.info.n_inputs)) / 255).astype(np.float32)


@contextmanager
def served(
    physics: Mapping[str, Any] | None = None,
    drivers: Mapping[str, tuple[str, Any]] = DRIVERS,
    **changes: Mapping[str, Any],
) -> Generator[tuple[OpticsBench, simulated.OpticalLayer, dict[str, dict[str, Any]]]]:
    """Yield a bench on the physics of the twin with changes, the twin, and the settings that lead to the instruments.

    `changes` go into the settings of instruments.
    """
    twin = physics_of(**(physics or {}))
    settings = {
        name: {"driver": driver, **merged(INSTRUMENTS[name], changes.get(name, {}))}
        for name, (driver, _) in drivers.items()
    }
    virtual = OpticsBench(twin)
    try:
        leading = virtual.start(settings, {})
        yield virtual, twin, {name: {**settings[name], **leading[name]} for name in drivers}
    finally:
        virtual.stop()


@contextmanager
def optical_bench(
    physics: Mapping[str, Any] | None = None,
    drivers: Mapping[str, tuple[str, Any]] = DRIVERS,
    afterwards: Mapping[str, Mapping[str, Any]] | None = None,
    **changes: Mapping[str, Any],
) -> Generator[OpticalBench]:
    """Yield a bench with drivers for its instruments; `afterwards` are changes that the bench is not told of."""
    parts: dict[str, Any] = {}
    with served(physics, drivers, **changes) as (virtual, twin, settings):
        try:
            for name, (_, driver) in drivers.items():
                own = merged(settings[name], (afterwards or {}).get(name, {}))
                del own["driver"]
                parts[name] = driver.build(driver.settings.model_validate(own), BuildContext(name, Path(), WallClock()))
            yield OpticalBench(virtual, twin, parts["slm"], parts["camera"], parts["shutter"])
        finally:
            for part in parts.values():
                part.close()
