"""Metasurface drivers on the wires they are made for: pseudo-terminals and TCP, with faults at the other end."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from labctl_drivers.metasurface import labctl_v1, raw12, ris_ascii, tile_tcp
from labctl_drivers.metasurface.base import PatternedSurface
from labctl_drivers.metasurface.errors import FrameCheckError
from labctl_drivers.transport.link import LinkGarbledError, LinkLostError, LinkRefusedError, LinkTimeoutError
from labctl_simulators.instruments.metasurface.labctl_v1 import VirtualLabctlV1
from labctl_simulators.instruments.metasurface.panel import Panel
from labctl_simulators.instruments.metasurface.raw12 import VirtualLeonardo, VirtualUno
from labctl_simulators.instruments.metasurface.ris_ascii import VirtualRis
from labctl_simulators.instruments.metasurface.tile_tcp import VirtualTileServer
from labctl_simulators.instruments.servers.stream_socket import StreamSocketServer

from labctl.contract.clock import WallClock
from labctl.contract.driver import BuildContext, InstrumentDriver
from labctl.contract.errors import InstrumentError

if sys.platform == "win32":
    pytest.skip("pseudo-terminals need Linux or macOS", allow_module_level=True)

from labctl_simulators.instruments.servers.pty_port import PtyPort


class BareCavity:
    """Elements without a field."""

    n_ports, levels = 2, 2

    def __init__(self, n_elements: int) -> None:
        self.n_elements = n_elements


@dataclass(frozen=True)
class Kind:
    driver: InstrumentDriver[Any]
    virtual: Callable[[Panel], Any]
    settings: dict[str, Any]


RAW12 = {"rows": 8, "columns": 12, "boot": "0 s"}
KINDS = {
    "labctl-v1": Kind(labctl_v1.DRIVER, VirtualLabctlV1, {"rows": 5, "columns": 8}),
    "raw12 uno": Kind(raw12.DRIVER, VirtualUno, RAW12 | {"sketch": "uno"}),
    "raw12 leonardo": Kind(raw12.DRIVER, VirtualLeonardo, RAW12 | {"sketch": "leonardo"}),
    "ris-ascii": Kind(ris_ascii.DRIVER, VirtualRis, {}),
    "tile-tcp": Kind(tile_tcp.DRIVER, VirtualTileServer, {"rows": 16, "columns": 32}),
}


@dataclass
class Bench:
    surface: PatternedSurface
    panel: Panel
    port: Any

    def pattern(self, seed: int) -> Any:
        return np.random.default_rng(seed).integers(0, 2, self.panel.n_elements).astype(np.uint8)


StartBench = Callable[..., Bench]


@pytest.fixture
def start() -> Iterator[StartBench]:
    with ExitStack() as stack:

        def start(name: str, **changes: Any) -> Bench:
            kind = KINDS[name]
            given = {"settle": "1 ms", "simulated": True, "timeout": "10 s"} | kind.settings | changes
            given.setdefault("recovery", {"attempts": 6, "backoff": "20 ms"})
            n_elements = kind.driver.settings.model_validate(
                given | {"address": "TCPIP::127.0.0.1::1::SOCKET" if name == "tile-tcp" else "ASRL1::INSTR"}
            ).n_elements
            cavity: Any = BareCavity(n_elements)
            panel = Panel(cavity, WallClock())
            controller = kind.virtual(panel)
            server = StreamSocketServer(controller) if name == "tile-tcp" else PtyPort(controller, baud=None)
            port = stack.enter_context(server)
            settings = kind.driver.settings.model_validate(given | {"address": port.address})
            surface = kind.driver.build(settings, BuildContext("surface", Path(), WallClock()))
            assert isinstance(surface, PatternedSurface)
            stack.callback(surface.close)
            surface.open()
            return Bench(surface, panel, port)

        yield start


@pytest.mark.parametrize("name", sorted(KINDS))
def test_patterns_are_latched_over_the_wire(name: str, start: StartBench) -> None:
    bench = start(name)
    for seed in range(5):
        bench.surface.show(bench.pattern(seed))
        assert bench.panel.pattern.tolist() == bench.pattern(seed).tolist()
    bench.surface.make_safe()
    assert not bench.panel.pattern.any()


@pytest.mark.parametrize(
    ("name", "fault", "error"),
    [
        ("labctl-v1", "silence", LinkTimeoutError),
        ("labctl-v1", "short", LinkTimeoutError),
        ("labctl-v1", "lost-byte", LinkTimeoutError),
        ("labctl-v1", "nak", LinkTimeoutError),
        ("labctl-v1", "garbage", LinkGarbledError),
        ("labctl-v1", "unplug", LinkLostError),
        ("raw12 uno", "lost-byte", LinkTimeoutError),
        ("raw12 uno", "silence", LinkTimeoutError),
        ("ris-ascii", "silence", LinkTimeoutError),
        ("ris-ascii", "garbage", LinkGarbledError),
        ("tile-tcp", "silence", LinkTimeoutError),
        ("tile-tcp", "garbage", LinkGarbledError),
        ("tile-tcp", "close", LinkLostError),
    ],
)
def test_a_fault_is_told_and_the_next_pattern_is_whole(
    name: str, fault: Any, error: type[InstrumentError], start: StartBench
) -> None:
    bench = start(name, timeout="1500 ms")
    bench.surface.show(bench.pattern(0))
    bench.port.faults.arm(fault, 0.2)
    with pytest.raises(error) as caught:
        bench.surface.show(bench.pattern(1))
    assert caught.value.instrument == "surface"
    assert caught.value.command
    bench.surface.show(bench.pattern(2))
    assert bench.panel.pattern.tolist() == bench.pattern(2).tolist()
    assert bench.surface.resyncs == 1


def test_a_disturbed_reply_is_found_by_its_check_sum(start: StartBench) -> None:
    bench = start("labctl-v1")
    link, surface = bench.surface._link, bench.surface
    exchange = link.exchange

    def disturbed(request: bytes, *, n_bytes: int, timeout_s: float | None = None) -> bytes:
        reply = bytearray(exchange(request, n_bytes=n_bytes, timeout_s=timeout_s))
        reply[7] ^= 0x10
        return bytes(reply)

    link.exchange = disturbed
    with pytest.raises(FrameCheckError, match="the line is noisy during show"):
        surface.show(bench.pattern(1))
    link.exchange = exchange
    surface.show(bench.pattern(2))
    assert bench.panel.pattern.tolist() == bench.pattern(2).tolist()


def test_a_second_program_does_not_get_the_tiles(start: StartBench) -> None:
    bench = start("tile-tcp")
    given = KINDS["tile-tcp"].settings | {"address": bench.port.address, "settle": "1 ms", "simulated": True}
    driver = KINDS["tile-tcp"].driver
    second = driver.build(driver.settings.model_validate(given), BuildContext("second", Path(), WallClock()))
    with pytest.raises(LinkRefusedError, match=r"\('surface'\) uses TCPIP"):
        second.open()
    bench.surface.close()
    second.open()
    second.close()
