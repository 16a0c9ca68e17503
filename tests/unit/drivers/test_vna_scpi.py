"""What goes wrong between a driver and its analyser, whatever the dialect: seen from the PNA and R&S drivers."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from labctl_drivers.vna.keysight_pna import KeysightPna, KeysightPnaRules
from labctl_drivers.vna.rohde_schwarz import RohdeSchwarz
from labctl_drivers.vna.settings import AnalyserRules
from labctl_simulators.instruments.vna.dut import PatternedCavity, Resonator
from labctl_simulators.instruments.vna.engine import Engine, Hardware
from labctl_simulators.instruments.vna.keysight_pna import VirtualKeysightPna
from labctl_simulators.instruments.vna.rohde_schwarz import VirtualRohdeSchwarz
from labctl_simulators.loopback.microwave_cavity import SimulatedCavity
from labctl_simulators.loopback.microwave_settings import SimulatedCavitySettings

from labctl.contract.errors import Fault, InputError, InstrumentError
from labctl.contract.microwave import Segment, Sweep
from labctl.contract.units import parse_quantity

SWEEP = Sweep(("S21",), (Segment(3.2e9, 3.4e9, 41),), power_dbm=-15.0, if_bandwidth_hz=1000.0)


class EveryByte:
    """A device whose S-parameters hold every byte value at every place of a number."""

    n_ports = 2

    def s_parameters(self, frequencies_hz: np.ndarray) -> np.ndarray:
        count = len(frequencies_hz) * 8
        words = np.arange(count, dtype=np.uint64)[:, None] * np.uint64(37) + np.arange(8, dtype=np.uint64)
        numbers = (words % np.uint64(256)).astype(np.uint8).view("<f8").reshape(len(frequencies_hz), 2, 2, 2)
        numbers = np.where(np.isfinite(numbers), numbers, 0.0)
        return numbers.copy().view(np.complex128)[..., 0]


def pna(link: Any, **rules: Any) -> KeysightPna:
    return KeysightPna(KeysightPnaRules.model_validate({"simulated": True} | rules), "vna", link, timeout_s=0.5)


def test_blocks_of_every_byte_value_arrive_unchanged(memory_link: Callable[..., Any]) -> None:
    engine = Engine(EveryByte(), power_dbm=-300.0)
    vna = pna(memory_link(VirtualKeysightPna(engine).execute))
    vna.open()
    sweep = Sweep(("S11", "S12", "S21", "S22"), (Segment(3.2e9, 3.4e9, 256),), -15.0, 1000.0)
    frequencies_hz = vna.configure(sweep)
    matrices = EveryByte().s_parameters(frequencies_hz)
    sent = matrices.reshape(256, 4).T
    assert set(sent.astype("<c16").tobytes()) == set(range(256))
    np.testing.assert_array_equal(vna.sweep().values, sent)


class ReversedBytes(VirtualKeysightPna):
    """A PNA that says SWAP and sends NORM, as one with another GPIB language might."""

    def show_numbers(self, values: np.ndarray) -> Any:
        self._big_endian = True
        return super().show_numbers(values)

    def execute(self, message: bytes) -> bytes | None:
        return b"SWAP\n" if message == b"FORM:BORD?\n" else super().execute(message)


def test_a_byte_order_that_is_not_what_the_analyser_says_is_found(memory_link: Callable[..., Any]) -> None:
    vna = pna(memory_link(ReversedBytes(Engine(Resonator())).execute))
    vna.open()
    with pytest.raises(InstrumentError, match="its byte order is not what it says"):
        vna.configure(SWEEP)


@pytest.mark.parametrize(
    ("query", "reply", "complaint"),
    [
        (b"FORM:BORD?\n", b"NORM\n", "answers NORM where SWAP was set"),
        (b"FORM?\n", b"REAL,+32\n", r"answers REAL,\+32 where REAL was set"),
        (b"SENS1:SWE:POIN?\n", b"+40\n", "has points 40 where 41 was set"),
        (b"SENS1:BAND?\n", b"+2E+3\n", r"has IF bandwidth \(Hz\) 2000 where 1000 was set"),
        (b"SOUR1:POW1?\n", b"-5\n", r"has power \(dBm\) -5 where -15 was set"),
        (b"CALC1:X?\n", b"1,2,3\n", "answers 3 numbers, not 41"),
        (b"CALC1:X?\n", b"what?\n", "not numbers"),
        (b"SENS1:BAND?\n", b"wide\n", "answers 'wide', which is no number"),
        (b"SENS1:CORR:STAT?\n", b"perhaps\n", "neither yes nor no"),
    ],
)
def test_what_reads_back_differently_is_told_with_its_query(
    query: bytes, reply: bytes, complaint: str, memory_link: Callable[..., Any]
) -> None:
    virtual = VirtualKeysightPna(Engine(Resonator()))
    vna = pna(memory_link(lambda message: reply if message == query else virtual.execute(message)))
    vna.open()
    with pytest.raises(InstrumentError, match=complaint) as error:
        vna.configure(SWEEP)
    assert error.value.command == query.decode().strip()
    assert not virtual.engine.rf_on


def test_a_bandwidth_the_analyser_rounds_is_not_passed_over(memory_link: Callable[..., Any]) -> None:
    virtual = VirtualRohdeSchwarz(Engine(Resonator()))
    vna = RohdeSchwarz(AnalyserRules(simulated=True), "vna", memory_link(virtual.execute), timeout_s=0.5)
    vna.open()
    with pytest.raises(InstrumentError, match=r"has IF bandwidth \(Hz\) 5000 where 4000 was set"):
        vna.configure(Sweep(("S21",), (Segment(3.2e9, 3.4e9, 41),), -15.0, 4000.0))


def test_an_axis_elsewhere_than_set_is_an_error(memory_link: Callable[..., Any]) -> None:
    engine = Engine(Resonator())
    virtual = VirtualKeysightPna(engine)

    def execute(message: bytes) -> bytes | None:
        reply = virtual.execute(message)
        if message.startswith(b"SENS1:FREQ:STOP 3"):
            engine.stop_hz = 3.41e9
        return reply

    vna = pna(memory_link(execute))
    vna.open()
    with pytest.raises(InstrumentError, match="at point 2 where 3205000000 Hz was set"):
        vna.configure(SWEEP)


def test_a_trigger_that_does_not_come_is_explained_and_the_power_goes_off(memory_link: Callable[..., Any]) -> None:
    virtual = VirtualKeysightPna(Engine(Resonator()), edge_patience_s=0.01)
    vna = pna(memory_link(virtual.execute))
    vna.open()
    vna.configure(Sweep(("S21",), (Segment(3.2e9, 3.4e9, 41),), -15.0, 1000.0, trigger="external-rising"))
    with pytest.raises(InstrumentError, match=r"did not end within .*: does the rising edge reach its trigger input"):
        vna.sweep()
    assert not virtual.engine.rf_on


@pytest.mark.parametrize(("stated", "averages", "corrected"), [(0.041, 1, False), (30.0, 1, True), (0.041, 100, True)])
def test_a_sweep_is_given_margin_times_its_length(
    stated: float, averages: int, corrected: bool, memory_link: Callable[..., Any]
) -> None:
    virtual = VirtualKeysightPna(Engine(Resonator(), corrected=corrected))
    deadlines: list[float] = []
    link = memory_link(lambda m: f"{stated}\n".encode() if m == b"SENS1:SWE:TIME?\n" else virtual.execute(m))
    ask = link.query

    def query(command: str, *, timeout_s: float | None = None) -> str:
        if command == "*OPC?":
            deadlines.append(timeout_s or 0.0)
        return ask(command, timeout_s=timeout_s)

    link.query = query
    vna = pna(link, correction="allowed", sweep_margin=4)
    vna.open()
    vna.configure(Sweep(("S21",), (Segment(3.2e9, 3.4e9, 41),), -15.0, 1000.0, averages=averages))
    vna.sweep()
    assert deadlines == [pytest.approx(4 * stated * averages * (2 if corrected else 1) + 0.5)]


def test_an_error_after_the_sweep_is_told_and_the_power_goes_off(memory_link: Callable[..., Any]) -> None:
    virtual = VirtualKeysightPna(Engine(Resonator()))

    def execute(message: bytes) -> bytes | None:
        if message.startswith(b"*OPC?"):
            virtual.tree.execute(b"CALC1:PAR:SEL 'gone'")
        return virtual.execute(message)

    vna = pna(memory_link(execute))
    vna.open()
    vna.configure(SWEEP)
    with pytest.raises(InstrumentError, match=r"reports \+104.*not found.*during sweep"):
        vna.sweep()
    assert not virtual.engine.rf_on


@pytest.mark.parametrize(
    ("queued", "fault"),
    [
        (b'+222,"Source unleveled, port 1"', Fault.NOT_READY),
        (b'+1,"Oven cold"', Fault.NOT_READY),
        (b'+210,"Trigger ignored"', Fault.FAILED),
    ],
)
def test_an_analyser_that_needs_time_is_told_from_one_that_fails(
    queued: bytes, fault: Fault, memory_link: Callable[..., Any]
) -> None:
    virtual = VirtualKeysightPna(Engine(Resonator()))
    waiting: list[bytes] = []

    def execute(message: bytes) -> bytes | None:
        if message.startswith(b"*OPC?"):
            waiting.append(queued)
        if message.startswith(b"SYST:ERR?") and waiting:
            return waiting.pop() + b"\n"
        return virtual.execute(message)

    vna = pna(memory_link(execute))
    vna.open()
    vna.configure(SWEEP)
    with pytest.raises(InstrumentError, match="reports") as raised:
        vna.sweep()
    assert raised.value.fault is fault
    assert not virtual.engine.rf_on


def test_a_driver_sees_the_pattern_of_a_metasurface(memory_link: Callable[..., Any]) -> None:
    settings = SimulatedCavitySettings.model_validate(
        {
            "box": {"length": "300 mm", "width": "200 mm", "height": "15 mm", "quality": 300, "posts": 2},
            "elements": {"count": 6},
            "antennas": {"count": 2},
            "seed": 3,
        }
    )
    cavity = PatternedCavity(SimulatedCavity(settings, "box"))
    engine = Engine(cavity, Hardware(frequency_hz=cavity.frequency_hz))
    vna = pna(memory_link(VirtualKeysightPna(engine).execute))
    vna.open()
    frequencies_hz = vna.configure(Sweep(("S21",), (Segment(3.2e9, 3.4e9, 3),), -15.0, 1000.0))
    seen: list[np.ndarray] = []
    for pattern in ([0, 0, 0, 0, 0, 0], [1, 0, 1, 1, 0, 1]):
        cavity.show(np.array(pattern, dtype=np.uint8))
        seen.append(vna.sweep().values)
        np.testing.assert_array_equal(seen[-1][0], cavity.s_parameters(frequencies_hz)[:, 1, 0])
    assert np.abs(seen[0] - seen[1]).max() > 1e-4
    with pytest.raises(InputError, match=r"above .* Hz \(a limit of the N5242B\)"):
        vna.configure(Sweep(("S21",), (Segment(3.2e9, 20e9, 3),), -15.0, 1000.0))


def test_rules_read_quantities_and_refuse_what_cannot_work() -> None:
    rules = AnalyserRules.model_validate({"max_power": "-10 dBm", "min_frequency": "1 GHz", "max_frequency": "2 GHz"})
    assert rules.max_power_dbm == parse_quantity("-10 dBm", {"dBm": 1.0})
    with pytest.raises(ValueError, match="max_frequency must lie above min_frequency"):
        AnalyserRules.model_validate({"min_frequency": "2 GHz", "max_frequency": "1 GHz"})
