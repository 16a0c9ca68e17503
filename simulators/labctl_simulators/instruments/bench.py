"""Virtual analysers and metasurfaces on one simulated cavity, on the wires that the addresses in a rig file name."""

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from pydantic import BaseModel, Field

from labctl.contract.clock import WallClock
from labctl.contract.driver import Instrument
from labctl.contract.errors import InputError, SettingError
from labctl.contract.layer import PhysicalLayer
from labctl.contract.simulator import BenchSimulator, SettingsByName
from labctl.contract.units import Seconds
from labctl_simulators.instruments.metasurface.labctl_v1 import VirtualLabctlV1
from labctl_simulators.instruments.metasurface.panel import Panel
from labctl_simulators.instruments.metasurface.raw12 import VirtualLeonardo, VirtualUno
from labctl_simulators.instruments.metasurface.ris_ascii import VirtualRis
from labctl_simulators.instruments.metasurface.tile_tcp import VirtualTileServer
from labctl_simulators.instruments.metasurface.trigger_output import TriggerOutput
from labctl_simulators.instruments.servers.hislip import HislipServer
from labctl_simulators.instruments.servers.scpi_socket import ScpiSocketServer
from labctl_simulators.instruments.servers.stream_socket import StreamSocketServer
from labctl_simulators.instruments.servers.vxi11 import Vxi11Server
from labctl_simulators.instruments.vna.copper_mountain import VirtualCopperMountain
from labctl_simulators.instruments.vna.dut import Dut, PatternedCavity
from labctl_simulators.instruments.vna.engine import Engine, Hardware
from labctl_simulators.instruments.vna.keysight_ena import VirtualKeysightEna
from labctl_simulators.instruments.vna.keysight_pna import VirtualKeysightPna
from labctl_simulators.instruments.vna.librevna import VirtualLibreVna
from labctl_simulators.instruments.vna.nanovna_binary import VirtualNanoVnaBinary
from labctl_simulators.instruments.vna.nanovna_shell import VirtualNanoVnaShell
from labctl_simulators.instruments.vna.rohde_schwarz import VirtualRohdeSchwarz
from labctl_simulators.loopback.microwave_cavity import SimulatedCavity

_PORT = re.compile(r"(?:::|,)(?P<port>\d+)::(?:SOCKET|INSTR|inst\d+::INSTR)", re.IGNORECASE)
_SOCKET = re.compile(r".*::SOCKET", re.IGNORECASE)
_VXI11 = re.compile(r"TCPIP\d*::[^:]+(::inst\d+)?::INSTR", re.IGNORECASE)


class Server(Protocol):
    """Serves one instrument at an address."""

    @property
    def address(self) -> str:
        """Return the VISA address a client opens."""
        ...

    def start(self) -> None:
        """Begin to serve. Raises `OSError` where the place is taken."""
        ...

    def stop(self) -> None:
        """Stop serving. Idempotent."""
        ...


class BodySettings(BaseModel):
    """What a simulation needs of an instrument's settings; the driver has checked them all."""

    driver: str
    address: str
    rows: int = 16
    columns: int = 16
    levels: int = 2
    map: tuple[int, ...] | None = None
    baud: int | None = None
    sketch: str = "uno"
    tiles: tuple[int, ...] = (1,)
    settle_s: Seconds = Field(alias="settle", default=0.0)


ServerAt = Callable[[str | None], Server]
"""Makes a server at an address that was taken before, or anywhere for None."""


class MicrowaveBench:
    """A `VirtualBench` of analysers and at most one metasurface. Sweeps last as long as IF bandwidth and points say.

    A wire runs from the metasurface's trigger output, where its controller has one, to each analyser's trigger input.
    """

    def __init__(self, cavity: SimulatedCavity) -> None:
        self._cavity = cavity
        self._patterned = PatternedCavity(cavity)
        self._servers: list[Server] = []
        self._triggers: list[TriggerOutput] = []

    def start(self, instruments: SettingsByName, at: SettingsByName) -> SettingsByName:
        """Serve `instruments` and return the address of each, one that it has in `at` if that is free.

        Raises `SettingError` for a metasurface that the cavity does not have.
        """
        bodies = {name: BodySettings.model_validate(settings) for name, settings in instruments.items()}
        surfaces = [name for name, body in bodies.items() if body.driver in SURFACES]
        if len(surfaces) > 1:
            raise SettingError((surfaces[1], "driver"), f"'{surfaces[0]}' is the simulated cavity's only metasurface")
        panel = Panel(self._patterned, WallClock(), wiring=self._wiring(bodies, surfaces))
        # Firmware knows how long its surface settles: as long as the rig file says.
        trigger = TriggerOutput(max((bodies[name].settle_s for name in surfaces), default=0.0))
        self._triggers.append(trigger)
        return {
            name: {"address": self._serve(self._server_for(body, panel, trigger), at.get(name, {}).get("address"))}
            for name, body in bodies.items()
        }

    def stop(self) -> None:
        """End every connection and stop serving."""
        while self._servers:
            self._servers.pop().stop()
        while self._triggers:
            self._triggers.pop().stop()

    def _wiring(self, bodies: Mapping[str, BodySettings], surfaces: list[str]) -> list[int] | None:
        """Return the element of each cell as the rig file says, after a look whether the cavity has such elements."""
        for name in surfaces:
            body = bodies[name]
            n_elements, levels = self._patterned.n_elements, self._patterned.levels
            if (body.rows * body.columns, body.levels) != (n_elements, levels):
                raise SettingError(
                    (name, "rows"),
                    f"{body.rows * body.columns} elements of {body.levels} levels, but the simulated cavity has "
                    f"{n_elements} of {levels}; name with --cavity a rig file whose `microwave.simulated` has as many",
                )
            if body.map is not None:
                return np.argsort(body.map).tolist()
        return None

    def _server_for(self, body: BodySettings, panel: Panel, trigger: TriggerOutput) -> ServerAt:
        if body.driver in SURFACES:
            return SURFACES[body.driver](body, panel, trigger)
        engine = self._engine(panel)
        trigger.wire(engine.edge)
        return ANALYSERS[body.driver](body, engine)

    def _engine(self, dut: Dut) -> Engine:
        hardware = Hardware(frequency_hz=self._patterned.frequency_hz)
        return Engine(dut, hardware, time_scale=1.0, noise=self._cavity.noise)

    def _serve(self, server_at: ServerAt, address: str | None) -> str:
        server = server_at(address)
        try:
            server.start()
        except OSError:
            server = server_at(None)
            server.start()
        self._servers.append(server)
        return server.address


def _messages(virtual: Callable[[Engine], Any]) -> Callable[[BodySettings, Engine], ServerAt]:
    """Serve messages on the wire that the address names; by HiSLIP in place of USB and GPIB, which have no server."""

    def of(body: BodySettings, engine: Engine) -> ServerAt:
        kind = _message_server(body.address)
        execute = virtual(engine).execute
        return lambda address: kind(execute, port=_port(address))

    return of


def _message_server(address: str) -> type[ScpiSocketServer | HislipServer | Vxi11Server]:
    if _SOCKET.fullmatch(address):
        return ScpiSocketServer
    return Vxi11Server if _VXI11.fullmatch(address) else HislipServer


def _serial_analyser(virtual: Callable[[Engine], Any]) -> Callable[[BodySettings, Engine], ServerAt]:
    """Serve bytes by USB, which has no baud rate."""
    return lambda _, engine: _serial(virtual(engine).execute, None)


def _labctl_v1(body: BodySettings, panel: Panel, trigger: TriggerOutput) -> ServerAt:
    return _serial(VirtualLabctlV1(panel, trigger=trigger), body.baud)


def _ris_ascii(body: BodySettings, panel: Panel, _: TriggerOutput) -> ServerAt:
    return _serial(VirtualRis(panel), body.baud)


def _raw12(body: BodySettings, panel: Panel, _: TriggerOutput) -> ServerAt:
    sketch = VirtualLeonardo if body.sketch == "leonardo" else VirtualUno
    return _serial(sketch(panel), body.baud)


def _tiles(body: BodySettings, panel: Panel, _: TriggerOutput) -> ServerAt:
    virtual = VirtualTileServer(panel, first=min(body.tiles))
    return lambda address: StreamSocketServer(virtual, port=_port(address))


def _serial(handler: Callable[[bytes], bytes], baud: int | None) -> ServerAt:
    if sys.platform == "win32":
        raise InputError("a serial instrument is simulated on a pseudo-terminal, which needs Linux or macOS")
    from labctl_simulators.instruments.servers.pty_port import PtyPort

    def at(address: str | None) -> Server:
        path = None if address is None else Path(address.removeprefix("ASRL").removesuffix("::INSTR"))
        return PtyPort(handler, baud=baud, path=path)

    return at


def _port(address: str | None) -> int:
    match = None if address is None else _PORT.search(address)
    return int(match["port"]) if match else 0


ANALYSERS: Mapping[str, Callable[[BodySettings, Engine], ServerAt]] = {
    "vna.copper-mountain": _messages(VirtualCopperMountain),
    "vna.keysight-ena": _messages(VirtualKeysightEna),
    "vna.keysight-pna": _messages(VirtualKeysightPna),
    "vna.librevna": _messages(VirtualLibreVna),
    "vna.nanovna": _serial_analyser(VirtualNanoVnaShell),
    "vna.nanovna-v2": _serial_analyser(VirtualNanoVnaBinary),
    "vna.rohde-schwarz": _messages(VirtualRohdeSchwarz),
}
SURFACES: Mapping[str, Callable[[BodySettings, Panel, TriggerOutput], ServerAt]] = {
    "metasurface.labctl-v1": _labctl_v1,
    "metasurface.raw12": _raw12,
    "metasurface.ris-ascii": _ris_ascii,
    "metasurface.tile-tcp": _tiles,
}


def _build(physics: Instrument | PhysicalLayer) -> MicrowaveBench:
    if not isinstance(physics, SimulatedCavity):
        raise InputError("a microwave bench needs a simulated cavity")
    if physics.elements.levels == "continuous":
        raise InputError("a virtual metasurface needs elements with levels, not continuous ones")
    return MicrowaveBench(physics)


BENCH = BenchSimulator(frozenset(ANALYSERS) | frozenset(SURFACES), _build)
