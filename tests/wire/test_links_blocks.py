"""Blocks of every length and every byte, with every terminator, and two threads that share a link."""

import threading
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from labctl_drivers.transport.block import Terminator, block_payload, payload_start
from labctl_drivers.transport.link import LinkError, LinkGarbledError, LinkTimeoutError
from labctl_simulators.instruments.servers.wire_faults import NETWORK, WireFaultPlan, WireFaultSchedule

from labctl.contract.errors import InputError
from tests.wire.small_bench import SERVERS, Bench, SmallInstrument, StartBench, block, every_byte_in, link_to


@pytest.mark.parametrize("tail", [b"", b"\n", b"\r\n"])
@pytest.mark.parametrize("dtype", ["<f8", ">f8"])
def test_every_byte_value_in_both_byte_orders(start_bench: StartBench, transport: str, dtype: str, tail: bytes) -> None:
    payload = every_byte_in(dtype)
    bench = start_bench(transport, SmallInstrument(payload, tail))
    terminators: tuple[Terminator, ...] = ("required" if tail else "none", "maybe")
    for terminator in terminators * 2:
        received = bench.link.query_block("BLOCK?", n_bytes=len(payload), terminator=terminator)
        assert bytes(received) == payload
        np.testing.assert_array_equal(np.frombuffer(received, dtype), np.frombuffer(payload, dtype))
        assert bench.link.query("ECHO? between") == "between"
    assert bench.link.counts.faults.total() == 0


def test_block_longer_than_any_buffer(bench: Bench) -> None:
    bench.instrument.payload = np.random.default_rng(0).bytes(16 * 200_001)
    received = bench.link.query_block("BLOCK?", n_bytes=len(bench.instrument.payload))
    assert bytes(received) == bench.instrument.payload


def test_block_of_another_length_than_asked_for(bench: Bench) -> None:
    n_bytes = len(bench.instrument.payload)
    for asked in (n_bytes - 8, n_bytes + 8):
        with pytest.raises(LinkGarbledError, match=f"a block of {n_bytes} bytes where {asked} were expected"):
            bench.link.query_block("BLOCK?", n_bytes=asked)
        assert bench.link.query("ECHO? next") == "next"


def test_text_where_a_block_was_expected(bench: Bench) -> None:
    with pytest.raises(LinkGarbledError, match="no block but b'-113"):
        bench.link.query_block('ECHO? -113,"Undefined header"', n_bytes=16)


def test_block_where_text_was_expected(bench: Bench) -> None:
    bench.instrument.payload = b"12345678"
    with pytest.raises(LinkGarbledError, match="a block where text was expected"):
        bench.link.query("BLOCK?")
    assert bench.link.query("ECHO? #H1F") == "#H1F"


def test_missing_terminator_on_a_stream(start_bench: StartBench) -> None:
    bench = start_bench("socket", SmallInstrument(tail=b""))
    with pytest.raises(LinkTimeoutError):
        bench.link.query_block("BLOCK?", n_bytes=len(bench.instrument.payload), timeout_s=0.2)
    received = bench.link.query_block("BLOCK?", n_bytes=len(bench.instrument.payload), terminator="none")
    assert bytes(received) == bench.instrument.payload


def test_terminator_on_a_stream_that_should_have_none(start_bench: StartBench) -> None:
    bench = start_bench("socket")
    n_bytes = len(bench.instrument.payload)

    def ask_twice() -> None:
        bench.link.query_block("BLOCK?", n_bytes=n_bytes, terminator="none")
        bench.link.query_block("BLOCK?", n_bytes=n_bytes, terminator="none")

    with pytest.raises(LinkGarbledError, match=r"followed by b'\\n'|out of step: b'\\n'"):
        ask_twice()


class LateNewline(SmallInstrument):
    """Sends the newline of a block only with the answer after it."""

    def __call__(self, message: bytes) -> bytes | None:
        answer = super().__call__(message)
        late = b"\n" if self.told[-2:-1] == ["BLOCK?"] else b""
        return None if answer is None else late + answer


@pytest.mark.parametrize("then", ["BLOCK?", "ECHO? text"])
def test_late_terminator_that_may_come_is_not_the_next_answer(start_bench: StartBench, then: str) -> None:
    instrument = LateNewline(tail=b"")
    link = start_bench("socket", instrument).link
    link.query_block("BLOCK?", n_bytes=len(instrument.payload), terminator="maybe")
    if then == "BLOCK?":
        received = link.query_block("BLOCK?", n_bytes=len(instrument.payload), terminator="maybe")
        assert bytes(received) == instrument.payload
    else:
        assert link.query(then) == "text"


@pytest.mark.parametrize("command", ["ECHO? ü", "ECHO? 1\nECHO? 2", "ECHO?\t1"])
def test_command_that_is_no_line_of_ascii_is_refused(start_bench: StartBench, command: str) -> None:
    bench = start_bench("socket")
    with pytest.raises(InputError, match=r"vna: .* cannot be sent"):
        bench.link.query(command)
    assert bench.instrument.told == ["*IDN?"]


@pytest.fixture(scope="module")
def shared_benches() -> Iterator[dict[str, Bench]]:
    benches: dict[str, Bench] = {}
    for transport, server_class in SERVERS.items():
        instrument = SmallInstrument()
        server = server_class(instrument)
        server.start()
        benches[transport] = Bench(instrument, server, link_to(server.address, timeout="5 s"))
        benches[transport].link.open()
    yield benches
    for bench in benches.values():
        bench.link.close()
        bench.server.stop()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(length=st.integers(0, 70_000) | st.sampled_from([0, 1, 9, 10, 99, 100, 65536]), seed=st.integers(0, 2**32 - 1))
def test_blocks_of_any_length(shared_benches: dict[str, Bench], transport: str, length: int, seed: int) -> None:
    bench = shared_benches[transport]
    bench.instrument.payload = np.random.default_rng(seed).bytes(length)
    assert bytes(bench.link.query_block("BLOCK?", n_bytes=length)) == bench.instrument.payload
    assert bench.link.query("ECHO? next") == "next"


@given(payload=st.binary(max_size=300), cut=st.integers(0, 320), tail=st.sampled_from([b"", b"\n", b"\r\n"]))
def test_cut_block_is_never_taken_for_a_whole_one(payload: bytes, cut: int, tail: bytes) -> None:
    message = block(payload) + tail
    assert bytes(block_payload(message, len(payload), "maybe")) == payload
    whole = len(block(payload))
    if cut < whole:
        with pytest.raises(ValueError, match="ends after"):
            block_payload(message[:cut], len(payload), "maybe")
        assert payload_start(message[: min(cut, 1)], len(payload)) is None


@pytest.mark.parametrize("head", [b"X1", b"#0", b"#X", b"#1x", b"#2 5", b"12"])
def test_header_that_is_none(head: bytes) -> None:
    with pytest.raises(ValueError, match="block"):
        payload_start(head, 5)


def test_two_threads_never_get_each_others_answers(start_bench: StartBench, transport: str) -> None:
    n_queries = 2000
    bench = start_bench(transport, timeout="20 s")
    wrong: list[tuple[str, str]] = []
    answered = {"a": 0, "b": 0}
    start = threading.Barrier(2)

    def ask(who: str) -> None:
        start.wait()
        for number in range(n_queries):
            text = f"{who} {number}"
            answer = bench.link.query(f"ECHO? {text}")
            answered[who] += 1
            if answer != text:
                wrong.append((text, answer))

    threads = [threading.Thread(target=ask, args=(who,)) for who in answered]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []
    assert answered == {"a": n_queries, "b": n_queries}


def test_two_threads_get_their_own_answers_under_random_faults(start_bench: StartBench) -> None:
    faults_at_random = [{"kind": kind, "rate": 0.01} for kind in NETWORK if kind != "stall"]
    bench = start_bench("socket", recovery={"attempts": 5, "backoff": "1 ms"})
    bench.link.settings = bench.link.settings.model_copy(update={"timeout_s": 0.2})
    bench.server.faults = WireFaultSchedule(WireFaultPlan.model_validate({"seed": 5, "list": faults_at_random}))
    wrong: list[str] = []
    faults = {"a": 0, "b": 0}

    def ask(who: str) -> None:
        for number in range(200):
            text = f"{who} {number}"
            try:
                if bench.link.query(f"ECHO? {text}") != text:
                    wrong.append(text)
            except LinkError:
                faults[who] += 1

    threads = [threading.Thread(target=ask, args=(who,)) for who in faults]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []
    assert faults["a"] + faults["b"] == bench.link.counts.faults.total() > 5
