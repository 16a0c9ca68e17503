"""The example bytes of the protocol page are what driver and virtual controller say to one another."""

import re
from pathlib import Path

from labctl_drivers.metasurface.labctl_v1 import REPLY, Command, crc16
from labctl_simulators.instruments.metasurface.labctl_v1 import check_sum

PAGE = (Path(__file__).parents[3] / "docs/reference/metasurface-protocol.md").read_text(encoding="utf-8")


def test_every_example_frame_is_whole_and_bears_its_check_sum() -> None:
    frames = [bytes.fromhex(text) for text in re.findall(r"\| `(A5 5A(?: [0-9A-F]{2})+)` \|", PAGE)]
    assert len(frames) == 11
    for frame in frames:
        assert frame[3] & ~REPLY in set(Command)
        assert len(frame) == 9 + int.from_bytes(frame[5:7], "little")
        assert check_sum(frame[2:-2]) == crc16(frame[2:-2]) == int.from_bytes(frame[-2:], "little")


def test_the_test_vector_is_the_standards() -> None:
    assert "0x29B1" in PAGE
    assert check_sum(b"123456789") == crc16(b"123456789") == 0x29B1
