"""USB and GPIB through PyVISA: over a VISA library without hardware, and what is said where a library is missing."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pyvisa
from labctl_drivers.transport.link import LinkError, LinkGarbledError, LinkLostError, LinkRefusedError, LinkTimeoutError
from labctl_drivers.transport.message_link import MessageLink
from pyvisa.constants import ResourceAttribute, StatusCode
from pyvisa.ctwrapper.highlevel import IVIVisaLibrary
from pyvisa.errors import VisaIOError

from tests.wire.small_bench import IDENTITY, SmallInstrument, link_to
from tests.wire.visa_bench import bus_with

USB = "USB0::0x0957::0x0118::MY12345678::0::INSTR"
GPIB = "GPIB0::16::INSTR"


class FaultyInstrument(SmallInstrument):
    """Meets the next message with a status of the VISA library, or with silence."""

    fault: StatusCode | None = None
    silent = False

    def __call__(self, message: bytes) -> bytes | None:
        fault, self.fault = self.fault, None
        if fault is not None:
            raise VisaIOError(fault)
        silent, self.silent = self.silent, False
        answer = super().__call__(message)
        return None if silent else answer


@pytest.fixture(params=[USB, GPIB], ids=["usb", "gpib"])
def address(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def instrument() -> FaultyInstrument:
    return FaultyInstrument()


@pytest.fixture
def backend(address: str, instrument: FaultyInstrument, tmp_path: Path) -> Iterator[str]:
    with bus_with(address, instrument, tmp_path) as backend:
        yield backend


def opened(address: str, **settings: Any) -> MessageLink:
    link = link_to(address, **settings)
    link.open()
    return link


def test_text_and_blocks(address: str, backend: str, instrument: FaultyInstrument) -> None:
    link = opened(address, backend=backend)
    assert link.identity == IDENTITY
    assert link.query("ECHO? over the bus") == "over the bus"
    assert bytes(link.query_block("BLOCK?", n_bytes=len(instrument.payload))) == instrument.payload
    with pytest.raises(LinkGarbledError, match="bytes where 8 were expected"):
        link.query_block("BLOCK?", n_bytes=8)
    assert link.query("ECHO? next") == "next"
    link.close()


def test_times_to_open_and_to_answer_reach_the_library(
    address: str, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    library: Any = pyvisa.ResourceManager(backend).visalib
    opening: list[tuple[str, int]] = []
    answering: list[int] = []
    open_session, read = library.open, library.read

    def open_and_note(session: Any, name: str, mode: Any, open_timeout: int) -> Any:
        opening.append((name, open_timeout))
        return open_session(session, name, mode, open_timeout)

    def read_and_note(session: Any, count: int) -> Any:
        answering.append(library.get_attribute(session, ResourceAttribute.timeout_value)[0])
        return read(session, count)

    monkeypatch.setattr(library, "open", open_and_note)
    monkeypatch.setattr(library, "read", read_and_note)
    link = opened(address, backend=backend, timeout="7 s", open_timeout="3 s")
    link.query("ECHO? 1", timeout_s=60.0)
    link.close()
    assert opening == [(address, 3000)]
    asked, answered = answering
    assert 6000 < asked <= 7000
    assert 59_000 < answered <= 60_000


def test_silence_is_a_timeout_and_never_the_next_answer(
    address: str, backend: str, instrument: FaultyInstrument
) -> None:
    link = opened(address, backend=backend)
    instrument.silent = True
    with pytest.raises(LinkTimeoutError) as caught:
        link.query("ECHO? lost", timeout_s=0.2)
    assert caught.value.command == "ECHO? lost"
    assert link.query("ECHO? next") == "next"
    assert instrument.told.count("*IDN?") == 2
    assert link.counts.recoveries == 1
    link.close()


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (StatusCode.error_no_listeners, LinkLostError),
        (StatusCode.error_connection_lost, LinkLostError),
        (StatusCode.error_io, LinkLostError),
        (StatusCode.error_timeout, LinkTimeoutError),
        (StatusCode.error_resource_locked, LinkRefusedError),
        (StatusCode.error_output_protocol_violation, LinkGarbledError),
    ],
)
def test_what_the_library_reports_is_an_error_of_its_kind(
    status: StatusCode, expected: type[LinkError], address: str, backend: str, instrument: FaultyInstrument
) -> None:
    link = opened(address, backend=backend)
    instrument.fault = status
    with pytest.raises(expected):
        link.query("ECHO? 1")
    assert link.query("ECHO? 2") == "2"
    link.close()


@pytest.mark.parametrize("other", ["USB0::0x0957::0x0118::MY00000000::0::INSTR", "GPIB0::17::INSTR"])
def test_nothing_at_the_address(other: str, backend: str) -> None:
    with pytest.raises(LinkRefusedError, match=f"finds nothing at {other}"):
        opened(other, backend=backend, open_timeout="100 ms")


@pytest.mark.skipif(importlib.util.find_spec("usb") is not None, reason="PyUSB is installed")
def test_usb_without_its_library_says_what_to_install() -> None:
    with pytest.raises(
        LinkRefusedError, match=r"PyVISA \(@py\) cannot open USB0.*; do: pip install pyusb libusb-package"
    ):
        opened(USB)


@pytest.mark.skipif(
    any(importlib.util.find_spec(module) for module in ("gpib", "gpib_ctypes")), reason="a GPIB library is installed"
)
def test_gpib_without_its_library_says_what_to_install() -> None:
    with pytest.raises(LinkRefusedError, match=r"PyVISA \(@py\) cannot open GPIB0.*; do: pip install gpib-ctypes"):
        opened(GPIB)


@pytest.mark.skipif(bool(IVIVisaLibrary.get_library_paths()), reason="a VISA library is installed")
def test_the_makers_library_that_is_not_there(address: str) -> None:
    with pytest.raises(LinkRefusedError, match="no VISA library is installed: get NI-VISA"):
        opened(address, backend="@ivi")
