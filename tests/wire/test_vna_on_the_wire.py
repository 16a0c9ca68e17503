"""Drivers of network analysers as a rig file builds them, over real transports, on virtual analysers."""

import re
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from labctl_drivers.vna import drivers
from labctl_simulators.instruments.bench import BENCH
from labctl_simulators.instruments.servers.scpi_socket import ScpiSocketServer
from labctl_simulators.instruments.vna.copper_mountain import VirtualCopperMountain
from labctl_simulators.instruments.vna.dut import Resonator
from labctl_simulators.instruments.vna.engine import Engine
from labctl_simulators.instruments.vna.keysight_ena import VirtualKeysightEna
from labctl_simulators.instruments.vna.keysight_pna import VirtualKeysightPna
from labctl_simulators.instruments.vna.librevna import VirtualLibreVna
from labctl_simulators.instruments.vna.nanovna_binary import VirtualNanoVnaBinary
from labctl_simulators.instruments.vna.nanovna_shell import VirtualNanoVnaShell
from labctl_simulators.instruments.vna.rohde_schwarz import VirtualRohdeSchwarz
from labctl_simulators.loopback import microwave_cavity

from labctl.contract.clock import WallClock
from labctl.contract.driver import BuildContext, InstrumentDriver
from labctl.contract.errors import InstrumentError
from labctl.contract.microwave import NetworkAnalyser, Segment, Sweep
from tests.wire.small_bench import SERVERS
from tests.wire.visa_bench import bus_with

SWEEP = Sweep(("S21",), (Segment(3.2e9, 3.4e9, 41),), power_dbm=-10.0, if_bandwidth_hz=1000.0)


def built(driver: InstrumentDriver[Any], address: str, **settings: Any) -> NetworkAnalyser:
    document = {"address": address, "simulated": True} | settings
    analyser = driver.build(driver.settings.model_validate(document), BuildContext("vna", Path(), WallClock()))
    assert isinstance(analyser, NetworkAnalyser)
    return analyser


def check_sweeps(analyser: NetworkAnalyser, engine: Engine, tolerance: float) -> None:
    analyser.open()
    try:
        frequencies_hz = analyser.configure(SWEEP)
        for resonance_hz in (3.3e9, 3.25e9):
            engine.dut = Resonator(resonance_hz=resonance_hz)
            expected = engine.dut.s_parameters(frequencies_hz)[:, 1, 0]
            np.testing.assert_allclose(analyser.sweep().values[0], expected, atol=tolerance, rtol=0)
        analyser.make_safe()
    finally:
        analyser.close()


OFFERED: dict[str, tuple[InstrumentDriver[Any], Callable[[Engine], Any], float, tuple[str, ...]]] = {
    "keysight-pna": (drivers.KEYSIGHT_PNA, VirtualKeysightPna, 1e-15, ("socket", "hislip", "vxi11")),
    "keysight-ena": (drivers.KEYSIGHT_ENA, VirtualKeysightEna, 1e-15, ("socket", "hislip", "vxi11")),
    "rohde-schwarz": (drivers.ROHDE_SCHWARZ, VirtualRohdeSchwarz, 1e-15, ("socket", "hislip", "vxi11")),
    "copper-mountain": (drivers.COPPER_MOUNTAIN, VirtualCopperMountain, 1e-15, ("socket", "hislip")),
    "librevna": (drivers.LIBREVNA, VirtualLibreVna, 1e-5, ("socket",)),
}
"""Driver, virtual analyser, resolution of its numbers, and the transports that its makers offer."""

ON_A_NETWORK = [(name, transport) for name, (*_, transports) in OFFERED.items() for transport in transports]


@pytest.mark.parametrize(("name", "transport"), ON_A_NETWORK)
def test_sweeps_over_the_network(name: str, transport: str) -> None:
    driver, virtual, tolerance, _ = OFFERED[name]
    engine = Engine(Resonator())
    with SERVERS[transport](virtual(engine).execute) as serving:
        check_sweeps(built(driver, serving.address), engine, tolerance)
    assert not engine.rf_on


@pytest.mark.parametrize("address", ["USB0::0x0957::0x0118::VIRTUAL::0::INSTR", "GPIB0::16::INSTR"])
@pytest.mark.parametrize("name", ["keysight-pna", "keysight-ena", "rohde-schwarz"])
def test_sweeps_over_a_bus(name: str, address: str, tmp_path: Path) -> None:
    driver, virtual, tolerance, _ = OFFERED[name]
    engine = Engine(Resonator())
    with bus_with(address, virtual(engine).execute, tmp_path) as backend:
        check_sweeps(built(driver, address, backend=backend), engine, tolerance)
    assert not engine.rf_on


CAVITY = {
    "box": {"length": "0.6 m", "width": "0.45 m", "height": "20 mm", "quality": 200, "posts": 6},
    "elements": {"count": 8},
    "seed": 1,
    "vna": None,
    "drift": 0.0,
}


@pytest.mark.parametrize(
    ("named", "served"),
    [
        ("TCPIP::192.168.0.10::5025::SOCKET", r"TCPIP::127\.0\.0\.1::\d+::SOCKET"),
        ("TCPIP::192.168.0.10::hislip0::INSTR", r"TCPIP::127\.0\.0\.1::hislip0,\d+::INSTR"),
        ("TCPIP::192.168.0.10::inst0::INSTR", r"TCPIP::127\.0\.0\.1,\d+::inst0::INSTR"),
        ("TCPIP0::vna.local,1024::inst0::INSTR", r"TCPIP::127\.0\.0\.1,\d+::inst0::INSTR"),
        ("TCPIP::192.168.0.10::INSTR", r"TCPIP::127\.0\.0\.1,\d+::inst0::INSTR"),
        ("GPIB0::16::INSTR", r"TCPIP::127\.0\.0\.1::hislip0,\d+::INSTR"),
    ],
)
def test_a_bench_answers_on_the_wire_that_the_address_names(named: str, served: str) -> None:
    context = BuildContext("box", Path(), WallClock())
    physics = microwave_cavity.DRIVER.build(microwave_cavity.DRIVER.settings.model_validate(CAVITY), context)
    bench = BENCH.build(physics)
    rig = {"vna": {"driver": "vna.rohde-schwarz", "address": named}}
    try:
        address = bench.start(rig, {})["vna"]["address"]
        assert re.fullmatch(served, address)
        analyser = built(drivers.ROHDE_SCHWARZ, address)
        analyser.open()
        analyser.configure(SWEEP)
        assert np.abs(analyser.sweep().values).max() > 0.0
        analyser.make_safe()
        analyser.close()
        bench.stop()
        assert bench.start(rig, {"vna": {"address": address}})["vna"] == {"address": address}
    finally:
        bench.stop()


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals need Linux or macOS")
@pytest.mark.parametrize(
    ("driver", "virtual", "tolerance"),
    [
        pytest.param(drivers.NANOVNA, VirtualNanoVnaShell, 1e-6, id="nanovna"),
        pytest.param(drivers.NANOVNA_V2, VirtualNanoVnaBinary, 1e-8, id="nanovna-v2"),
    ],
)
def test_sweeps_over_a_serial_port(
    driver: InstrumentDriver[Any], virtual: Callable[[Engine], Any], tolerance: float
) -> None:
    from labctl_simulators.instruments.servers.pty_port import PtyPort

    engine = Engine(Resonator())
    with PtyPort(virtual(engine).execute, baud=None) as port:
        check_sweeps(built(driver, port.address, correction="allowed"), engine, tolerance)


def test_a_trigger_that_does_not_come_leaves_the_power_off() -> None:
    engine = Engine(Resonator())
    virtual = VirtualKeysightPna(engine, edge_patience_s=0.5)
    with ScpiSocketServer(virtual.execute) as serving:
        analyser = built(drivers.KEYSIGHT_PNA, serving.address, timeout="0.2 s", trigger_wait="0.1 s", sweep_margin=1)
        analyser.open()
        analyser.configure(Sweep(("S21",), SWEEP.segments, -10.0, 1e5, trigger="external-rising"))
        with pytest.raises(InstrumentError, match="does the rising edge reach its trigger input"):
            analyser.sweep()
        assert not engine.rf_on
        analyser.close()


def test_a_sweep_that_waits_does_not_hold_up_making_safe() -> None:
    engine = Engine(Resonator())
    virtual = VirtualKeysightPna(engine, edge_patience_s=0.5)
    failures: list[InstrumentError] = []

    def sweep() -> None:
        try:
            analyser.sweep()
        except InstrumentError as error:
            failures.append(error)

    with ScpiSocketServer(virtual.execute) as serving:
        analyser = built(drivers.KEYSIGHT_PNA, serving.address, trigger_wait="1 h")
        analyser.open()
        analyser.configure(Sweep(("S21",), SWEEP.segments, -10.0, 1e5, trigger="external-rising"))
        sweeping = threading.Thread(target=sweep)
        sweeping.start()
        while not engine.waits_for_edge:
            time.sleep(0.001)
        analyser.make_safe()
        assert not engine.rf_on
        sweeping.join()
        analyser.close()
    assert len(failures) == 1
