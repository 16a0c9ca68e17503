"""What each metasurface driver says to its controller, byte by byte, and what it makes of wrong answers."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from labctl_drivers.metasurface.base import PatternedSurface
from labctl_drivers.metasurface.errors import (
    ControllerRefusedError,
    FrameCheckError,
    FrameSequenceError,
    PatternDiffersError,
)
from labctl_drivers.metasurface.labctl_v1 import LabctlV1Rules, LabctlV1Surface, crc16, frame, packed, unpacked
from labctl_drivers.metasurface.raw12 import Raw12Rules, Raw12Surface
from labctl_drivers.metasurface.ris_ascii import RisAsciiRules, RisAsciiSurface
from labctl_drivers.metasurface.tile_tcp import TileTcpRules, TileTcpSurface
from labctl_drivers.transport.link import LinkGarbledError, LinkTimeoutError
from labctl_drivers.transport.settings import SerialSettings

from labctl.contract.clock import SimulatedClock
from labctl.contract.errors import InstrumentError
from labctl.contract.microwave import Pattern

Line = tuple[bytes, bytes]


class Script:
    """A controller that expects exactly these requests, in order, and answers as it is told."""

    def __init__(self) -> None:
        self.lines: list[Line] = []

    def expect(self, *lines: Line) -> None:
        self.lines += lines

    def __call__(self, request: bytes) -> bytes:
        assert self.lines, f"nothing more was expected, got {request!r}"
        expected, answer = self.lines.pop(0)
        assert request == expected
        return answer


def reply(code: int, seq: int, data: bytes = b"", status: int = 0) -> bytes:
    return frame(code | 0x80, seq, bytes([status]) + data)


IDENTITY = b"\x0a\x00\x02\x00\x40\x00" + b"bench".ljust(24, b"\0")
"""Ten elements of two levels, room for 64 patterns."""

TEN = np.array([1, 0, 1, 1, 0, 0, 0, 0, 0, 1], dtype=np.uint8)
V1_OPENING: list[Line] = [
    (frame(1, 1, b""), reply(1, 1, IDENTITY)),
    (frame(4, 2, b"\x00\x00"), reply(4, 2)),
    (frame(3, 3, b""), reply(3, 3, b"\x00\x00")),
]
SHOW = bytes.fromhex("a55a 01 02 04 0200 b040 48f0")
RAW = np.unpackbits(np.arange(1, 13, dtype=np.uint8))
RIS = np.unpackbits(np.arange(32, dtype=np.uint8))
RIS_HEX = bytes(range(32)).hex().upper().encode()
TILE = (np.arange(512) % 3 == 0).astype(np.uint8)
TILE_BITS = b";".join(b"1" if bit else b"0" for bit in TILE)
OFF = b";".join([b"0"] * 512)


def v1(link: Any, **rules: Any) -> PatternedSurface:
    given = {"rows": 2, "columns": 5, "settle": "1 ms"} | rules
    return LabctlV1Surface(LabctlV1Rules.model_validate(given), link, SimulatedClock(float("inf")))


def raw12(link: Any, sketch: str) -> PatternedSurface:
    rules = Raw12Rules.model_validate({"rows": 8, "columns": 12, "settle": "1 ms", "sketch": sketch})
    return Raw12Surface(rules, link, SimulatedClock(float("inf")))


def ris(link: Any, **rules: Any) -> PatternedSurface:
    return RisAsciiSurface(RisAsciiRules.model_validate({"settle": "1 ms"} | rules), link, SimulatedClock(float("inf")))


def tile(link: Any) -> PatternedSurface:
    rules = TileTcpRules.model_validate({"rows": 16, "columns": 32, "settle": "1 ms", "tiles": [7]})
    return TileTcpSurface(rules, link, SimulatedClock(float("inf")))


KINDS: dict[str, tuple[Callable[[Any], PatternedSurface], Pattern, list[Line], list[Line]]] = {
    "labctl-v1": (
        v1,
        TEN,
        V1_OPENING,
        [(SHOW, reply(2, 4)), (frame(3, 5, b""), reply(3, 5, b"\xb0\x40"))],
    ),
    "raw12 uno": (
        lambda link: raw12(link, "uno"),
        RAW,
        # The sketch still waits for two bytes of a request that another program left unfinished.
        [(b"\0", b""), (b"\0", b"\x06"), (bytes(12), b"\x06")],
        [(bytes(range(1, 13)), b"\x06")],
    ),
    "raw12 leonardo": (
        lambda link: raw12(link, "leonardo"),
        RAW,
        [*[(b"\1", b"")] * 13, (b"\1", b"\x06"), (b"\1\1" + bytes(12), b"\x06")],
        [(b"\1\1" + bytes(range(1, 13)), b"\x06")],
    ),
    "ris-ascii": (
        ris,
        RIS,
        [
            (b"\n", b""),
            (b"?SerialNo\n", b"#17\n"),
            (b"!0x" + b"0" * 64 + b"\n", b"#OK\n"),
            (b"?Pattern\n", b"#0X" + b"0" * 64 + b"\n"),
        ],
        [(b"!0x" + RIS_HEX + b"\n", b"#OK\n"), (b"?Pattern\n", b"#0X" + RIS_HEX + b"\r\n")],
    ),
    "tile-tcp": (tile, TILE, [(b"07" + OFF, b"a")], [(b"07" + TILE_BITS, b"a")]),
}


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def opened(script: Script, memory_byte_link: Callable[..., Any]) -> Callable[[str], PatternedSurface]:
    def opened(kind: str) -> PatternedSurface:
        build, _, opening, _ = KINDS[kind]
        surface = build(memory_byte_link(script))
        script.expect(*opening)
        surface.open()
        assert not script.lines
        return surface

    return opened


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_pattern_is_sent_acknowledged_and_read_back(kind: str, script: Script, opened: Callable[..., Any]) -> None:
    surface = opened(kind)
    _, pattern, _, showing = KINDS[kind]
    script.expect(*showing)
    surface.show(pattern)
    assert not script.lines
    assert surface.latched.tolist() == pattern.tolist()
    assert surface.toggles.tolist() == pattern.tolist()


@pytest.mark.parametrize(
    ("kind", "answer", "error", "says"),
    [
        ("labctl-v1", b"", LinkTimeoutError, "a byte was lost on the way during show"),
        ("labctl-v1", reply(2, 4)[:6], LinkTimeoutError, "6 of 10 bytes came"),
        ("labctl-v1", reply(2, 4, status=1), ControllerRefusedError, r"refuses \(1\): the check sum was wrong"),
        ("labctl-v1", reply(2, 4, status=9), ControllerRefusedError, "for a reason of its own"),
        ("labctl-v1", reply(2, 3), FrameSequenceError, "answers request 3"),
        ("labctl-v1", reply(3, 4), FrameSequenceError, "0x83"),
        ("labctl-v1", reply(2, 4)[:-1] + b"\0", FrameCheckError, "the line is noisy"),
        ("labctl-v1", b"\0" + reply(2, 4)[1:], LinkGarbledError, "begins with 00 5a where a5 5a belongs"),
        ("raw12 uno", b"", LinkTimeoutError, "a byte was probably lost"),
        ("raw12 uno", b"\x15", ControllerRefusedError, r"0x15"),
        ("raw12 uno", b"R", LinkGarbledError, "is it this sketch"),
        ("raw12 leonardo", b"\x15", ControllerRefusedError, "more than 128 patterns"),
        ("ris-ascii", b"", LinkTimeoutError, "silent to what it does not understand"),
        ("ris-ascii", b"#ERROR\n", ControllerRefusedError, "#ERROR"),
        ("ris-ascii", b"#O\n", LinkGarbledError, "answers '#O' where #OK belongs"),
        ("ris-ascii", b"\xff\n", LinkGarbledError, "which is no text"),
        ("tile-tcp", b"", LinkTimeoutError, "arrives in parts"),
        ("tile-tcp", b"b", ControllerRefusedError, "did not read 512 bits"),
        ("tile-tcp", b"c", LinkGarbledError, "neither 'a' nor 'b'"),
    ],
)
def test_each_wrong_answer_is_an_error_of_its_own(
    kind: str,
    answer: bytes,
    error: type[InstrumentError],
    says: str,
    script: Script,
    opened: Callable[..., Any],
) -> None:
    surface = opened(kind)
    _, pattern, _, showing = KINDS[kind]
    script.expect((showing[0][0], answer))
    with pytest.raises(error, match=says) as caught:
        surface.show(pattern)
    assert type(caught.value) is error
    assert caught.value.instrument == surface.name
    assert caught.value.command
    assert not script.lines


@pytest.mark.parametrize(
    ("kind", "again"),
    [
        (
            "labctl-v1",
            [
                (frame(1, 5, b""), reply(1, 5, IDENTITY)),
                (frame(2, 6, b"\xb0\x40"), reply(2, 6)),
                (frame(3, 7, b""), reply(3, 7, b"\xb0\x40")),
            ],
        ),
        ("raw12 uno", [(b"\0", b""), (b"\0", b"\x06"), *KINDS["raw12 uno"][3]]),
        ("ris-ascii", [(b"\n", b""), (b"?SerialNo\n", b"#17\n"), *KINDS["ris-ascii"][3]]),
        ("tile-tcp", KINDS["tile-tcp"][3]),
    ],
)
def test_after_a_fault_the_next_pattern_begins_in_step(
    kind: str, again: list[Line], script: Script, opened: Callable[..., Any]
) -> None:
    surface = opened(kind)
    _, pattern, _, showing = KINDS[kind]
    script.expect((showing[0][0], b""))
    with pytest.raises(LinkTimeoutError):
        surface.show(pattern)
    script.expect(*again)
    surface.show(pattern)
    assert not script.lines
    assert surface.resyncs == 1


@pytest.mark.parametrize(
    ("kind", "read_back"), [("labctl-v1", reply(3, 5, b"\xb0\0")), ("ris-ascii", b"#0X" + b"F" * 64 + b"\n")]
)
def test_what_reads_back_differently_is_told_by_element(
    kind: str, read_back: bytes, script: Script, opened: Callable[..., Any]
) -> None:
    surface = opened(kind)
    _, pattern, _, showing = KINDS[kind]
    script.expect(showing[0], (showing[1][0], read_back))
    with pytest.raises(PatternDiffersError, match=r"are not as acknowledged; element \d+ \(row \d+, column \d+"):
        surface.show(pattern)


def test_another_controller_after_a_fault_is_not_taken_for_the_first(
    script: Script, opened: Callable[..., Any]
) -> None:
    surface = opened("ris-ascii")
    script.expect((b"!0x" + RIS_HEX + b"\n", b""), (b"\n", b""), (b"?SerialNo\n", b"#18\n"))
    with pytest.raises(LinkTimeoutError):
        surface.show(RIS)
    with pytest.raises(InstrumentError, match="'#18' answers where '#17' did before"):
        surface.show(RIS)


def test_a_ris_that_has_lost_itself_is_started_anew(script: Script, opened: Callable[..., Any]) -> None:
    surface = opened("ris-ascii")
    script.expect(
        (b"!0x" + RIS_HEX + b"\n", b""),
        (b"\n", b""),
        (b"?SerialNo\n", b""),
        (b"!Reset\n", b"\nOpen Source RIS\n\n#READY!\n"),
        (b"\n", b""),
        (b"?SerialNo\n", b"#17\n"),
        *KINDS["ris-ascii"][3],
    )
    with pytest.raises(LinkTimeoutError):
        surface.show(RIS)
    surface.show(RIS)
    assert not script.lines


def test_stored_patterns_are_uploaded_at_once_and_shown_by_number(script: Script, opened: Callable[..., Any]) -> None:
    surface = opened("labctl-v1")
    assert isinstance(surface, LabctlV1Surface)
    script.expect((frame(5, 4, bytes.fromhex("0000 b040 4f80")), reply(5, 4)))
    surface.upload(np.stack([TEN, 1 - TEN]))
    script.expect(
        (frame(6, 5, b"\x01\x00"), reply(6, 5)),
        (frame(3, 6, b""), reply(3, 6, b"\x4f\x00")),
    )
    with pytest.raises(PatternDiffersError, match="1 elements"):
        surface.show_stored(1)
    script.expect((frame(1, 7, b""), reply(1, 7, IDENTITY)))
    with pytest.raises(InstrumentError, match="a restart loses them"):
        surface.show_stored(1)


def test_a_controller_with_other_elements_is_refused(script: Script, memory_byte_link: Callable[..., Any]) -> None:
    link = memory_byte_link(script)
    script.expect((frame(1, 1, b""), reply(1, 1, IDENTITY)))
    with pytest.raises(InstrumentError, match="has 10 elements of 2 levels where the rig file says 6 of 2"):
        v1(link, rows=2, columns=3).open()
    assert not link.is_open


def test_the_check_sum_is_that_of_the_standard() -> None:
    assert crc16(b"123456789") == 0x29B1
    assert frame(2, 4, b"\xb0\x40") == SHOW


@pytest.mark.parametrize("levels", [2, 3, 4, 16, 256])
def test_packed_levels_come_back(levels: int) -> None:
    patterns = np.random.default_rng(1).integers(0, levels, (3, 11)).astype(np.uint8)
    each = [packed(pattern, levels) for pattern in patterns]
    assert packed(patterns, levels) == b"".join(each)
    for pattern, data in zip(patterns, each, strict=True):
        assert unpacked(data, 11, levels).tolist() == pattern.tolist()


def test_the_request_that_rests_from_outside_has_a_number_of_its_own(memory_byte_link: Callable[..., Any]) -> None:
    """A late reply to the driver that is gone must not be taken for it."""
    numbers: list[int] = []

    def controller(request: bytes) -> bytes:
        numbers.append(request[4])
        return reply(request[3], request[4], IDENTITY if request[3] == 1 else b"")

    link = memory_byte_link(controller)
    at = SerialSettings(address="ASRL1::INSTR")
    rules = LabctlV1Rules.model_validate({"rows": 2, "columns": 5, "settle": "0 s", "rest": 1, "verify": False})
    surface = LabctlV1Surface(rules, link, SimulatedClock(float("inf")), at=at)
    surface.open()
    for _ in range(600):
        surface.show(TEN)
    assert set(numbers) == set(range(255))
    (step,) = surface.safe_plan()
    assert step.data == frame(4, 255, b"\xff\xc0")
    assert step.expected == reply(4, 255)
