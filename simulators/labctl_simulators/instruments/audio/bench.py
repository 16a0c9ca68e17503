"""A virtual audio interface: a JACK server without hardware, a simulated box as its one client, and an amplifier."""

import json
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, cast

from filelock import FileLock, Timeout
from pydantic import BaseModel

from labctl.contract.children import start_child
from labctl.contract.driver import Instrument
from labctl.contract.errors import InputError, SettingError
from labctl.contract.layer import PhysicalLayer
from labctl.contract.simulator import BenchSimulator, SettingsByName
from labctl.contract.units import Hertz
from labctl_simulators.instruments.programs import end
from labctl_simulators.instruments.serial_switch import Port, VirtualSwitch, serve_switch
from labctl_simulators.loopback.audio import SimulatedInterface

INTERFACE = "audio.portaudio"
AMPLIFIER = "amplifier.serial"

HOST_API = "JACK Audio Connection Kit"
DEVICE = "labctl-cavity"

PERIOD_S = 0.016
"""A block of the virtual interface is the power of two below."""

START_S = 20.0

SERVERS = tuple(f"labctl-{number}" for number in range(6))
"""Names of servers. JACK knows eight at most on a computer, and never forgets one that was killed but for its name."""


class _Channel(BaseModel):
    name: str


class _Cable(BaseModel):
    output: int
    input: int


class InterfaceSettings(BaseModel):
    """What a simulation needs of an interface's settings; the driver has checked them all."""

    samplerate: Hertz
    output_channels: int
    input_channels: int
    outputs: dict[int, _Channel]
    inputs: dict[int, _Channel]
    loopback: _Cable | None = None


class AudioBench:
    """A `VirtualBench` of one interface and at most one amplifier, which powers its loudspeakers.

    Its loudspeakers and microphones are those of the physics, in order. `amplifier` is there when it is started.
    """

    def __init__(self, physics: SimulatedInterface, patience_s: float = 2.0) -> None:
        """Wait `patience_s` for a client that is late or dead; several times that until one that died is forgotten."""
        self.amplifier: VirtualSwitch | None = None
        self._physics = physics
        self._patience_s = patience_s
        self._telling = threading.Lock()
        self._port: Port | None = None
        self._name: FileLock | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self._cavity: subprocess.Popen[bytes] | None = None

    def start(self, instruments: SettingsByName, at: SettingsByName) -> SettingsByName:
        """Serve an interface and its amplifier and return the settings that lead to them.

        Raises `SettingError` for speakers or microphones that the box does not have, `InputError` without JACK.
        """
        name, body = _only(instruments, INTERFACE)
        settings = InterfaceSettings.model_validate(body)
        self._check(name, settings)
        server = self._take_name(at.get(name, {}).get("server"))
        self._start_server(server, settings.samplerate)
        self._start_cavity(server, settings)
        return {
            **self._serve_amplifier(instruments, at),
            name: {
                "host_api": HOST_API,
                "device": DEVICE,
                "server": server,
                "simulated": True,
                # A server without hardware reports losses that are none; synchronous, it tears no single channels.
                "trust_flags": False,
            },
        }

    def tell(self, **faults: object) -> dict[str, Any]:
        """Let go wrong what `Faults` names; return how long the loudspeakers have been silent, as `silent_s`."""
        cavity = self._cavity
        if cavity is None:
            raise InputError("the bench does not run")
        stdin, stdout = cast("IO[bytes]", cavity.stdin), cast("IO[bytes]", cavity.stdout)
        with self._telling:
            stdin.write(json.dumps({"faults": faults}).encode() + b"\n")
            stdin.flush()
            return json.loads(stdout.readline())

    def kill_server(self) -> None:
        """Let the audio server die."""
        if self._server is not None:
            self._server.kill()
            self._server.wait()

    def stop(self) -> None:
        """End client, server and amplifier. Idempotent."""
        port, self._port = self._port, None
        if port is not None:
            port.stop()
        cavity, self._cavity = self._cavity, None
        server, self._server = self._server, None
        if cavity is not None:
            for pipe in (cavity.stdin, cavity.stdout):
                with suppress(OSError):
                    cast("IO[bytes]", pipe).close()
        for process in (cavity, server):
            if process is not None:
                end(process)
        if self._name is not None:
            self._name.release()

    def _serve_amplifier(self, instruments: SettingsByName, at: SettingsByName) -> SettingsByName:
        if all(body["driver"] != AMPLIFIER for body in instruments.values()):
            return {}
        name, body = _only(instruments, AMPLIFIER)
        self._power(on=False)
        self.amplifier, self._port = serve_switch(body, at.get(name, {}), lambda on: self._power(on=on))
        return {name: {"address": self._port.address}}

    def _power(self, *, on: bool) -> None:
        self.tell(powered=on)

    def _take_name(self, wanted: object) -> str:
        """Return the name of a server that nobody uses, the one that is `wanted` if it is free. Raises `InputError`."""
        folder = Path(tempfile.gettempdir()) / "labctl-jack"
        folder.mkdir(exist_ok=True)
        for server in sorted(SERVERS, key=lambda server: server != wanted):
            self._name = FileLock(folder / f"{server}.lock", thread_local=False)
            with suppress(Timeout):
                self._name.acquire(blocking=False)
                return server
        raise InputError(f"{len(SERVERS)} virtual audio interfaces run on this computer already: end one of them")

    def _check(self, name: str, settings: InterfaceSettings) -> None:
        physics = self._physics
        for key, has, wanted in (
            ("outputs", len(physics.outputs), len(settings.outputs)),
            ("inputs", len(physics.inputs), len(settings.inputs)),
        ):
            if has != wanted:
                raise SettingError(
                    (name, key),
                    f"{wanted} {key}, but the simulated box has {has}; name with --cavity a rig file whose "
                    "`audio.simulated` has as many",
                )

    def _start_server(self, server: str, samplerate_hz: float) -> None:
        jackd = shutil.which("jackd")
        if jackd is None:
            raise InputError("a virtual audio interface needs a JACK server; on Debian: apt-get install jackd2")
        period = 1 << (int(PERIOD_S * samplerate_hz).bit_length() - 1)
        # Synchronous, so that a computer that is busy makes sound late and never wrong.
        command = [
            jackd,
            "-r",
            "-S",
            "-t",
            str(round(1e3 * self._patience_s)),
            "-n",
            server,
            "-d",
            "dummy",
            "-r",
            f"{samplerate_hz:.0f}",
        ]
        self._server = subprocess.Popen(  # noqa: S603 - the system's own JACK
            [*command, "-p", str(period), "-C", "1", "-P", "1"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "JACK_NO_AUDIO_RESERVATION": "1"},
            start_new_session=True,
        )

    def _start_cavity(self, server: str, settings: InterfaceSettings) -> None:
        self._cavity = start_child("labctl_simulators.instruments.audio.cavity_client")
        physics = self._physics.settings.model_copy(update={"samplerate_hz": settings.samplerate, "faults": None})
        cable = settings.loopback
        begin = {
            "physics": physics.model_dump(mode="json", by_alias=True),
            "server": server,
            "client": DEVICE,
            "server_pid": self._server.pid if self._server else 0,
            "within_s": START_S,
            "wiring": {
                "speakers": [channel - 1 for channel in settings.outputs],
                "microphones": [channel - 1 for channel in settings.inputs],
                "loopback": None if cable is None else [cable.output - 1, cable.input - 1],
                "n_inputs": settings.output_channels,
                "n_outputs": settings.input_channels,
            },
        }
        stdin, stdout = cast("IO[bytes]", self._cavity.stdin), cast("IO[bytes]", self._cavity.stdout)
        stdin.write(json.dumps(begin).encode() + b"\n")
        stdin.flush()
        answer = json.loads(stdout.readline() or b'{"ready": false, "text": "the virtual interface did not start"}')
        if not answer["ready"]:
            raise InputError(answer["text"])


def _only(instruments: SettingsByName, driver: str) -> tuple[str, Mapping[str, Any]]:
    """Return name and settings of the one instrument of a driver. Raises `SettingError`, or `InputError` for none."""
    of_driver = [(name, body) for name, body in instruments.items() if body["driver"] == driver]
    if not of_driver:
        raise InputError(f"a virtual audio bench needs an instrument with driver: {driver}")
    if len(of_driver) > 1:
        raise SettingError((of_driver[1][0], "driver"), f"one {driver} can be served at a time")
    return of_driver[0]


def _build(physics: Instrument | PhysicalLayer) -> AudioBench:
    if not isinstance(physics, SimulatedInterface):
        raise InputError("a virtual audio interface needs a simulated box")
    return AudioBench(physics)


BENCH = BenchSimulator(frozenset({INTERFACE, AMPLIFIER}), _build)
