"""What reading an instrument costs: complex sweeps of 64-bit numbers from a virtual instrument in another process.

Over a raw socket a sweep is counted in round trips of a plain socket, the shortest exchange there is (`*OPC?`); over
HiSLIP in PyVISA's own best time for the same sweep. Exchanges that are compared take turns, a few in a row, and the
fastest of each kind counts: on a busy computer a median says how long a process waits for its processor.
"""

import multiprocessing
import socket
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyvisa
from labctl_drivers.transport.build import build_link
from labctl_drivers.transport.link import Link
from labctl_drivers.transport.settings import LinkSettings
from labctl_simulators.instruments.servers.hislip import HislipServer
from labctl_simulators.instruments.servers.scpi_socket import ScpiSocketServer
from numpy.typing import NDArray

from benchmarks import harness
from benchmarks.harness import Row, Target, over_repeats
from labctl.contract.clock import WallClock
from labctl.contract.driver import BuildContext

POINTS = (201, 1601, 20001)
TARGETS = {201: 6.0, 1601: 8.0, 20001: 14.0}
HISLIP_TARGET = 1.1

REPEATS = 7
IN_A_ROW = 5
ROUND_TRIP = "raw round trip"

Read = Callable[[], object]


class SweepInstrument:
    """Answers `DATA? POINTS` with a block of as many complex numbers, little-endian; prepared once per length."""

    def __init__(self) -> None:
        self._blocks: dict[str, bytes] = {}

    def __call__(self, message: bytes) -> bytes | None:
        text = message.decode()
        if text.startswith("DATA? "):
            if text not in self._blocks:
                self._blocks[text] = _block(sweep(int(text.removeprefix("DATA? "))))
            return self._blocks[text]
        return {"*IDN?": b"labctl,benchmark,0,1\n", "*OPC?": b"1\n"}.get(text)


def sweep(points: int) -> NDArray[np.complex128]:
    """Return the numbers the instrument sends."""
    return np.random.default_rng(points).standard_normal(2 * points).view(np.complex128)


def _block(values: NDArray[np.complex128]) -> bytes:
    payload = values.astype("<c16").tobytes()
    digits = str(len(payload))
    return f"#{len(digits)}{digits}".encode() + payload + b"\n"


def serve(pipe: Connection) -> None:
    """Serve the instrument on both transports; say where, and stop at the other end's word."""
    with ScpiSocketServer(SweepInstrument()) as stream, HislipServer(SweepInstrument()) as hislip:
        pipe.send((stream.address, stream.port, hislip.address))
        pipe.recv()


@contextmanager
def served() -> Generator[tuple[str, int, str]]:
    """Yield the raw socket's address and port, and the HiSLIP address, of an instrument in a process of its own."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    server = spawn.Process(target=serve, args=(theirs,), daemon=True)
    server.start()
    try:
        yield ours.recv()
    finally:
        ours.send("stop")
        server.join()


def _link(address: str, stack: ExitStack) -> Link:
    settings = LinkSettings.model_validate({"address": address, "timeout": "10 s"})
    link = build_link(settings, BuildContext("benchmark", Path(), WallClock()))
    link.open()
    stack.callback(link.close)
    return link


def read_by_link(link: Link, points: int) -> NDArray[np.complex128]:
    """Return a sweep as a driver reads it."""
    return np.frombuffer(link.query_block(f"DATA? {points}", n_bytes=16 * points), "<c16")


def read_by_pyvisa(resource: Any, points: int, chunk: int) -> NDArray[np.complex128]:
    """Return a sweep as PyVISA's documentation reads it, `chunk` bytes at a time."""
    values = resource.query_binary_values(f"DATA? {points}", datatype="d", container=np.array, chunk_size=chunk)
    return values.view(np.complex128)


def _plain_round_trip(connection: socket.socket) -> bytes:
    connection.sendall(b"*OPC?\n")
    return connection.recv(16)


def _plain_sweep(connection: socket.socket, points: int, buffer: bytearray) -> int:
    """Read a sweep of known length with nothing checked: what no link can be faster than."""
    connection.sendall(b"DATA? %d\n" % points)
    view = memoryview(buffer)
    got = 0
    while got < len(buffer):
        got += connection.recv_into(view[got:])
    return got


def fastest_s(reads: Mapping[str, Read], exchanges: int) -> dict[str, float]:
    """Return the shortest time of each kind of exchange, of `exchanges` each that take turns of `IN_A_ROW`."""
    times: dict[str, list[float]] = {name: [] for name in reads}
    for _ in range(exchanges // IN_A_ROW):
        for name, read in reads.items():
            for _ in range(IN_A_ROW):
                begin = time.perf_counter()
                read()
                times[name].append(time.perf_counter() - begin)
    return {name: min(own) for name, own in times.items()}


def in_units_of(unit: str, reads: Mapping[str, Read], exchanges: int) -> dict[str, list[float]]:
    """Return the multiples of `unit` that each exchange takes, one for each repeat."""
    fastest_s(reads, 5)
    repeats = [fastest_s(reads, exchanges) for _ in range(REPEATS)]
    return {name: [times[name] / times[unit] for times in repeats] for name in reads}


def socket_row(points: int, address: str, port: int, exchanges: int) -> Row:
    """Return what a sweep costs over a raw socket, beside PyVISA and a plain socket that checks nothing."""
    with ExitStack() as stack:
        plain = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link = _link(address, stack)
        visa = stack.enter_context(closing(_pyvisa(address)))
        visa.read_termination = visa.write_termination = "\n"
        buffer = bytearray(len(_block(sweep(points))))
        reads: dict[str, Read] = {
            ROUND_TRIP: lambda: _plain_round_trip(plain),
            "link": lambda: read_by_link(link, points),
            "plain socket, nothing checked": lambda: _plain_sweep(plain, points, buffer),
            "PyVISA": lambda: read_by_pyvisa(visa, points, 20 * 1024),
            "PyVISA, chunk of a block": lambda: read_by_pyvisa(visa, points, 2 * len(buffer)),
        }
        _check(reads, points)
        multiples = in_units_of(ROUND_TRIP, reads, exchanges)
    return _row(f"vna.socket.{points}", multiples, "raw round trips", Target("<=", TARGETS[points]))


def hislip_row(points: int, address: str, exchanges: int) -> Row:
    """Return what a sweep costs over HiSLIP, in PyVISA's best time."""
    with ExitStack() as stack:
        link = _link(address, stack)
        visa = stack.enter_context(closing(_pyvisa(address)))
        reads: dict[str, Read] = {
            "link": lambda: read_by_link(link, points),
            "PyVISA": lambda: read_by_pyvisa(visa, points, 20 * 1024),
            "PyVISA, chunk of a block": lambda: read_by_pyvisa(visa, points, 32 * points + 64),
        }
        _check(reads, points)
        times = fastest_s(reads, exchanges)
        best = min((name for name in reads if name != "link"), key=lambda name: times[name])
        multiples = in_units_of(best, reads, exchanges)
    return _row(f"vna.hislip.{points}", multiples, "of PyVISA's best", Target("<=", HISLIP_TARGET))


def _pyvisa(address: str) -> Any:
    return pyvisa.ResourceManager("@py").open_resource(address, open_timeout=5000, timeout=10_000)


def _check(reads: Mapping[str, Read], points: int) -> None:
    """Raise `AssertionError` unless everybody who returns numbers returns the right ones."""
    for read in reads.values():
        values: Any = read()
        if isinstance(values, np.ndarray):
            np.testing.assert_array_equal(cast("Any", values), sweep(points))


def _row(row_id: str, multiples: Mapping[str, list[float]], unit: str, target: Target) -> Row:
    others = {name: float(np.median(values)) for name, values in multiples.items() if name not in ("link", ROUND_TRIP)}
    row = over_repeats(row_id, multiples["link"], unit, others)
    return replace(row, aim=row.held_against(target))


def measure(quick: bool) -> Generator[Row]:
    """Yield all rows."""
    with served() as (address, port, hislip_address):
        for points in POINTS:
            yield socket_row(points, address, port, 50 if quick else 1000)
        for points in POINTS:
            yield hislip_row(points, hislip_address, 50 if quick else 1000)


def main() -> None:
    """Run the command."""
    arguments = harness.parser("Measure what reading an instrument costs.").parse_args()
    harness.run("instruments", f"medians over {REPEATS} repeats, low and high their extremes", arguments, measure)


if __name__ == "__main__":
    main()
