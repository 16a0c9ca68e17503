"""A stream link over TCP: exact counts, terminators, and every fault."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from labctl_drivers.transport.link import LinkError, LinkGarbledError, LinkLostError, LinkRefusedError, LinkTimeoutError
from labctl_drivers.transport.settings import StreamSettings
from labctl_drivers.transport.stream_link import StreamLink
from labctl_simulators.instruments.servers.stream_socket import StreamSocketServer
from labctl_simulators.instruments.servers.wire_faults import NETWORK, WireFaultKind

StartLink = Callable[..., tuple[StreamSocketServer, StreamLink]]

EXPECTED: dict[WireFaultKind, type[LinkError]] = {
    "stall": LinkTimeoutError,
    "silence": LinkTimeoutError,
    "short": LinkTimeoutError,
    "close": LinkLostError,
    "reset": LinkLostError,
}


@pytest.fixture
def start_link() -> Iterator[StartLink]:
    with ExitStack() as stack:

        def start(handler: Callable[[bytes], bytes], **given: Any) -> tuple[StreamSocketServer, StreamLink]:
            server = stack.enter_context(StreamSocketServer(handler))
            settings = {"address": server.address, "timeout": "10 s", "recovery": {"backoff": "20 ms"}} | given
            link = StreamLink(StreamSettings.model_validate(settings), "surface")
            stack.callback(link.close)
            link.open()
            return server, link

        yield start


def test_counts_and_terminators(start_link: StartLink) -> None:
    _, link = start_link(lambda arrived: arrived)
    frame = bytes(range(256)) * 300
    assert link.exchange(frame, n_bytes=len(frame)) == frame
    assert link.exchange_until(b"0.125\r\n", b"\r\n") == b"0.125"
    with pytest.raises(LinkGarbledError, match="more than one reply"):
        link.exchange_until(b"1\n2\n", b"\n")
    assert link.exchange(b"a", n_bytes=1) == b"a"
    assert link.counts.recoveries == 1


def test_surplus_is_found_before_the_next_request(start_link: StartLink) -> None:
    _, link = start_link(lambda arrived: arrived)
    assert link.exchange(b"abc", n_bytes=2) == b"ab"
    time.sleep(0.05)
    with pytest.raises(LinkGarbledError, match="b'c' was waiting before the request"):
        link.exchange(b"d", n_bytes=1)
    assert link.exchange(b"e", n_bytes=1) == b"e"


@pytest.mark.parametrize("kind", [kind for kind in NETWORK if kind in EXPECTED])
def test_a_fault_is_detected_as_itself_and_left_behind(kind: WireFaultKind, start_link: StartLink) -> None:
    server, link = start_link(lambda arrived: arrived * 4)
    server.faults.arm(kind, 0.5)
    with pytest.raises(EXPECTED[kind]) as caught:
        link.exchange(b"ab", n_bytes=8, timeout_s=0.2 if EXPECTED[kind] is LinkTimeoutError else None)
    assert caught.value.instrument == "surface"
    assert caught.value.command == "b'ab'"
    assert link.exchange(b"cd", n_bytes=8) == b"cdcdcdcd"
    assert link.counts.faults.total() == 1
    assert link.counts.recoveries == 1


def test_nothing_at_the_address(start_link: StartLink) -> None:
    server, link = start_link(lambda arrived: arrived, recovery={"attempts": 1})
    link.close()
    with pytest.raises(LinkRefusedError, match="not open"):
        link.exchange(b"a", n_bytes=1)
    server.stop()
    with pytest.raises(LinkRefusedError, match="nothing accepts a connection"):
        link.open()
    server.start()
    link.open()
    assert link.exchange(b"a", n_bytes=1) == b"a"


def test_a_peer_that_hangs_up_is_called_again(start_link: StartLink) -> None:
    server, link = start_link(lambda arrived: arrived)
    assert link.exchange(b"c", n_bytes=1) == b"c"  # the server knows of the connection now
    server.disconnect()
    time.sleep(0.2)
    with pytest.raises(LinkLostError):
        link.exchange(b"a", n_bytes=1)
    assert link.exchange(b"b", n_bytes=1) == b"b"
