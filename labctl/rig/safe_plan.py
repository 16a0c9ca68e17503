"""The safe plan of a rig: collected from its instruments, written as JSON, carried out without their drivers."""

import importlib
import itertools
import logging
import re
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from threading import Event, Thread
from typing import Any

from labctl.contract.errors import InputError
from labctl.contract.safety import Safeguarded, SafeOrder, SafeStep

PAUSE_S = 0.05

_SOCKET = re.compile(r"TCPIP\d*::([^:\s]+)::(\d{1,5})::SOCKET", re.IGNORECASE)

_log = logging.getLogger("labctl.rig.guard")

CarryOut = Callable[[SafeStep, float], None]
"""Sends a step within so many seconds. Raises `OSError`."""


def collect(parts: Iterable[object]) -> tuple[SafeStep, ...]:
    """Return the steps of all `parts` that have some, in the order in which they are to be carried out."""
    steps = [step for part in parts if isinstance(part, Safeguarded) for step in part.safe_plan()]
    return tuple(sorted(steps, key=lambda step: step.order))


def steps_as_json(steps: Iterable[SafeStep]) -> list[dict[str, Any]]:
    """Return steps as JSON values."""
    return [
        {**asdict(step), "data": step.data.decode("latin-1"), "expected": step.expected.decode("latin-1")}
        for step in steps
    ]


def steps_from_json(described: Iterable[dict[str, Any]]) -> tuple[SafeStep, ...]:
    """Return the steps that `steps_as_json` described."""
    return tuple(_from_json(**step) for step in described)


def _from_json(order: int, data: str, expected: str, **others: Any) -> SafeStep:
    return SafeStep(SafeOrder(order), data=data.encode("latin-1"), expected=expected.encode("latin-1"), **others)


def ways(steps: Iterable[SafeStep]) -> list[tuple[SafeStep, CarryOut]]:
    """Return steps with what carries each out, loaded now. Raises `InputError` for one that nothing can."""
    return [(step, _way(step)) for step in steps]


def _way(step: SafeStep) -> CarryOut:
    if step.through:
        module, _, function = step.through.partition(":")
        try:
            way: CarryOut = getattr(importlib.import_module(module), function)
        except (ImportError, AttributeError) as error:
            raise InputError(f"safe plan, {step.what}: '{step.through}' cannot be loaded: {error}") from error
        return way
    if not _SOCKET.fullmatch(step.address):
        raise InputError(
            f"safe plan, {step.what}: '{step.address}' is no TCPIP::HOST::PORT::SOCKET, so the step must say `through`"
        )
    return send_over_socket


def carry_out(plan: Sequence[tuple[SafeStep, CarryOut]], for_s: float) -> list[SafeStep]:
    """Carry out the steps in order, those that fail again and again for `for_s` seconds; return what is not done.

    A step begins when those of earlier orders have been tried once. Addresses do not wait for each other otherwise: a
    network that is gone, or a board that starts anew, must not keep the others waiting.
    """
    deadline_s = time.monotonic() + for_s
    errands: list[_Errand] = []
    for _, group in itertools.groupby(plan, key=lambda planned: planned[0].order):
        of_order = list(group)
        addresses = dict.fromkeys(step.address.upper() for step, _ in of_order)
        begun = [
            _Errand([each for each in of_order if each[0].address.upper() == address], deadline_s)
            for address in addresses
        ]
        for errand in begun:
            errand.wait_until_tried()
        errands += begun
    return [step for errand in errands for step in errand.not_done()]


class _Errand:
    """Steps of one order at one address, carried out by a thread of their own."""

    def __init__(self, plan: Sequence[tuple[SafeStep, CarryOut]], deadline_s: float) -> None:
        self._waiting = list(plan)
        self._failures: dict[SafeStep, str] = {}
        self._deadline_s = deadline_s
        self._tried = Event()
        self._try_s = sum(step.try_s for step, _ in plan)
        self._thread = Thread(target=self._work, name=plan[0][0].address, daemon=True)
        self._thread.start()

    def wait_until_tried(self) -> None:
        """Return when every step has been tried, or hangs."""
        self._tried.wait(2.0 * self._try_s)

    def not_done(self) -> list[SafeStep]:
        """Return what is not done at the deadline."""
        self._thread.join(max(0.0, self._deadline_s + self._try_s - time.monotonic()))
        waiting = [step for step, _ in self._waiting]
        for step in waiting:
            _log.error("NOT DONE: %s at %s: %s", step.what, step.address, self._failures.get(step, "it hangs"))
        return waiting

    def _work(self) -> None:
        while True:
            self._waiting = [(step, way) for step, way in self._waiting if not self._carried_out(step, way)]
            self._tried.set()
            if not self._waiting or time.monotonic() >= self._deadline_s:
                return
            time.sleep(PAUSE_S)

    def _carried_out(self, step: SafeStep, way: CarryOut) -> bool:
        try:
            way(step, step.try_s)
        except Exception as error:  # noqa: BLE001 - whatever a step raises, the next one must be tried
            self._failures[step] = str(error) or type(error).__name__
            return False
        _log.warning("done: %s", step.what)
        return True


def send_over_socket(step: SafeStep, timeout_s: float) -> None:
    """Send a step over a connection of its own. Raises `OSError`."""
    match = _SOCKET.fullmatch(step.address)
    if match is None:
        raise OSError(f"'{step.address}' is no SOCKET address")
    deadline_s = time.monotonic() + timeout_s
    with socket.create_connection((match[1], int(match[2])), timeout=timeout_s) as link:
        link.sendall(step.data)
        reply = bytearray()
        while step.expected not in reply:
            link.settimeout(max(deadline_s - time.monotonic(), 1e-3))
            received = link.recv(4096)
            if not received:
                raise OSError(f"it answered {bytes(reply)!r}, expected {step.expected!r}")
            reply += received
        link.shutdown(socket.SHUT_WR)
