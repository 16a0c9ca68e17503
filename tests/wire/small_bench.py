"""A small instrument, the three servers that put it on a network, and links to them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from labctl_drivers.transport.build import build_link
from labctl_drivers.transport.message_link import MessageLink
from labctl_drivers.transport.settings import LinkSettings
from labctl_simulators.instruments.servers.hislip import HislipServer
from labctl_simulators.instruments.servers.scpi_socket import ScpiSocketServer
from labctl_simulators.instruments.servers.tcp_server import TcpServer
from labctl_simulators.instruments.servers.vxi11 import Vxi11Server

from labctl.contract.clock import WallClock
from labctl.contract.driver import BuildContext

IDENTITY = "labctl,bench,0,1"
SERVERS: dict[str, type[TcpServer]] = {"socket": ScpiSocketServer, "hislip": HislipServer, "vxi11": Vxi11Server}


class SmallInstrument:
    """Answers `BLOCK?` with a payload, `ECHO? TEXT` with the text and `*IDN?`; keeps what it was told."""

    def __init__(self, payload: bytes = bytes(range(256)) * 12, tail: bytes = b"\n") -> None:
        self.payload = payload
        self.tail = tail
        self.identity = IDENTITY
        self.told: list[str] = []

    def __call__(self, message: bytes) -> bytes | None:
        text = message.decode()
        self.told.append(text)
        if text == "*IDN?":
            return self.identity.encode() + b"\n"
        if text == "BLOCK?":
            return block(self.payload) + self.tail
        if text.startswith("ECHO? "):
            return text.removeprefix("ECHO? ").encode() + b"\n"
        return None


def block(payload: bytes) -> bytes:
    digits = str(len(payload)).encode()
    return b"#" + str(len(digits)).encode() + digits + payload


def link_to(address: str, **settings: Any) -> MessageLink:
    given = {"address": address, "timeout": "10 s", "recovery": {"attempts": 3, "backoff": "20 ms"}} | settings
    return build_link(LinkSettings.model_validate(given), BuildContext("vna", Path(), WallClock()))


@dataclass
class Bench:
    """An instrument on a server and the link to it."""

    instrument: SmallInstrument
    server: TcpServer
    link: MessageLink


StartBench = Callable[..., Bench]


def every_byte_in(dtype: str, points: int = 400) -> bytes:
    """Return numbers in a byte order whose bytes include every value, newlines among them."""
    rng = np.random.default_rng(3)
    payload = rng.standard_normal(points).astype(dtype).tobytes() + bytes(range(256)) + b"\n\r\n" * 8
    assert len(set(payload)) == 256
    return payload[: len(payload) // 8 * 8]
