"""The LibreVNA driver: its conversation, stale sweeps, flags and temperature."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from labctl_drivers.vna.librevna import LibreVna, LibreVnaRules
from labctl_simulators.instruments.vna.dut import Resonator
from labctl_simulators.instruments.vna.engine import Engine
from labctl_simulators.instruments.vna.librevna import VirtualLibreVna

from labctl.contract.errors import Fault, InstrumentError
from labctl.contract.microwave import Segment, Sweep

SWEEP = Sweep(("S21", "S11"), (Segment(3.2e9, 3.4e9, 5),), power_dbm=-15.0, if_bandwidth_hz=1000.0)
NO_ERROR = ("*ESR?", "0")


def driver(link: Any, **rules: Any) -> LibreVna:
    return LibreVna(LibreVnaRules.model_validate({"simulated": True} | rules), "vna", link, timeout_s=1.0)


@pytest.fixture
def opened(memory_link: Callable[..., Any]) -> Callable[..., tuple[LibreVna, VirtualLibreVna]]:
    def opened(rules: dict[str, Any] | None = None, **habits: Any) -> tuple[LibreVna, VirtualLibreVna]:
        virtual = VirtualLibreVna(Engine(Resonator()), **habits)
        vna = driver(memory_link(virtual.execute), **(rules or {}))
        vna.open()
        return vna, virtual

    return opened


def test_the_conversation_line_by_line(scripted_link: Any) -> None:
    vna = driver(scripted_link, simulated=False)
    scripted_link.expect(
        ("*IDN?", "LibreVNA,LibreVNA-GUI,dummy_serial,1.6.1"),
        "*CLS",
        (":DEV:CONN?", "Not connected"),
        ":DEV:CONN",
        (":DEV:CONN?", "206039903350"),
        (":DEV:INF:FWREV?", "1.6.1"),
        (":VNA:TRACE:LIST?", "S11,S12,S21,S22"),
        (":DEV:INF:LIM:MINF?", "100000"),
        (":DEV:INF:LIM:MAXF?", "6000000000"),
        (":DEV:INF:LIM:MINPOW?", "-40"),
        (":DEV:INF:LIM:MAXPOW?", "0"),
        (":DEV:INF:LIM:MINIFBW?", "10"),
        (":DEV:INF:LIM:MAXIFBW?", "50000"),
        (":DEV:INF:LIM:MAXP?", "4501"),
        (":DEV:MODE?", "VNA"),
        (":VNA:ACQ:RUN?", "FALSE"),
    )
    vna.open()
    scripted_link.expect(
        "*CLS",
        *(
            line
            for command in (":VNA:ACQ:STOP", ":DEV:MODE VNA", ":VNA:SWEEP FREQUENCY", ":VNA:SWEEPTYPE LIN")
            for line in (command, NO_ERROR)
        ),
        *(
            line
            for name, value in (
                ("ACQ:IFBW", "1000"),
                ("ACQ:AVG", "1"),
                ("STIM:LVL", "-15"),
                ("FREQ:START", "1000000000"),
                ("FREQ:STOP", "2000000000"),
                ("ACQ:POINTS", "2"),
            )
            for line in (f":VNA:{name} {value}", NO_ERROR, (f":VNA:{name}?", value))
        ),
        (":VNA:CAL:ACTIVE?", "SOLT_12"),
    )
    vna.configure(Sweep(("S21",), (Segment(1e9, 2e9, 2),), -15.0, 1000.0))
    scripted_link.expect(
        ":VNA:ACQ:SINGLE TRUE",
        (":VNA:ACQ:FIN?", "TRUE"),
        (":VNA:ACQ:FIN?", "FALSE"),
        (":VNA:ACQ:FIN?", "TRUE"),
        (":DEV:STA:ADCOVER?", "FALSE"),
        (":VNA:TRACE:DATA? S21", "[1e+9,0.5,-0.25],[2e+9,0.125,1e-05]"),
        (":DEV:STA:UNLO?", "FALSE"),
        (":DEV:STA:UNLEV?", "FALSE"),
        (":DEV:INF:TEMP?", "45/51/31"),
    )
    assert vna.sweep().values.tolist() == [[0.5 - 0.25j, 0.125 + 1e-5j]]
    scripted_link.expect(":VNA:ACQ:STOP", ":GEN:PORT 0", (":DEV:MODE?", "VNA"), (":VNA:ACQ:RUN?", "FALSE"))
    vna.make_safe()


def test_the_sweep_before_is_never_taken_for_the_new_one(opened: Callable[..., Any]) -> None:
    vna, virtual = opened(stale_s=0.05)
    vna.configure(SWEEP)
    vna.sweep()
    for resonance_hz in (3.25e9, 3.35e9):
        virtual.engine.dut = Resonator(resonance_hz=resonance_hz)
        begun_s = time.monotonic()
        values = vna.sweep().values
        expected = virtual.engine.dut.s_parameters(np.linspace(3.2e9, 3.4e9, 5))
        np.testing.assert_allclose(values, np.stack([expected[:, 1, 0], expected[:, 0, 0]]), atol=1e-5)
        assert time.monotonic() - begun_s >= 0.05


@pytest.mark.parametrize(
    ("flag", "complaint"), [("UNLOcked", "a PLL is out of lock"), ("UNLEVel", "the output level is not reached")]
)
def test_a_flag_of_ill_health_is_an_error(flag: str, complaint: str, opened: Callable[..., Any]) -> None:
    vna, virtual = opened()
    vna.configure(SWEEP)
    virtual.flags[flag] = True
    with pytest.raises(InstrumentError, match=complaint) as raised:
        vna.sweep()
    assert raised.value.fault is Fault.NOT_READY
    assert not virtual.engine.rf_on


def test_an_overloaded_converter_is_an_overload(opened: Callable[..., Any]) -> None:
    vna, virtual = opened()
    vna.configure(SWEEP)
    virtual.flags["ADCOVERload"] = True
    assert vna.sweep().overload
    virtual.flags["ADCOVERload"] = False
    assert not vna.sweep().overload


def test_a_device_that_overheats_is_an_error(opened: Callable[..., Any]) -> None:
    vna, virtual = opened({"max_temperature": "60 degC"})
    vna.configure(SWEEP)
    vna.sweep()
    virtual.temperatures_c = (45, 61, 31)
    with pytest.raises(InstrumentError, match="is 61 °C hot, above 60 °C"):
        vna.sweep()


def test_a_refused_command_is_named(opened: Callable[..., Any]) -> None:
    vna, virtual = opened()
    execute = virtual.execute
    vna._talk.link._execute = lambda m: execute(m.replace(b"LVL -15", b"LVL -150"))
    with pytest.raises(InstrumentError, match=r"refuses with event status 0x20 during :VNA:STIM:LVL -15"):
        vna.configure(SWEEP)


@pytest.mark.parametrize(("rules", "habits"), [({}, {"device": ""}), ({"serial_number": "77"}, {})])
def test_a_device_that_is_not_there_is_an_error(
    rules: dict[str, Any], habits: dict[str, Any], opened: Callable[..., Any]
) -> None:
    with pytest.raises(InstrumentError, match="the GUI finds no device"):
        opened(rules, **habits)


def test_a_generator_left_on_is_switched_off_and_told(memory_link: Callable[..., Any]) -> None:
    virtual = VirtualLibreVna(Engine(Resonator()))
    link = memory_link(virtual.execute)
    virtual.execute(b":DEV:MODE GEN;:GEN:PORT 1\n")
    vna = driver(link)
    with pytest.raises(InstrumentError, match="RF was left on"):
        vna.open()
    assert virtual.execute(b":GEN:PORT?\n") == b"0\n"
    vna.open()


@pytest.mark.parametrize(
    ("trace", "complaint"),
    [
        (b"[3.2e9,1,0],[3.25e9,1,0]\n", "answers 6 numbers, not 15"),
        (b"[3.2e9,1,0],[3.25e9,1,0],[3.3e9,1,0],[3.35e9,1,0],[3.5e9,1,0]\n", "other frequencies than were set"),
        (b"nothing\n", "not numbers"),
    ],
)
def test_a_trace_that_is_not_of_this_sweep_is_an_error(
    trace: bytes, complaint: str, opened: Callable[..., Any]
) -> None:
    vna, virtual = opened()
    execute = virtual.execute
    vna.configure(SWEEP)
    vna._talk.link._execute = lambda m: trace if b"TRACE:DATA" in m else execute(m)
    with pytest.raises(InstrumentError, match=complaint):
        vna.sweep()
