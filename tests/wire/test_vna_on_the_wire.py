"""Drivers of network analysers as a rig file builds them, over real transports, on virtual analysers."""

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from labctl_drivers.vna import drivers
from labctl_simulators.instruments.servers.hislip import HislipServer
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

from labctl.contract.clock import WallClock
from labctl.contract.driver import BuildContext, InstrumentDriver
from labctl.contract.errors import InstrumentError
from labctl.contract.microwave import NetworkAnalyser, Segment, Sweep

SWEEP = Sweep(("S21",), (Segment(3.2e9, 3.4e9, 41),), power_dbm=-10.0, if_bandwidth_hz=1000.0)


def built(driver: InstrumentDriver[Any], server: Any, **settings: Any) -> NetworkAnalyser:
    document = {"address": server.address, "simulated": True} | settings
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


@pytest.mark.parametrize("server", [ScpiSocketServer, HislipServer])
@pytest.mark.parametrize(
    ("driver", "virtual", "tolerance"),
    [
        pytest.param(drivers.KEYSIGHT_PNA, VirtualKeysightPna, 1e-15, id="keysight-pna"),
        pytest.param(drivers.KEYSIGHT_ENA, VirtualKeysightEna, 1e-15, id="keysight-ena"),
        pytest.param(drivers.ROHDE_SCHWARZ, VirtualRohdeSchwarz, 1e-15, id="rohde-schwarz"),
        pytest.param(drivers.COPPER_MOUNTAIN, VirtualCopperMountain, 1e-15, id="copper-mountain"),
        pytest.param(drivers.LIBREVNA, VirtualLibreVna, 1e-5, id="librevna"),
    ],
)
def test_sweeps_over_the_network(
    server: Callable[..., Any],
    driver: InstrumentDriver[Any],
    virtual: Callable[[Engine], Any],
    tolerance: float,
) -> None:
    engine = Engine(Resonator())
    with server(virtual(engine).execute) as serving:
        check_sweeps(built(driver, serving), engine, tolerance)
    assert not engine.rf_on


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
        check_sweeps(built(driver, port, correction="allowed"), engine, tolerance)


def test_a_trigger_that_does_not_come_leaves_the_power_off() -> None:
    engine = Engine(Resonator())
    virtual = VirtualKeysightPna(engine, edge_patience_s=0.5)
    with ScpiSocketServer(virtual.execute) as serving:
        analyser = built(drivers.KEYSIGHT_PNA, serving, timeout="0.2 s", trigger_wait="0.1 s", sweep_margin=1)
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
        analyser = built(drivers.KEYSIGHT_PNA, serving, trigger_wait="1 h")
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
