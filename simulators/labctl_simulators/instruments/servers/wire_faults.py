"""Faults on the wire: what an instrument's answer becomes, and when.

A plan is data and counts an instrument's answers from 1, as a plan of `labctl_simulators.faults` counts rows: what
befalls an answer depends on (seed, its number) alone. A test arms one fault for the next answer instead.
"""

import threading
from collections import deque
from dataclasses import dataclass
from typing import Annotated, Literal, get_args

import numpy as np
from pydantic import Field, model_validator

from labctl.contract.driver import Settings
from labctl.contract.units import Seconds

WireFaultKind = Literal[
    "stall", "silence", "close", "reset", "bad-header", "short", "long", "garbage",
    "unplug", "nak", "lost-byte", "echo",
]  # fmt: skip

SERIAL_ONLY: tuple[WireFaultKind, ...] = ("unplug", "nak", "lost-byte", "echo")
NETWORK: tuple[WireFaultKind, ...] = tuple(kind for kind in get_args(WireFaultKind) if kind not in SERIAL_ONLY)
SERIAL: tuple[WireFaultKind, ...] = ("stall", "silence", "short", "long", "garbage", *SERIAL_ONLY)

_SURPLUS = 80
_GARBAGE = 64
_NAK = b"\x15"


class WireFault(Settings):
    """One kind of fault: on named `answers`, or on every answer at a random `rate`.

    `stall` pauses for `duration` in the middle of the answer, `silence` leaves it out, `close` and `reset` end the
    connection in its middle, `bad-header` spoils a block's header, `short` leaves out 80 bytes that the header
    announced, `long` adds 80, `garbage` replaces the answer. On a serial line `unplug` takes the port away for
    `duration`, `nak` answers 0x15, `lost-byte` loses one byte of the request, `echo` sends the request back first.
    """

    kind: WireFaultKind
    answers: tuple[Annotated[int, Field(ge=1)], ...] = ()
    rate: float = Field(default=0.0, ge=0, le=1, description="probability per answer")
    duration_s: Annotated[Seconds, Field(gt=0)] | None = Field(alias="duration", default=None)

    @model_validator(mode="after")
    def _strikes_in_one_way(self) -> "WireFault":
        if bool(self.answers) == (self.rate > 0):
            raise ValueError("name the `answers` that are struck, or a `rate` above zero, and not both")
        if (self.kind in ("stall", "unplug")) != (self.duration_s is not None):
            raise ValueError("`duration` says how long a fault of kind stall or unplug lasts, and belongs to no other")
        return self


class WireFaultPlan(Settings):
    """All faults of an instrument's link. `seed` draws those that come at a rate."""

    seed: int = Field(default=0, ge=0)
    faults: tuple[WireFault, ...] = Field(alias="list", min_length=1)

    def striking(self, answer: int) -> WireFault | None:
        """Return what strikes answer number `answer`; of several faults the first."""
        chances = _generator(self.seed, answer).random(len(self.faults))
        struck = (
            fault
            for fault, chance in zip(self.faults, chances.tolist(), strict=True)
            if chance < fault.rate or answer in fault.answers
        )
        return next(struck, None)


@dataclass(frozen=True)
class Strike:
    """What befalls one answer, with the generator of whatever is random about it."""

    kind: WireFaultKind | None
    duration_s: float
    rng: np.random.Generator


class WireFaultSchedule:
    """Counts an instrument's answers and says what befalls each: what is armed, else what is planned. Thread-safe."""

    def __init__(self, plan: WireFaultPlan | None = None) -> None:
        self._plan = plan
        self._armed: deque[tuple[WireFaultKind, float]] = deque()
        self._answers = 0
        self._lock = threading.Lock()
        self.struck: list[WireFaultKind] = []

    def arm(self, kind: WireFaultKind, duration_s: float = 0.0) -> None:
        """Let `kind` befall the next answer that has nothing armed for it yet."""
        with self._lock:
            self._armed.append((kind, duration_s))

    def next(self) -> Strike:
        """Count one more answer and return what befalls it."""
        with self._lock:
            self._answers += 1
            kind: WireFaultKind | None = None
            duration_s = 0.0
            planned = self._plan.striking(self._answers) if self._plan else None
            if self._armed:
                kind, duration_s = self._armed.popleft()
            elif planned is not None:
                kind, duration_s = planned.kind, planned.duration_s or 0.0
            if kind is not None:
                self.struck.append(kind)
            seed = self._plan.seed if self._plan else 0
            return Strike(kind, duration_s, _generator(seed, self._answers, 1))


@dataclass(frozen=True)
class Delivery:
    """What goes over the wire instead of an answer: `first`, a pause, `rest`, and then perhaps the connection's end."""

    first: bytes
    pause_s: float = 0.0
    rest: bytes = b""
    end: Literal["none", "close", "reset"] = "none"


def delivery(answer: bytes, strike: Strike) -> Delivery:
    """Return what becomes of `answer`; of a kind that answers do not show, nothing does."""
    middle = len(answer) // 2
    match strike.kind:
        case "stall":
            return Delivery(answer[:middle], strike.duration_s, answer[middle:])
        case "silence":
            return Delivery(b"")
        case "close":
            return Delivery(answer[:middle], end="close")
        case "reset":
            return Delivery(answer[:middle], end="reset")
        case _:
            return Delivery(spoilt(answer, strike))


def spoilt(answer: bytes, strike: Strike) -> bytes:
    """Return a whole answer that is wrong in itself, or as it is where the fault is of another kind."""
    content = answer.rstrip(b"\r\n") if not answer.startswith(b"#") else answer.removesuffix(b"\n")
    newline = answer[len(content) :]
    match strike.kind:
        case "bad-header":
            return b"#X" + answer[2:]
        case "short":
            return content[: -min(_SURPLUS, len(content) // 2)]
        case "long":
            return content + bytes(_SURPLUS) + newline
        case "garbage":
            return garbage(strike.rng)
        case "nak":
            return _NAK
        case _:
            return answer


def garbage(rng: np.random.Generator) -> bytes:
    """Return bytes that no protocol here begins with: none of them printable, a newline at the end."""
    return rng.integers(0x80, 0x100, _GARBAGE - 1, dtype=np.uint8).tobytes() + b"\n"


def without_a_byte(request: bytes, rng: np.random.Generator) -> bytes:
    """Return the request with one byte lost on its way."""
    lost = int(rng.integers(len(request)))
    return request[:lost] + request[lost + 1 :]


def _generator(seed: int, *key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))
