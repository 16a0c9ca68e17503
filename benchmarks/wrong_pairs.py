"""Whether a drive is ever paired with the response to another one: passes under random faults on both wires.

A virtual analyser on a socket answers with the signature of the pattern that a virtual metasurface on a serial port
showed when its sweep was triggered. Drivers, links and layer are the real ones. A fault ends the request under way, as
it ends a run: everything is made safe and opened anew, and the first row that is missing comes next, as after `labctl
resume`.
"""

import sys
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from labctl_drivers.layers import microwave
from labctl_drivers.metasurface import labctl_v1
from labctl_drivers.vna.drivers import KEYSIGHT_PNA
from labctl_simulators.instruments.metasurface.labctl_v1 import VirtualLabctlV1
from labctl_simulators.instruments.metasurface.panel import Panel
from labctl_simulators.instruments.servers.scpi_socket import ScpiSocketServer
from labctl_simulators.instruments.servers.wire_faults import NETWORK, SERIAL, WireFaultPlan, WireFaultSchedule
from labctl_simulators.instruments.vna.engine import Engine
from labctl_simulators.instruments.vna.keysight_pna import VirtualKeysightPna
from numpy.typing import NDArray

from benchmarks.harness import Row, Target
from labctl.contract.clock import WallClock
from labctl.contract.driver import BuildContext
from labctl.contract.errors import InstrumentError
from labctl.contract.layer import Drives, PhysicalLayer, Responses, RowStatus

ROWS, COLUMNS = 4, 10
FREQUENCIES_HZ = np.array([3.2e9, 3.3e9, 3.4e9])
REQUEST_ROWS = 500
RATE = 0.0003
"""Probability of each kind of fault per answer: about one fault in a hundred passes."""

STALL_S = 0.03
UNPLUGGED_S = 0.05
BYTE_PATIENCE_S = 0.05
TIMEOUT = "150 ms"
"""Beyond the controller's patience, as its protocol asks for; real time-outs are seconds, and would take hours here."""

PAUSE_S = 0.02
"""Before everything is opened anew."""

MOST_REOPENINGS = 50
"""In a row: beyond, something else is wrong."""

EQUAL = 1e-12


class Signature:
    """A device whose transmission names the pattern it is under: Σ w_k pattern_k, another w at each frequency."""

    n_ports, n_elements, levels = 2, ROWS * COLUMNS, 2

    def __init__(self) -> None:
        rng = np.random.default_rng(17)
        self.weights = rng.standard_normal((self.n_elements, 2 * len(FREQUENCIES_HZ))).view(np.complex128) / 100

    def of(self, patterns: NDArray[Any]) -> NDArray[np.complex128]:
        """Return the transmission (..., n_frequencies) under patterns (..., n_elements)."""
        return patterns.astype(np.float64) @ self.weights


class SignedPanel(Panel):
    """The panel of a controller; the analyser's device under test."""

    def __init__(self, signature: Any) -> None:
        super().__init__(signature, WallClock())
        self._signature = signature

    def s_parameters(self, frequencies_hz: NDArray[np.float64]) -> NDArray[np.complex128]:
        """Return the S-matrix (n_frequencies, 2, 2) under the pattern shown now."""
        matrix = np.zeros((len(frequencies_hz), 2, 2), dtype=np.complex128)
        matrix[:, 1, 0] = self._signature.of(self.shown)
        return matrix


def measure(quick: bool) -> Iterator[Row]:
    """Yield how many passes there were, how many faults struck meanwhile, and how many pairs were wrong."""
    passes = 2_000 if quick else 100_000
    signature = Signature()
    with _bench(signature) as (layer, schedules):
        wrong = sum(_wrong_pairs(layer, signature, begin) for begin in range(0, passes, REQUEST_ROWS))
    struck = sum(len(schedule.struck) for schedule in schedules)
    yield Row("faults.passes", passes, None, None, passes, "passes")
    yield Row("faults.struck", struck, None, None, passes, "faults")
    row = Row("faults.wrong_pairs", wrong, None, None, passes, "pairs")
    yield Row(row.id, row.value, row.low, row.high, row.n, row.unit, aim=row.held_against(Target("<=", 0.0)))


def _wrong_pairs(layer: PhysicalLayer, signature: Signature, begin: int) -> int:
    """Measure one request, whatever happens, and return how many of its rows have the response to another drive."""
    drives = np.random.default_rng(begin).integers(0, 2, (REQUEST_ROWS, signature.n_elements)).astype(np.float32)
    values = np.full((REQUEST_ROWS, 2 * len(FREQUENCIES_HZ)), np.nan)
    done = 0
    reopened = 0
    while done < REQUEST_ROWS:
        try:
            layer.open()
            for chunk in _chunks(layer, drives[done:], begin + done):
                values[done : done + len(chunk.ids)] = chunk.values
                done += len(chunk.ids)
                reopened = 0
        except InstrumentError:
            reopened += 1
            if reopened > MOST_REOPENINGS:
                raise
            with suppress(InstrumentError):
                layer.make_safe()
            layer.close()
            time.sleep(PAUSE_S)
    differences = np.abs(values.view(np.complex128) - signature.of(drives)).max(axis=1)
    return int(np.count_nonzero(~(differences < EQUAL)))


def _chunks(layer: PhysicalLayer, drives: Drives, first_id: int) -> Iterator[Responses]:
    """Yield the good rows; as the orchestrator does, refuse any that were not asked for."""
    expected = first_id
    for chunk in layer.measure(drives, np.arange(first_id, first_id + len(drives)), stop=threading.Event()):
        asked_for = chunk.ids.tolist() == list(range(expected, expected + len(chunk.ids)))
        if not asked_for or (chunk.status != RowStatus.OK).any():
            raise RuntimeError(f"rows {chunk.ids} with status {chunk.status} where {expected} was next")
        expected += len(chunk.ids)
        yield chunk


def _faults(kinds: tuple[str, ...], seed: int) -> WireFaultSchedule:
    durations = {"stall": {"duration": f"{STALL_S} s"}, "unplug": {"duration": f"{UNPLUGGED_S} s"}}
    listed = [{"kind": kind, "rate": RATE, **durations.get(kind, {})} for kind in kinds]
    return WireFaultSchedule(WireFaultPlan.model_validate({"seed": seed, "list": listed}))


@contextmanager
def _bench(signature: Signature) -> Generator[tuple[PhysicalLayer, tuple[WireFaultSchedule, WireFaultSchedule]]]:
    """Yield the layer on its instruments, not yet open, and what befalls their answers."""
    if sys.platform == "win32":
        raise RuntimeError("pseudo-terminals need Linux or macOS")
    from labctl_simulators.instruments.servers.pty_port import PtyPort

    panel = SignedPanel(signature)
    on_socket, on_serial = _faults(NETWORK, 1), _faults(SERIAL, 2)
    analyser = VirtualKeysightPna(Engine(panel))
    controller = VirtualLabctlV1(panel, byte_patience_s=BYTE_PATIENCE_S)
    with (
        ScpiSocketServer(analyser.execute, faults=on_socket) as network,
        PtyPort(controller, baud=None, faults=on_serial) as port,
    ):
        link = {"timeout": TIMEOUT, "simulated": True, "recovery": {"attempts": 10, "backoff": "10 ms"}}
        own = {"rows": ROWS, "columns": COLUMNS, "settle": "0 s", "address": port.address}
        limits = {"max_power": "-10 dBm", "max_frequency": "6 GHz", "address": network.address}
        point = {"power": "-15 dBm", "if_bandwidth": "10 kHz", "readout": "complex", "pass": "5 ms"}
        point |= {"frequencies": [f"{hz:.0f} Hz" for hz in FREQUENCIES_HZ]}
        instruments = {
            "vna": _built(KEYSIGHT_PNA, link | limits, "vna"),
            "surface": _built(labctl_v1.DRIVER, link | own, "surface"),
        }
        settings = microwave.DRIVER.settings.model_validate(point | {"analyser": "vna", "metasurface": "surface"})
        layer = microwave.DRIVER.build(settings, instruments, BuildContext("cavity", Path(), WallClock()))
        try:
            yield layer, (on_socket, on_serial)
        finally:
            layer.close()


def _built(driver: Any, settings: dict[str, Any], name: str) -> Any:
    return driver.build(driver.settings.model_validate(settings), BuildContext(name, Path(), WallClock()))
