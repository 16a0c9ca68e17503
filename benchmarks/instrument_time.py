"""What labctl adds to the time that instruments need: to a sweep, to a pattern, to a whole training over the wire.

Each virtual instrument runs in a process of its own and takes the time that a real one takes.
"""

import multiprocessing
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import serial
from labctl_drivers.metasurface.labctl_v1 import OVERHEAD, REPLY, Command, LabctlV1Rules, LabctlV1Surface, frame
from labctl_drivers.transport.build import build_link
from labctl_drivers.transport.serial_link import SerialLink
from labctl_drivers.transport.settings import LinkSettings, SerialSettings
from labctl_drivers.vna.keysight_pna import KeysightPna, KeysightPnaRules
from labctl_simulators.instruments.servers.scpi_socket import ScpiSocketServer
from labctl_simulators.instruments.vna.dut import Resonator
from labctl_simulators.instruments.vna.engine import Engine
from labctl_simulators.instruments.vna.keysight_pna import VirtualKeysightPna

from benchmarks.harness import Row, Target, over_repeats, run_experiment
from labctl.contract.clock import WallClock
from labctl.contract.driver import BuildContext
from labctl.contract.microwave import Segment, Sweep
from labctl.record.folder import LOG_NAME
from labctl.record.reader import LogReader

SWEEP_S = 0.02
POINTS = 100
PORTS = 2
"""A full correction drives each."""

ELEMENTS = 256
BAUD = 115200
BITS_PER_BYTE = 10

PASS_BAUD = 115200
SETTLE_S = 0.005
PATTERN_S = BITS_PER_BYTE / PASS_BAUD * (2 * OVERHEAD + 32 // 8 + 1) + SETTLE_S
"""A pattern of 32 elements, its acknowledgement and the settling; a sweep completes a pass."""

BOX = """\
schema: labctl/rig/1
name: box
instruments:
  box:
    driver: microwave.simulated
    box: {length: 0.6 m, width: 0.45 m, height: 20 mm, quality: 200, posts: 6}
    elements: {count: 32}
    antennas: {count: 2}
    seed: 1
layers:
  cavity: {kind: simulated-microwave, cavity: box, frequencies: {start: 3.1 GHz, stop: 3.5 GHz, points: 20}, pass: 5 ms}
"""
RIG = """\
schema: labctl/rig/1
name: pna
instruments:
  vna:
    driver: vna.keysight-pna
    address: TCPIP::192.168.0.10::5025::SOCKET
    max_power: -10 dBm
  surface:
    driver: metasurface.labctl-v1
    address: ASRL/dev/ttyUSB0::INSTR
    baud: BAUD
    rows: 4
    columns: 8
    settle: SETTLE s
layers:
  cavity:
    kind: microwave
    analyser: vna
    metasurface: surface
    frequencies: {start: 3.1 GHz, stop: 3.5 GHz, points: 20}
    power: -10 dBm
    if_bandwidth: BANDWIDTH Hz
    pass: PASS s
"""
EXPERIMENT = """\
schema: labctl/experiment/1
name: duty
rig: rig-simulated.yaml
seed: 7
data: {source: csv, path: samples.csv, label: class, test_fraction: 0.2}
network:
  label: {kind: one-hot, amplitude: 1.0}
  blocks:
    - {layer: cavity, encoder: two-bit, skip: true, units: 10}
training: {rule: phyll, schedule: joint, epochs: EPOCHS, batch: 20}
report: {baselines: [], page: false}
"""


def sweep_row(*, repeats: int, sweeps: int) -> Row:
    """Return what the driver takes beyond a sweep's own time, beside a plain socket that checks nothing."""
    sweep = Sweep(("S21",), (Segment(3.2e9, 3.4e9, POINTS),), -10.0, PORTS * POINTS / SWEEP_S)
    with _in_another_process(serve_analyser) as address, ExitStack() as stack:
        settings = LinkSettings.model_validate({"address": address})
        link = build_link(settings, BuildContext("vna", Path(), WallClock()))
        rules = KeysightPnaRules.model_validate({"simulated": True})
        analyser = KeysightPna(rules, "vna", link, timeout_s=5.0)
        stack.callback(analyser.close)
        analyser.open()
        analyser.configure(sweep)
        host, port = settings.host_and_port
        plain = stack.enter_context(socket.create_connection((host, port)))
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        analyser.sweep()
        extra_ms: list[float] = []
        plain_ms: list[float] = []
        for _ in range(repeats):
            extra_ms.append(1e3 * (_fastest_s(analyser.sweep, sweeps) - SWEEP_S))
            plain_ms.append(1e3 * (_fastest_s(lambda: plain_sweep(plain), sweeps) - SWEEP_S))
        analyser.make_safe()
    row = over_repeats("vna.real_sweep_extra_ms", extra_ms, "ms", {"plain socket, nothing checked": _median(plain_ms)})
    return replace(row, aim=row.held_against(Target("<=", 0.5)))


def plain_sweep(connection: socket.socket) -> None:
    """Trigger, wait for the end and read what comes, in two exchanges."""
    connection.sendall(b"SENS1:SWE:MODE SING;*OPC?\n")
    connection.recv(16)
    connection.sendall(b"CALC1:DATA? SDATA\n")
    missing = len(f"#4{16 * POINTS}") + 16 * POINTS + len("\n")
    while missing > 0:
        missing -= len(connection.recv(1 << 16))


def serve_analyser(pipe: Connection) -> None:
    """Serve an analyser whose sweeps last as long as their settings say; say where, and stop at a word."""
    with ScpiSocketServer(VirtualKeysightPna(Engine(Resonator(), time_scale=1.0)).execute) as server:
        pipe.send(server.address)
        pipe.recv()


class InstantFirmware:
    """A controller of `ELEMENTS` elements that does nothing but acknowledge; its replies were prepared."""

    def __init__(self) -> None:
        name = ELEMENTS.to_bytes(2, "little") + b"\x02\0\0\0" + b"VIRTUAL".ljust(24, b"\0")
        pattern = bytes(ELEMENTS // 8)
        data = {Command.IDENTIFY: name, Command.SHOW: b"", Command.REST: b"", Command.READ: pattern}
        self._replies = {
            (code, seq): frame(code | REPLY, seq, b"\0" + rest) for code, rest in data.items() for seq in range(256)
        }
        self._unread = b""

    def __call__(self, arrived: bytes) -> bytes:
        """Return the replies to the requests that are now whole."""
        self._unread += arrived
        replies = b""
        while len(self._unread) >= OVERHEAD and len(self._unread) >= (
            length := OVERHEAD + int.from_bytes(self._unread[5:7], "little")
        ):
            request, self._unread = self._unread[:length], self._unread[length:]
            replies += self._replies[Command(request[3]), request[4]]
        return replies


def serve_surface(pipe: Connection) -> None:
    """Serve a controller on a pseudo-terminal that takes its time; say where, and stop at a word."""
    if sys.platform == "win32":
        raise OSError("pseudo-terminals need Linux or macOS")
    from labctl_simulators.instruments.servers.pty_port import PtyPort

    with PtyPort(InstantFirmware(), baud=BAUD) as port:
        pipe.send(port.address)
        pipe.recv()


def surface_row(*, repeats: int, patterns: int) -> Row:
    """Return the patterns per second as a share of what the baud rate allows for a frame and its reply.

    Beside it pyserial alone, and the driver when it reads every pattern back, of four frames.
    """
    shown = OVERHEAD + ELEMENTS // 8 + OVERHEAD + 1
    read_back = OVERHEAD + OVERHEAD + 1 + ELEMENTS // 8
    shares: list[float] = []
    plain: list[float] = []
    verified: list[float] = []
    with _in_another_process(serve_surface) as address:
        for _ in range(repeats):
            shares.append(_allowed_s(shown) / _pattern_s(address, patterns, verify=False))
            verified.append(_allowed_s(shown + read_back) / _pattern_s(address, patterns, verify=True))
            plain.append(_allowed_s(shown) / _plain_pattern_s(address, patterns))
    others = {"pyserial alone, nothing checked": _median(plain), "every pattern read back": _median(verified)}
    row = over_repeats("metasurface.share_of_baud", shares, "share", others)
    return replace(row, aim=row.held_against(Target(">=", 0.95)))


def _pattern_s(address: str, patterns: int, *, verify: bool) -> float:
    settings = SerialSettings.model_validate({"address": address, "baud": BAUD})
    rules = LabctlV1Rules.model_validate(
        {"rows": 16, "columns": ELEMENTS // 16, "settle": "0 s", "verify": verify, "simulated": True}
    )
    surface = LabctlV1Surface(rules, SerialLink(settings, "surface"), WallClock())
    surface.open()
    # The firmware that does nothing holds zeros.
    pattern = np.zeros(ELEMENTS, dtype=np.uint8)
    try:
        return _fastest_s(lambda: surface.show(pattern), patterns)
    finally:
        surface.close()


def _plain_pattern_s(address: str, patterns: int) -> float:
    request = frame(Command.SHOW, 0, bytes(ELEMENTS // 8))
    with serial.Serial(SerialSettings(address=address).port, BAUD, timeout=5.0) as port:

        def show() -> None:
            port.write(request)
            port.read(OVERHEAD + 1)

        return _fastest_s(show, patterns)


def duty_row(*, repeats: int, epochs: int) -> Row:
    """Return the share of a training's time in which its instruments are busy, between its first and its last pass.

    A pass needs its pattern's frame and acknowledgement, the settling and the sweep. What is done between passes is
    labctl's: reading patterns back, reading sweeps out, learning, the record. The run is a user's: `labctl run` on the
    virtual instruments of `labctl simulate`.
    """
    with tempfile.TemporaryDirectory() as folder:
        desk = Path(folder)
        write_samples(desk, 100)
        write_rig(desk, "rig", SWEEP_S)
        (desk / "duty.yaml").write_text(EXPERIMENT.replace("EPOCHS", str(epochs)), encoding="utf-8")
        with simulated(desk / "rig.yaml"):
            shares = [_duty(desk) for _ in range(repeats)]
    row = over_repeats("duty.microwave", shares, "share")
    return replace(row, aim=row.held_against(Target(">=", 0.97)))


def write_samples(desk: Path, n: int) -> None:
    """Write samples.csv: `n` samples of three overlapping classes."""
    rng = np.random.default_rng(0)
    classes = np.arange(n) % 3
    features = rng.standard_normal((n, 13)) + classes[:, None]
    lines = [
        ",".join([*(f"{value:.4f}" for value in row), f"class{c}"]) for row, c in zip(features, classes, strict=True)
    ]
    head = ",".join([*(f"feature{n}" for n in range(13)), "class"])
    (desk / "samples.csv").write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")


def write_rig(desk: Path, name: str, sweep_s: float) -> None:
    """Write NAME.yaml, an analyser and a metasurface, and box.yaml, the cavity that virtual ones measure."""
    pass_s = round(PATTERN_S + sweep_s, 6)
    changes = {"BAUD": PASS_BAUD, "SETTLE": SETTLE_S, "PASS": pass_s, "BANDWIDTH": 20 * PORTS / sweep_s}
    rig = RIG
    for word, value in changes.items():
        rig = rig.replace(word, f"{value:g}")
    (desk / f"{name}.yaml").write_text(rig, encoding="utf-8")
    (desk / "box.yaml").write_text(BOX, encoding="utf-8")


@contextmanager
def simulated(rig: Path) -> Generator[None]:
    """Run `labctl simulate` beside what is done; it has made a first pass when this begins."""
    labctl = str(Path(sys.executable).with_name("labctl"))
    command = [labctl, "simulate", str(rig), "--cavity", str(rig.with_name("box.yaml"))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as simulator:
        try:
            if simulator.stdout is None or not any("Ctrl-C ends" in line for line in simulator.stdout):
                raise RuntimeError("labctl simulate did not begin")
            yield
        finally:
            simulator.send_signal(signal.SIGTERM)


def _duty(desk: Path) -> float:
    result, _ = run_experiment(desk / "duty.yaml", desk / "runs")
    with LogReader(Path(result["run"]) / LOG_NAME) as reader:
        times_s = np.concatenate([part.time_s[part.purposes == "train"] for part in reader.passes()])
    return float((len(times_s) - 1) * (PATTERN_S + SWEEP_S) / (times_s.max() - times_s.min()))


def _allowed_s(n_bytes: int) -> float:
    """Return the seconds that bytes take one after the other at the baud rate."""
    return n_bytes * BITS_PER_BYTE / BAUD


def _fastest_s(action: Callable[[], object], times: int) -> float:
    """Return the shortest time of an action: on a busy computer others are those of waiting for a processor."""
    fastest_s = float("inf")
    for _ in range(times):
        begin = time.perf_counter()
        action()
        fastest_s = min(fastest_s, time.perf_counter() - begin)
    return fastest_s


def _median(values: list[float]) -> float:
    return float(np.median(values))


@contextmanager
def _in_another_process(serve: Callable[[Connection], None]) -> Generator[str]:
    """Yield the address at which `serve` serves, in a process of its own."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    server = spawn.Process(target=serve, args=(theirs,), daemon=True)
    server.start()
    try:
        yield ours.recv()
    finally:
        ours.send("stop")
        server.join()
