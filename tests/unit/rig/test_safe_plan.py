"""The safe plan: in the order of safety, each step whatever became of the others, again and again for a time."""

import logging
import socket
import time
from collections.abc import Iterator
from threading import Event, Thread

import pytest

from labctl.contract.errors import InputError
from labctl.contract.safety import SafeOrder, SafeStep
from labctl.rig.safe_plan import carry_out, collect, send_over_socket, steps_as_json, steps_from_json, ways

Address = tuple[str, list[bytes], list[bytes]]


def step(order: SafeOrder, what: str, address: str = "X::INSTR", **others: str | bytes | float) -> SafeStep:
    return SafeStep(order, what, address, b"OUTP OFF\n", **others)  # pyright: ignore[reportArgumentType]


class Part:
    def __init__(self, *steps: SafeStep) -> None:
        self.steps = steps

    def safe_plan(self) -> tuple[SafeStep, ...]:
        return self.steps


@pytest.fixture
def instrument() -> Iterator[Address]:
    """An instrument on a socket: its address, what it received, and what it replies to each connection."""
    received: list[bytes] = []
    replies: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    link, _ = server.accept()
                except OSError:
                    return
                with link:
                    received.append(link.recv(4096))
                    link.sendall(replies.pop(0) if replies else b"")

        Thread(target=serve, daemon=True).start()
        yield f"TCPIP0::127.0.0.1::{server.getsockname()[1]}::SOCKET", received, replies
        server.shutdown(socket.SHUT_RDWR)


def test_steps_are_collected_in_the_order_of_safety() -> None:
    told, off, rest = (step(order, order.name) for order in (SafeOrder.TOLD, SafeOrder.POWER_OFF, SafeOrder.REST))
    assert collect([Part(told), object(), Part(rest, off)]) == (off, rest, told)


def test_steps_survive_being_written() -> None:
    steps = (SafeStep(SafeOrder.REST, "surface at rest", "A", bytes(range(256)), b"\xff", "m:f", 9600, False, 5.0),)
    assert steps_from_json(steps_as_json(steps)) == steps


def test_a_step_is_sent_and_its_reply_awaited(instrument: Address) -> None:
    address, received, replies = instrument
    replies += [b"", b"ok 1\n", b"0\n"]
    send_over_socket(step(SafeOrder.POWER_OFF, "off", address), 5)
    send_over_socket(step(SafeOrder.POWER_OFF, "off", address, expected=b"1\n"), 5)
    with pytest.raises(OSError, match=r"answered b'0\\n', expected b'1\\n'"):
        send_over_socket(step(SafeOrder.POWER_OFF, "off", address, expected=b"1\n"), 5)
    deadline_s = time.monotonic() + 60
    while len(received) < 3 and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert received == [b"OUTP OFF\n"] * 3


def test_what_fails_is_tried_again_while_the_others_are_done(caplog: pytest.LogCaptureFixture) -> None:
    done: list[str] = []
    failures = {"off": 2, "told": 10**9}

    def way(what: SafeStep, timeout_s: float) -> None:
        failures[what.what] = failures.get(what.what, 0) - 1
        if failures[what.what] >= 0:
            raise {"off": OSError, "told": ZeroDivisionError}[what.what]("unplugged")
        done.append(what.what)

    steps = [step(SafeOrder.POWER_OFF, "off"), step(SafeOrder.REST, "rest"), step(SafeOrder.TOLD, "told")]
    with caplog.at_level(logging.WARNING):
        assert carry_out([(each, way) for each in steps], 0.3) == [steps[2]]
    assert done == ["rest", "off"]
    assert caplog.messages == ["done: rest", "done: off", "NOT DONE: told at X::INSTR: unplugged"]


def test_what_hangs_at_one_address_keeps_no_other_waiting(caplog: pytest.LogCaptureFixture) -> None:
    done: list[str] = []
    hangs = Event()

    def way(what: SafeStep, timeout_s: float) -> None:
        if what.address == "HANGS":
            hangs.wait()
        done.append(what.what)

    steps = [
        step(SafeOrder.POWER_OFF, "lost", "HANGS", try_s=0.05),
        step(SafeOrder.POWER_OFF, "off", "A"),
        step(SafeOrder.REST, "rest 1", "B"),
        step(SafeOrder.REST, "rest 2", "B"),
        step(SafeOrder.TOLD, "told", "A"),
    ]
    assert carry_out([(each, way) for each in steps], 0.1) == [steps[0]]
    assert done == ["off", "rest 1", "rest 2", "told"]
    assert caplog.messages[-1] == "NOT DONE: lost at HANGS: it hangs"
    hangs.set()


@pytest.mark.parametrize(
    ("through", "message"),
    [
        ("", r"safe plan, off: 'X::INSTR' is no TCPIP::HOST::PORT::SOCKET, so the step must say `through`"),
        ("nowhere:send", r"safe plan, off: 'nowhere:send' cannot be loaded: No module"),
        ("json:send", r"safe plan, off: 'json:send' cannot be loaded: module 'json' has no"),
    ],
)
def test_a_step_that_nothing_can_carry_out_is_found_before(through: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ways([step(SafeOrder.POWER_OFF, "off", through=through)])


def test_a_driver_carries_out_its_own() -> None:
    ((_, way),) = ways([step(SafeOrder.POWER_OFF, "off", through="labctl.rig.safe_plan:send_over_socket")])
    assert way is send_over_socket
