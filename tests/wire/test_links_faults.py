"""Every fault on every network transport: detected as itself, never a number, and the link works again after it."""

import gc
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from labctl_drivers.transport.link import (
    LinkError,
    LinkGarbledError,
    LinkLostError,
    LinkRefusedError,
    LinkTimeoutError,
)
from labctl_simulators.instruments.servers.wire_faults import NETWORK, WireFaultKind

from tests.wire.small_bench import IDENTITY, SERVERS, Bench, SmallInstrument, StartBench, link_to

TIMEOUT, LOST, GARBLED = LinkTimeoutError, LinkLostError, LinkGarbledError

EXPECTED: dict[tuple[str, WireFaultKind], type[LinkError]] = {
    **{(transport, kind): TIMEOUT for transport in SERVERS for kind in ("stall", "silence")},
    **{(transport, kind): LOST for transport in SERVERS for kind in ("close", "reset")},
    **{(transport, kind): GARBLED for transport in SERVERS for kind in ("bad-header", "long", "garbage")},
    # A stream has no end of message: bytes that were announced and do not come are waited for.
    ("socket", "short"): TIMEOUT,
    ("hislip", "short"): GARBLED,
    ("vxi11", "short"): GARBLED,
}

leaves_sockets = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
"""Of tests in which pyvisa-py is refused a HiSLIP connection: it leaves the socket to the garbage collector."""


@pytest.fixture
def swept() -> Iterator[None]:
    yield
    gc.collect()


SHORT_S = 0.2
"""Time-out of a query that is to run into it; every other one has time, however busy the computer is."""


def ask(bench: Bench, what: str, timeout_s: float | None = None) -> str | bytes:
    if what == "block":
        n_bytes = len(bench.instrument.payload)
        return bytes(bench.link.query_block("BLOCK?", n_bytes=n_bytes, timeout_s=timeout_s))
    return bench.link.query("ECHO? 0.1234567", timeout_s=timeout_s)


@pytest.mark.parametrize("what", ["block", "text"])
@pytest.mark.parametrize("kind", NETWORK)
def test_fault_is_detected_as_itself_and_the_next_query_is_right(
    bench: Bench, transport: str, kind: WireFaultKind, what: str
) -> None:
    good = ask(bench, what)
    expected = EXPECTED[transport, kind]
    bench.server.faults.arm(kind, 0.4)

    with pytest.raises(expected) as caught:
        ask(bench, what, SHORT_S if expected is TIMEOUT else None)

    assert caught.value.instrument == "vna"
    assert caught.value.command in ("BLOCK?", "ECHO? 0.1234567")
    assert ask(bench, what) == good
    assert bench.link.counts.recoveries == 1
    assert bench.link.counts.faults.total() == 1
    assert bench.server.faults.struck == [kind]


def test_stall_within_the_timeout_is_no_fault(bench: Bench) -> None:
    bench.server.faults.arm("stall", 0.1)
    assert ask(bench, "block") == bench.instrument.payload
    assert bench.link.counts.faults.total() == 0


def test_late_reply_never_answers_the_next_query(bench: Bench) -> None:
    bench.server.faults.arm("stall", 0.5)
    with pytest.raises(LinkTimeoutError):
        bench.link.query("ECHO? late", timeout_s=SHORT_S)
    for number in range(20):
        assert bench.link.query(f"ECHO? {number}") == str(number)


def test_closed_peer_is_seen_long_before_the_timeout(start_bench: StartBench, transport: str) -> None:
    bench = start_bench(transport, timeout="60 s")
    bench.server.faults.arm("close")
    with pytest.raises(LinkLostError):
        ask(bench, "block")
    assert ask(bench, "text") == "0.1234567"
    bench.server.disconnect()
    with pytest.raises(LinkLostError):
        ask(bench, "text")
    assert ask(bench, "text") == "0.1234567"


def test_timeout_of_a_query_replaces_the_links_own(start_bench: StartBench, transport: str) -> None:
    bench = start_bench(transport, timeout="60 s")
    bench.server.faults.arm("silence")
    with pytest.raises(LinkTimeoutError):
        bench.link.query("ECHO? 1", timeout_s=0.1)
    bench.server.faults.arm("stall", 0.2)
    assert bench.link.query("ECHO? 2") == "2"


@leaves_sockets
def test_switched_off_instrument_is_refused_and_taken_back(bench: Bench, swept: None) -> None:
    bench.server.stop()
    with pytest.raises(LinkLostError):
        ask(bench, "text")
    with pytest.raises(LinkRefusedError):
        ask(bench, "text")
    bench.server.start()
    assert ask(bench, "text") == "0.1234567"


@leaves_sockets
def test_another_instrument_behind_the_address_is_refused(bench: Bench, swept: None) -> None:
    bench.server.stop()
    with pytest.raises(LinkLostError):
        ask(bench, "text")
    bench.instrument.identity = "labctl,bench,1,1"
    bench.server.start()
    with pytest.raises(LinkGarbledError, match="another instrument answers: 'labctl,bench,1,1'"):
        ask(bench, "text")
    assert "ECHO? 0.1234567" not in bench.instrument.told
    bench.instrument.identity = IDENTITY
    assert ask(bench, "text") == "0.1234567"


@leaves_sockets
def test_nothing_at_the_address(transport: str, swept: None) -> None:
    server = SERVERS[transport](SmallInstrument())
    server.start()
    server.stop()
    link = link_to(server.address)
    with pytest.raises(LinkRefusedError):
        link.open()
    server.start()
    link.open()
    assert link.identity == IDENTITY
    link.close()
    server.stop()


def test_instrument_that_does_not_identify_leaves_nothing_open(transport: str) -> None:
    with SERVERS[transport](SmallInstrument()) as server:
        server.faults.arm("silence")
        link = link_to(server.address, timeout="200 ms")
        with pytest.raises(LinkTimeoutError):
            link.open()
        with pytest.raises(LinkRefusedError, match="not open"):
            link.query("ECHO? 1")
        link.settings = link.settings.model_copy(update={"timeout_s": 10.0})
        link.open()
        assert link.query("ECHO? 1") == "1"
        link.close()


def test_address_in_use_names_its_user(bench: Bench) -> None:
    second = link_to(bench.server.address)
    with pytest.raises(LinkRefusedError, match=r"process \d+ \('vna'\) uses TCPIP"):
        second.open()
    bench.link.close()
    second.open()
    assert second.query("ECHO? 1") == "1"
    second.close()


def test_instrument_whose_queries_all_fail_is_given_up_within_bounds(start_bench: StartBench) -> None:
    bench = start_bench("socket", recovery={"attempts": 2, "backoff": "10 ms"})
    bench.link.settings = bench.link.settings.model_copy(update={"timeout_s": 0.1})
    for _ in range(4):
        bench.server.faults.arm("silence")
    for _ in range(2):
        with pytest.raises(LinkTimeoutError):
            ask(bench, "text")
    assert bench.instrument.told.count("*IDN?") == 3
    assert bench.link.counts.recoveries == 0


def test_bytes_nobody_asked_for_are_out_of_step(start_bench: StartBench) -> None:
    class Talkative(SmallInstrument):
        def __call__(self, message: bytes) -> bytes | None:
            return b"unasked\n" if message == b"TELL" else super().__call__(message)

    bench = start_bench("socket", Talkative())
    bench.link.write("TELL")
    time.sleep(0.1)
    with pytest.raises(LinkGarbledError, match="out of step: b'unasked"):
        bench.link.query("ECHO? 1")
    assert "ECHO? 1" not in bench.instrument.told
    assert bench.link.query("ECHO? 2") == "2"


def test_interrupted_query_leaves_the_link_out_of_step(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(bench.link, "_receive_line", interrupt)
        with pytest.raises(KeyboardInterrupt):
            bench.link.query("ECHO? interrupted")
    assert bench.link.query("ECHO? next") == "next"


def test_commands_in_a_row_do_not_wait_for_acknowledgements(start_bench: StartBench) -> None:
    link = start_bench("socket").link
    assert link._connection._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)  # type: ignore[attr-defined]


def test_making_safe_cuts_off_a_query_on_another_thread(start_bench: StartBench, transport: str) -> None:
    bench = start_bench(transport, timeout="60 s")
    bench.server.faults.arm("silence")
    ended: list[type[BaseException]] = []

    def sweep() -> None:
        try:
            bench.link.query("ECHO? long sweep")
        except LinkError as error:
            ended.append(type(error))

    worker = threading.Thread(target=sweep)
    worker.start()
    while "ECHO? long sweep" not in bench.instrument.told:
        time.sleep(0.01)
    bench.link.write_now("OUTP OFF")
    worker.join()

    assert ended == [LinkLostError]
    assert ask(bench, "text") == "0.1234567"
    assert bench.instrument.told[-3:] == ["OUTP OFF", "*IDN?", "ECHO? 0.1234567"]


def test_making_safe_on_a_link_in_step_is_a_command_like_any_other(bench: Bench) -> None:
    bench.link.write_now("OUTP OFF")
    assert ask(bench, "text") == "0.1234567"
    assert bench.instrument.told == ["*IDN?", "OUTP OFF", "ECHO? 0.1234567"]


def test_making_safe_does_not_ask_who_is_there(bench: Bench) -> None:
    bench.server.faults.arm("silence")
    with pytest.raises(LinkTimeoutError):
        ask(bench, "text", SHORT_S)
    bench.instrument.identity = "somebody else"
    bench.link.write_now("OUTP OFF")
    with pytest.raises(LinkGarbledError, match="another instrument answers"):
        ask(bench, "text")
    assert bench.instrument.told[2:] == ["OUTP OFF", "*IDN?"]
