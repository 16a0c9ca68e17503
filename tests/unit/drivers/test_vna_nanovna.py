"""The drivers of both kinds of NanoVNA: shell and registers."""

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from labctl_drivers.vna.nanovna import NanoVnaRules
from labctl_drivers.vna.nanovna_binary import NanoVnaBinary
from labctl_drivers.vna.nanovna_shell import NanoVnaShell
from labctl_simulators.instruments.vna.dut import Resonator
from labctl_simulators.instruments.vna.engine import Engine, Hardware
from labctl_simulators.instruments.vna.nanovna_binary import VirtualNanoVnaBinary
from labctl_simulators.instruments.vna.nanovna_shell import VirtualNanoVnaShell

from labctl.contract.errors import InputError, InstrumentError
from labctl.contract.microwave import Segment, Sweep

SWEEP = Sweep(("S11", "S21"), (Segment(3.2e9, 3.4e9, 5),), power_dbm=-10.0, if_bandwidth_hz=1000.0)


def rules(**changes: Any) -> NanoVnaRules:
    return NanoVnaRules.model_validate({"simulated": True, "correction": "allowed"} | changes)


@pytest.fixture
def shell(memory_byte_link: Callable[..., Any]) -> Callable[..., NanoVnaShell]:
    def shell(virtual: Any, **changes: Any) -> NanoVnaShell:
        return NanoVnaShell(rules(**changes), "vna", memory_byte_link(virtual.execute), timeout_s=1.0)

    return shell


@pytest.fixture
def binary(memory_byte_link: Callable[..., Any]) -> Callable[..., NanoVnaBinary]:
    def binary(virtual: Any, **changes: Any) -> NanoVnaBinary:
        return NanoVnaBinary(rules(**changes), "vna", memory_byte_link(virtual.execute), timeout_s=1.0)

    return binary


def test_the_power_has_to_be_allowed_since_it_cannot_be_set(shell: Callable[..., NanoVnaShell]) -> None:
    with pytest.raises(ValueError, match="output_power -5 dBm is above max_power -10 dBm"):
        rules(output_power="-5 dBm")
    vna = shell(VirtualNanoVnaShell(Engine(Resonator())))
    vna.open()
    with pytest.raises(InputError, match="power -20 dBm is below -10 dBm"):
        vna.configure(Sweep(("S11",), SWEEP.segments, power_dbm=-20.0, if_bandwidth_hz=1000.0))


@pytest.mark.parametrize("parameters", [("S12",), ("S11", "S22")])
def test_only_port_1_drives(parameters: tuple[str, ...], shell: Callable[..., NanoVnaShell]) -> None:
    vna = shell(VirtualNanoVnaShell(Engine(Resonator())))
    vna.open()
    with pytest.raises(InputError, match="S11 and S21 are"):
        vna.configure(Sweep(parameters, SWEEP.segments, power_dbm=-10.0, if_bandwidth_hz=1000.0))


def test_the_shells_commands_in_order(shell: Callable[..., NanoVnaShell]) -> None:
    vna = shell(VirtualNanoVnaShell(Engine(Resonator())))
    vna.open()
    vna.configure(SWEEP)
    vna.sweep()
    assert vna._link.sent == [
        b"version\r",
        b"help\r",
        b"info\r",
        b"pause\r",
        b"bandwidth\r",
        b"bandwidth 1000\r",
        b"bandwidth\r",
        b"scan 3200000000 3400000000 5 1\r",
        b"cal\r",
        b"scan 3200000000 3400000000 5 7\r",
    ]


def test_both_forms_of_bandwidth_are_spoken(shell: Callable[..., NanoVnaShell]) -> None:
    for counts, sent in ((True, b"bandwidth 3\r"), (False, b"bandwidth 1000\r")):
        engine = Engine(Resonator(), if_bandwidth_hz=2000.0)
        vna = shell(VirtualNanoVnaShell(engine, bandwidth_numbers=counts))
        vna.open()
        vna.configure(SWEEP)
        assert sent in vna._link.sent
        assert engine.if_bandwidth_hz == 1000.0


def test_a_bandwidth_the_firmware_rounds_is_not_passed_over(shell: Callable[..., NanoVnaShell]) -> None:
    vna = shell(VirtualNanoVnaShell(Engine(Resonator(), if_bandwidth_hz=2000.0), bandwidth_numbers=True))
    vna.open()
    with pytest.raises(InstrumentError, match=r"has an IF bandwidth of 666.0 Hz where 700 Hz was set"):
        vna.configure(Sweep(("S11",), SWEEP.segments, power_dbm=-10.0, if_bandwidth_hz=700.0))


@pytest.mark.parametrize(
    ("version", "complaint"), [("0.7.0", r"firmware 0.7.0, older than 0.7.1"), ("version?", "not as a NanoVNA does")]
)
def test_a_firmware_that_cannot_be_driven_is_refused(
    version: str, complaint: str, shell: Callable[..., NanoVnaShell]
) -> None:
    vna = shell(VirtualNanoVnaShell(Engine(Resonator()), version=version))
    with pytest.raises(InstrumentError, match=complaint):
        vna.open()
    assert not vna._link.is_open


def test_a_span_the_firmware_refuses_is_told(shell: Callable[..., NanoVnaShell]) -> None:
    vna = shell(VirtualNanoVnaShell(Engine(Resonator(), hardware=Hardware(frequency_hz=(5e4, 1.5e9)))))
    vna.open()
    with pytest.raises(InstrumentError, match="answers 'frequency range is invalid' during scan"):
        vna.configure(SWEEP)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda reply: reply.replace(b"scan", b"scam"), "echoes 'scam"),
        (lambda reply: reply.replace(b"\r\n3250000000", b"\r\n3260000000"), "other frequencies than were set"),
        (lambda reply: reply.replace(b"\r\n3250000000", b"\r\n"), "answers '3200000000 "),
        (lambda reply: reply.removesuffix(b"ch> "), "the sweep did not end within"),
    ],
)
def test_a_short_or_garbled_scan_is_an_error_never_a_part(
    change: Callable[[bytes], bytes], complaint: str, shell: Callable[..., NanoVnaShell]
) -> None:
    virtual = VirtualNanoVnaShell(Engine(Resonator()))
    vna = shell(virtual)
    vna.open()
    vna.configure(SWEEP)
    vna._link._execute = lambda request: change(virtual.execute(request))
    with pytest.raises(InstrumentError, match=complaint):
        vna.sweep()


def test_the_shell_takes_bytes_one_by_one_and_answers_in_parts() -> None:
    virtual = VirtualNanoVnaShell(Engine(Resonator()))
    replies = [virtual.execute(bytes([byte])) for byte in b"version\r"]
    assert replies == [b""] * 7 + [b"version\r\n1.2.40\r\nch> "]
    parts = list(virtual.chunks(b"scan 3200000000 3400000000 101 1\r"))
    assert len(parts) == 6
    assert virtual.execute(b"nonsense\r") == b"nonsense\r\nnonsense?\r\nch> "


def test_registers_and_fifo_on_the_wire(binary: Callable[..., NanoVnaBinary]) -> None:
    vna = binary(VirtualNanoVnaBinary(Engine(Resonator())), max_points=1023)
    vna.open()
    vna.configure(Sweep(("S21",), (Segment(3.2e9, 3.46e9, 261),), power_dbm=-10.0, if_bandwidth_hz=1000.0))
    vna.sweep()
    assert vna._link.sent == [
        bytes(8) + b"\x0d",
        bytes.fromhex("10f0 10f1 10f2 10f3 10f4"),
        b"\x23\x00" + struct.pack("<Q", 3_200_000_000) + b"\x23\x10" + struct.pack("<Q", 1_000_000)
        + bytes.fromhex("2120 0501 2122 0100 2026 00"),
        bytes.fromhex("1200 1204 1210 1214 1120"),
        bytes.fromhex("2030 00"),
        bytes.fromhex("1830 ff"),
        bytes.fromhex("1830 06"),
    ]  # fmt: skip


@pytest.mark.parametrize("next_index", [0, 1, 4])
def test_values_are_told_apart_by_their_index(next_index: int, binary: Callable[..., NanoVnaBinary]) -> None:
    virtual = VirtualNanoVnaBinary(Engine(Resonator()))
    vna = binary(virtual)
    vna.open()
    frequencies_hz = vna.configure(SWEEP)
    virtual.next_index = next_index
    matrices = Resonator().s_parameters(frequencies_hz)
    np.testing.assert_allclose(vna.sweep().values, [matrices[:, 0, 0], matrices[:, 1, 0]], atol=1e-8)


def test_every_point_is_needed_once(binary: Callable[..., NanoVnaBinary]) -> None:
    virtual = VirtualNanoVnaBinary(Engine(Resonator()))
    vna = binary(virtual)
    vna.open()
    vna.configure(SWEEP)

    def execute(request: bytes) -> bytes | None:
        reply = virtual.execute(request)
        return reply[:32] + reply[:-32] if request[0] == 0x18 and reply else reply

    vna._link._execute = execute
    with pytest.raises(InstrumentError, match="does not send every point of the sweep once"):
        vna.sweep()


def test_a_short_fifo_is_an_error_never_a_part(binary: Callable[..., NanoVnaBinary]) -> None:
    virtual = VirtualNanoVnaBinary(Engine(Resonator()))
    vna = binary(virtual)
    vna.open()
    vna.configure(SWEEP)
    vna._link._execute = lambda request: virtual.execute(request)[:-1]
    with pytest.raises(InstrumentError, match="the sweep did not end within"):
        vna.sweep()


def test_the_missing_calibration_is_stated(binary: Callable[..., NanoVnaBinary]) -> None:
    vna = binary(VirtualNanoVnaBinary(Engine(Resonator())), correction="required")
    vna.open()
    with pytest.raises(InstrumentError, match="a NanoVNA V2 sends raw data"):
        vna.configure(SWEEP)


@pytest.mark.parametrize(
    ("firmware", "complaint"), [((1, 1), "first points are right from 1.2 on"), ((0xFF, 0), "is in DFU mode")]
)
def test_a_v2_firmware_that_cannot_be_driven_is_refused(
    firmware: tuple[int, int], complaint: str, binary: Callable[..., NanoVnaBinary]
) -> None:
    vna = binary(VirtualNanoVnaBinary(Engine(Resonator()), firmware=firmware))
    with pytest.raises(InstrumentError, match=complaint):
        vna.open()
    assert not vna._link.is_open


def test_something_else_at_the_port_is_refused(binary: Callable[..., NanoVnaBinary]) -> None:
    class Other:
        def execute(self, request: bytes) -> bytes:
            return b"?"

    with pytest.raises(InstrumentError, match="does not answer as a NanoVNA V2 does"):
        binary(Other()).open()
