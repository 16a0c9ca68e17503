"""The safe plan of a rig: collected from its instruments, written as JSON, carried out without their drivers."""

import importlib
import logging
import re
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import Any

from labctl.contract.errors import InputError
from labctl.contract.safety import Safeguarded, SafeOrder, SafeStep

TRY_S = 0.4
"""One try of one step: a host that is gone from the network must not keep the steps of the others waiting."""

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
    return tuple(
        SafeStep(
            SafeOrder(step["order"]),
            step["what"],
            step["address"],
            step["data"].encode("latin-1"),
            step["expected"].encode("latin-1"),
            step["through"],
            step["baud"],
        )
        for step in described
    )


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
    """Carry out the steps in order, those that fail again and again for `for_s` seconds; return what is not done."""
    deadline_s = time.monotonic() + for_s
    waiting = list(plan)
    failures: dict[SafeStep, str] = {}
    while True:
        waiting = [(step, way) for step, way in waiting if not _carried_out(step, way, failures)]
        if not waiting or time.monotonic() >= deadline_s:
            break
        time.sleep(PAUSE_S)
    for step, _ in waiting:
        _log.error("NOT DONE: %s at %s: %s", step.what, step.address, failures[step])
    return [step for step, _ in waiting]


def _carried_out(step: SafeStep, way: CarryOut, failures: dict[SafeStep, str]) -> bool:
    try:
        way(step, TRY_S)
    except Exception as error:  # noqa: BLE001 - whatever a step raises, the next one must be tried
        failures[step] = str(error) or type(error).__name__
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
