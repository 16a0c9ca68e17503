"""A metasurface keeps its pattern behind its cable. Killed in mid-pattern, the rig must still leave it at rest."""

import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from labctl_simulators.instruments.metasurface.labctl_v1 import VirtualLabctlV1
from labctl_simulators.instruments.metasurface.panel import Panel
from labctl_simulators.instruments.metasurface.raw12 import VirtualLeonardo, VirtualUno
from labctl_simulators.instruments.metasurface.ris_ascii import VirtualRis
from labctl_simulators.instruments.metasurface.tile_tcp import VirtualTileServer
from labctl_simulators.instruments.servers.scpi_socket import ScpiSocketServer
from labctl_simulators.instruments.servers.stream_socket import StreamSocketServer
from labctl_simulators.instruments.vna.dut import Resonator
from labctl_simulators.instruments.vna.engine import Engine
from labctl_simulators.instruments.vna.keysight_pna import VirtualKeysightPna

from labctl.config.loading import rig_from_text
from labctl.contract.clock import WallClock
from labctl.contract.errors import InstrumentError
from labctl.contract.safety import SafeOrder
from labctl.rig.client import hosted
from labctl.rig.rig import Rig, build_rig, opened
from labctl.rig.safe_plan import collect

if sys.platform == "win32":
    pytest.skip("pseudo-terminals need Linux or macOS", allow_module_level=True)

from labctl_simulators.instruments.servers.pty_port import PtyPort

DRIVERS = Path(__file__).parents[1] / "fixtures" / "drivers"
PATIENCE_S = 60.0
BOOTS_S = 1.5
RAW12 = {"driver": "metasurface.raw12", "rows": 8, "columns": 12, "boot": "0 s"}
TILES = {"driver": "metasurface.tile-tcp", "rows": 32, "columns": 32, "tiles": [1, 2]}
KINDS: dict[str, tuple[Callable[[Panel], Any], dict[str, Any]]] = {
    "labctl-v1": (VirtualLabctlV1, {"driver": "metasurface.labctl-v1", "rows": 5, "columns": 8}),
    "raw12 uno": (VirtualUno, RAW12 | {"sketch": "uno"}),
    "raw12 leonardo": (VirtualLeonardo, RAW12 | {"sketch": "leonardo"}),
    "ris-ascii": (VirtualRis, {"driver": "metasurface.ris-ascii"}),
    "tile-tcp": (VirtualTileServer, TILES),
}


class BareCavity:
    """Elements without a field."""

    n_ports, levels = 2, 2

    def __init__(self, n_elements: int) -> None:
        self.n_elements = n_elements


@dataclass
class Controller:
    """A controller that gets `gets` bytes of a request, and nothing after them, the moment `strike` is called.

    One that `restarts` then hears nothing for a while, and knows nothing of before.
    """

    virtual: Callable[[Panel], Any]
    panel: Panel
    rest: Any
    restarts: bool
    safe: list[str]
    strike_at: int = 0
    gets: float = 0.5
    strike: Callable[[], None] = lambda: None
    deaf_until_s: float = 0.0
    struck: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.controller = self.virtual(self.panel)

    def __call__(self, arrived: bytes) -> bytes:
        if self.strike_at:
            self.strike_at -= 1
            if not self.strike_at:
                return self._is_cut(arrived)
        if time.monotonic() < self.deaf_until_s:
            return b""
        reply = self.controller(arrived)
        if self.struck.is_set() and (self.panel.pattern == self.rest).all():
            self.safe.append("surface at rest")
        return reply

    def _is_cut(self, arrived: bytes) -> bytes:
        self.strike()
        self.struck.set()
        self.controller(arrived[: int(len(arrived) * self.gets)])
        if self.restarts:
            self.controller = self.virtual(self.panel)
            self.deaf_until_s = time.monotonic() + BOOTS_S
        return b""


@dataclass
class Bench:
    rig: Rig
    itself: Rig
    controller: Controller
    engine: Engine
    safe: list[str]

    @property
    def host(self) -> int:
        host: Any = self.rig.host
        return host._host._process.pid


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Bench]]:
    """Serve a surface, and, `with_power`, an analyser and an interlock that note when they were made safe."""
    monkeypatch.setattr(sys, "path", [str(DRIVERS), *sys.path])
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with ExitStack() as stack:

        def start(name: str, *, restarts: bool = False, rest: Any = None) -> Bench:
            virtual, body = KINDS[name]
            n_elements = body.get("rows", 16) * body.get("columns", 16)
            rest = np.random.default_rng(3).integers(0, 2, n_elements) if rest is None else rest
            cavity: Any = BareCavity(n_elements)
            safe: list[str] = []
            engine = Engine(Resonator())
            pna = VirtualKeysightPna(engine)
            controller = Controller(virtual, Panel(cavity, WallClock()), rest, restarts, safe)

            def analyser(message: bytes) -> bytes | None:
                was_on, answer = engine.rf_on, pna.execute(message)
                if was_on and not engine.rf_on:
                    safe.append("RF off")
                return answer

            def interlock(message: bytes) -> bytes | None:
                safe.append("told")
                return b"1\n" if b"?" in message else None

            port = StreamSocketServer(controller) if name == "tile-tcp" else PtyPort(controller, baud=None)
            servers = [ScpiSocketServer(analyser), ScpiSocketServer(interlock)]
            for server in (port, *servers):
                stack.enter_context(server)
            common = {"address": port.address, "settle": "1 ms", "simulated": True, "rest": rest.tolist()}
            vna = {"driver": "vna.keysight-pna", "address": servers[0].address, "max_power": "-10 dBm"}
            instruments = {
                "surface": body | common,
                "vna": vna | {"max_frequency": "6 GHz", "simulated": True},
                "interlock": {"driver": "rf-bench.interlock", "port": servers[1].port},
            }
            cavity_layer = {"kind": "microwave", "analyser": "vna", "metasurface": "surface", "pass": "50 ms"}
            cavity_layer |= {"frequencies": ["3.3 GHz"], "power": "-15 dBm", "if_bandwidth": "10 kHz"}
            text = yaml.safe_dump(
                {
                    "schema": "labctl/rig/1",
                    "name": "bench",
                    "instruments": instruments,
                    "layers": {"cavity": cavity_layer},
                }
            )
            loaded = rig_from_text(text, tmp_path / "rig.yaml", tmp_path)
            return Bench(hosted(loaded, build_rig(loaded)), build_rig(loaded), controller, engine, safe)

        yield start


def until(reached: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not reached():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def measuring_is_cut_off(bench: Bench, rng: random.Random) -> None:
    """Let the host be killed while it sends a pattern, and return when that has been noticed."""
    layer = bench.rig.layers["cavity"]
    drives = np.random.default_rng(1).integers(0, 2, (1000, layer.info.n_inputs)).astype(np.float32)
    with opened([bench.rig]):
        bench.safe.clear()
        host = bench.host
        bench.controller.strike = lambda: os.kill(host, signal.SIGKILL)
        bench.controller.gets = rng.random()
        bench.controller.strike_at = rng.randint(5, 60)
        with pytest.raises(InstrumentError, match="its host process has ended"):
            list(layer.measure(drives, np.arange(len(drives)), stop=threading.Event()))
    assert bench.controller.struck.is_set()


@pytest.mark.parametrize(
    ("name", "restarts"),
    [*((name, False) for name in sorted(KINDS)), ("labctl-v1", True), ("raw12 uno", True)],
)
def test_killed_in_mid_pattern_the_surface_comes_to_rest(
    name: str, restarts: bool, start: Callable[..., Bench]
) -> None:
    """The host is gone after the first bytes of a pattern; opening its port again may reset the board."""
    bench = start(name, restarts=restarts)
    measuring_is_cut_off(bench, random.Random(f"{name} {restarts}"))
    assert bench.controller.panel.pattern.tolist() == bench.controller.rest.tolist()
    assert not bench.engine.rf_on
    steps = list(dict.fromkeys(bench.safe))
    assert steps == ["RF off", "surface at rest", "told"]
    with opened([bench.itself]):
        layer = bench.itself.layers["cavity"]
        row = np.ones((1, layer.info.n_inputs), dtype=np.float32)
        assert [len(each.ids) for each in layer.measure(row, np.arange(1), stop=threading.Event())] == [1]


def test_a_surface_alone_is_reason_enough_for_a_host(tmp_path: Path) -> None:
    """My analyser's power cannot be switched at all. The surface must come to rest all the same."""
    text = """\
schema: labctl/rig/1
name: bench
instruments:
  vna: {driver: vna.nanovna, address: "ASRL/dev/ttyACM0::INSTR", max_power: -10 dBm, output_power: -10 dBm,
        if_bandwidth: 1 kHz}
  surface: {driver: metasurface.labctl-v1, address: "ASRL/dev/ttyUSB0::INSTR", baud: 57600, dtr: false, rows: 2,
            columns: 4, settle: 1 ms}
layers:
  cavity: {kind: microwave, analyser: vna, metasurface: surface, frequencies: [1 GHz], power: -10 dBm,
           if_bandwidth: 1 kHz, pass: 1 s}
"""
    loaded = rig_from_text(text, tmp_path / "rig.yaml", tmp_path)
    rig = build_rig(loaded)
    (step,) = collect([*rig.instruments.values(), *rig.layers.values()])
    assert (step.order, step.address) == (SafeOrder.REST, "ASRL/dev/ttyUSB0::INSTR")
    assert (step.baud, step.dtr) == (57600, False)
    assert hosted(loaded, rig).host is not None
