"""A bench whose metasurface triggers its analyser, over the real transports of both."""

import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from labctl_drivers.layers import microwave
from labctl_drivers.metasurface import labctl_v1
from labctl_drivers.vna import drivers
from labctl_simulators.instruments.bench import BENCH
from labctl_simulators.loopback import microwave as simulated
from labctl_simulators.loopback import microwave_cavity
from labctl_simulators.loopback.microwave import SimulatedMicrowaveLayer
from labctl_simulators.loopback.microwave_cavity import SimulatedCavity

from labctl.contract.clock import WallClock
from labctl.contract.driver import BuildContext
from labctl.contract.layer import PhysicalLayer

if sys.platform == "win32":
    pytest.skip("pseudo-terminals need Linux or macOS", allow_module_level=True)

BOX: dict[str, Any] = {"length": "0.6 m", "width": "0.45 m", "height": "20 mm", "quality": 200, "posts": 6}
POINT: dict[str, Any] = {"frequencies": {"start": "3.1 GHz", "stop": "3.5 GHz", "points": 5}, "pass": "50 ms"}
OWN = {"analyser": "vna", "metasurface": "surface", "power": "-15 dBm", "if_bandwidth": "10 kHz"}
ANALYSERS = {
    "vna.keysight-pna": (drivers.KEYSIGHT_PNA, "TCPIP::192.168.0.10::5025::SOCKET"),
    "vna.keysight-ena": (drivers.KEYSIGHT_ENA, "TCPIP::192.168.0.10::inst0::INSTR"),
    "vna.rohde-schwarz": (drivers.ROHDE_SCHWARZ, "TCPIP::192.168.0.10::hislip0::INSTR"),
}
CONTEXT = BuildContext("surface", Path(), WallClock())


def cavity(count: int) -> SimulatedCavity:
    settings = {"box": BOX, "elements": {"count": count}, "seed": 1, "vna": None, "drift": 0.0}
    built = microwave_cavity.DRIVER.build(microwave_cavity.DRIVER.settings.model_validate(settings), CONTEXT)
    assert isinstance(built, SimulatedCavity)
    return built


def layer_on(driver: str, surface: Any, settings: dict[str, Any], addresses: Any) -> PhysicalLayer:
    analyser = ANALYSERS[driver][0]
    document = {"address": addresses["vna"], "simulated": True, "trigger_wait": "1 s", "timeout": "5 s"}
    instruments = {
        "vna": analyser.build(analyser.settings.model_validate(document), BuildContext("vna", Path(), WallClock())),
        "surface": surface.build(
            surface.settings.model_validate(settings | {"address": addresses["surface"], "simulated": True}), CONTEXT
        ),
    }
    own = microwave.DRIVER.settings.model_validate(POINT | OWN | {"trigger": "external-rising"})
    return microwave.DRIVER.build(own, instruments, BuildContext("cavity", Path(), WallClock()))


@pytest.fixture
def physics() -> SimulatedCavity:
    return cavity(8)


@pytest.fixture
def served(physics: SimulatedCavity, request: pytest.FixtureRequest) -> Iterator[PhysicalLayer]:
    driver = request.param
    settings = {"rows": 2, "columns": 4, "settle": "40 ms"}
    bench = BENCH.build(physics)
    rig = {
        "vna": {"driver": driver, "address": ANALYSERS[driver][1]},
        "surface": {"driver": "metasurface.labctl-v1", "address": "ASRL/dev/ttyUSB0::INSTR", "baud": 115200} | settings,
    }
    try:
        addresses = {name: given["address"] for name, given in bench.start(rig, {}).items()}
        layer = layer_on(driver, labctl_v1.DRIVER, settings, addresses)
        yield layer
        layer.close()
    finally:
        bench.stop()


@pytest.mark.parametrize("served", sorted(ANALYSERS), indirect=True)
def test_the_controllers_pulse_begins_each_sweep(served: PhysicalLayer, physics: SimulatedCavity) -> None:
    twin = simulated.DRIVER.settings.model_validate(POINT | {"cavity": "box"})
    expected = SimulatedMicrowaveLayer(twin, physics, "cavity", WallClock())
    expected.open()
    served.open()
    rows = np.random.default_rng(4).integers(0, 2, (6, 8)).astype(np.float32)
    chunks = list(served.measure(rows, np.arange(6), stop=threading.Event()))
    values = np.concatenate([chunk.values for chunk in chunks])
    np.testing.assert_allclose(values, expected.signals(rows), rtol=1e-9)
    served.make_safe()
