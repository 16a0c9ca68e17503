"""What a rig file says of links, and how often a step is done again."""

from typing import Any

import pytest
from labctl_drivers.transport.link import LinkError, LinkRefusedError
from labctl_drivers.transport.policy import Recovery, attempted
from labctl_drivers.transport.settings import LinkSettings, SerialSettings
from pydantic import ValidationError


@pytest.mark.parametrize(
    ("address", "transport"),
    [
        ("TCPIP::192.168.0.9::5025::SOCKET", "socket"),
        ("tcpip0::vna.local::5025::socket", "socket"),
        ("TCPIP::192.168.0.9::hislip0::INSTR", "visa"),
        ("TCPIP::192.168.0.9::hislip0,4880::INSTR", "visa"),
        ("TCPIP::192.168.0.9::inst0::INSTR", "visa"),
        ("TCPIP::192.168.0.9::INSTR", "visa"),
        ("USB0::0x0957::0x0118::MY12345678::INSTR", "visa"),
        ("GPIB0::16::INSTR", "visa"),
    ],
)
def test_address_says_which_transport(address: str, transport: str) -> None:
    assert LinkSettings.model_validate({"address": address}).transport == transport


@pytest.mark.parametrize(
    "address", ["192.168.0.9", "TCPIP::vna::SOCKET", "TCPIP::vna::70000::SOCKET", "GPIB0::16", "ASRL1::INSTR", ""]
)
def test_address_that_is_none(address: str) -> None:
    with pytest.raises(ValidationError, match=r"address|a port is 1 to 65535"):
        LinkSettings.model_validate({"address": address})


def test_backend_without_pyvisa() -> None:
    with pytest.raises(ValidationError, match="`backend` belongs to addresses that PyVISA opens"):
        LinkSettings.model_validate({"address": "TCPIP::vna::5025::SOCKET", "backend": "@py"})


def test_times_need_a_unit() -> None:
    with pytest.raises(ValidationError, match="has no unit"):
        LinkSettings.model_validate({"address": "TCPIP::vna::5025::SOCKET", "timeout": 5})


@pytest.mark.parametrize(
    ("address", "port"),
    [("ASRL/dev/ttyUSB0::INSTR", "/dev/ttyUSB0"), ("ASRL3::INSTR", "COM3"), ("ASRLCOM4", "COM4")],
)
def test_serial_address(address: str, port: str) -> None:
    assert SerialSettings.model_validate({"address": address}).port == port


def test_serial_address_that_is_none() -> None:
    with pytest.raises(ValidationError, match="no address of a serial port"):
        SerialSettings.model_validate({"address": "/dev/ttyUSB0"})


class Failing:
    """Raises what it is given, in turn, and then returns 7."""

    def __init__(self, *errors: LinkError) -> None:
        self.errors = list(errors)
        self.calls = 0

    def __call__(self) -> int:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return 7


def recovery(**settings: Any) -> Recovery:
    return Recovery.model_validate(settings)


def test_attempts_are_bounded_and_pauses_grow() -> None:
    pauses_s: list[float] = []
    step = Failing(*[LinkRefusedError("vna", "no")] * 9)

    def attempt() -> None:
        step()

    with pytest.raises(LinkRefusedError):
        attempted(attempt, recovery(attempts=4, backoff="100 ms"), pauses_s.append)
    assert step.calls == 4
    assert pauses_s == [0.0, 0.1, 0.2, 0.4]
