"""A SCPI interpreter: a table of headers in the manuals' notation, an error queue, the IEEE 488.2 registers.

In `SENSe#:FREQuency:STARt` the capitals are the short form, `#` is a numeric suffix (1 when left out), and a node in
brackets may be left out: `OUTPut#[:STATe]`. A header that ends in `?` is a query.
"""

import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

COMMAND_ERROR, EXECUTION_ERROR, DEVICE_ERROR = 0x20, 0x10, 0x08
"""Bits of the standard event status register."""


class ScpiError(Exception):
    """What goes into the error queue: `number`, negative where the standard names it, and `text`."""

    def __init__(self, number: int, text: str) -> None:
        self.number = number
        self.text = text
        super().__init__(text)

    @property
    def event_bit(self) -> int:
        """The bit of the event status register that belongs to it."""
        if -199 <= self.number <= -100:
            return COMMAND_ERROR
        return EXECUTION_ERROR if -299 <= self.number <= -200 else DEVICE_ERROR


@dataclass(frozen=True)
class Call:
    """One command with the numeric suffixes of its header and its parameters as text."""

    suffixes: tuple[int, ...]
    parameters: tuple[str, ...]

    def text(self, index: int = 0) -> str:
        """Return a parameter without quotes. Raises `ScpiError` when it is missing."""
        if index >= len(self.parameters):
            raise ScpiError(-109, "Missing parameter")
        return self.parameters[index].strip("'\"")

    def number(self, index: int = 0) -> float:
        """Return a parameter as a number. Raises `ScpiError` for one that is none."""
        try:
            return float(self.text(index))
        except ValueError:
            raise ScpiError(-104, "Data type error") from None

    def flag(self) -> bool:
        """Return the parameter as ON or OFF."""
        word = self.text().upper()
        if word not in ("ON", "OFF", "1", "0", "TRUE", "FALSE"):
            raise ScpiError(-224, "Illegal parameter value")
        return word in ("ON", "1", "TRUE")


Reply = str | bytes | None
Action = Callable[[Call], Reply]


class ScpiTree:
    """Commands by header. `execute` takes what came over the link and returns what goes back."""

    def __init__(self, *, no_error: str = '+0,"No error"', queue_length: int = 30) -> None:
        self.errors: deque[ScpiError] = deque(maxlen=queue_length)
        self.event_status = 0
        self._no_error = no_error
        self._actions: list[tuple[re.Pattern[str], Action]] = []
        self._known: dict[str, tuple[Action, tuple[int, ...]]] = {}

    def add(self, header: str, action: Action) -> None:
        """Let `header` do `action`; a later one that matches as well comes second."""
        self._actions.append((re.compile(_header_pattern(header), re.IGNORECASE), action))
        self._known.clear()

    def fail(self, error: ScpiError) -> None:
        """Queue an error."""
        self.errors.append(error)
        self.event_status |= error.event_bit

    def next_error(self) -> str:
        """Take the oldest error out of the queue, as `SYST:ERR?` shows it."""
        if not self.errors:
            return self._no_error
        error = self.errors.popleft()
        return f'{error.number:+d},"{error.text}"'

    def clear(self) -> None:
        """Empty the error queue and the event register."""
        self.errors.clear()
        self.event_status = 0

    def take_event_status(self) -> str:
        """Read and clear the event register."""
        status, self.event_status = self.event_status, 0
        return str(status)

    def execute(self, message: bytes) -> bytes | None:
        """Carry out a message and return its replies, or None when there are none."""
        replies: list[bytes] = []
        path = ""
        for unit in _split(message.decode("latin-1").strip(), ";"):
            header, _, rest = unit.strip().partition(" ")
            full = header if header.startswith((":", "*")) else path + header
            if not header.startswith("*"):
                path = full[: full.rfind(":") + 1]
            reply = self._one(full.lstrip(":"), rest)
            if reply is not None:
                replies.append(reply if isinstance(reply, bytes) else reply.encode("ascii"))
        return b";".join(replies) if replies else None

    def _one(self, header: str, rest: str) -> Reply:
        parameters = tuple(part.strip() for part in _split(rest.strip(), ",")) if rest.strip() else ()
        try:
            action, suffixes = self._known.get(header) or self._look_up(header)
            return action(Call(suffixes, parameters))
        except ScpiError as error:
            self.fail(error)
            return None

    def _look_up(self, header: str) -> tuple[Action, tuple[int, ...]]:
        """Return the action of a header as it was sent, and its numeric suffixes; raises `ScpiError` for none."""
        for pattern, action in self._actions:
            if match := pattern.fullmatch(header):
                self._known[header] = action, tuple(int(digits or 1) for digits in match.groups())
                return self._known[header]
        raise ScpiError(-113, "Undefined header")


def definite_block(payload: bytes) -> bytes:
    """Return `payload` as an IEEE 488.2 definite-length block."""
    length = str(len(payload)).encode("ascii")
    return b"#" + str(len(length)).encode("ascii") + length + payload


def _header_pattern(header: str) -> str:
    nodes = re.findall(r"\[:[A-Za-z]+#?\]|:?[*A-Za-z]+#?", header.removesuffix("?"))
    pattern = "".join(_node_pattern(node) for node in nodes)
    return pattern + (r"\?" if header.endswith("?") else "")


def _node_pattern(node: str) -> str:
    optional = node.startswith("[")
    name = node.strip("[]").lstrip(":").rstrip("#")
    short = re.escape("".join(letter for letter in name if not letter.islower()))
    suffix = r"(\d*)" if "#" in node else ""
    colon = ":" if ":" in node else ""
    pattern = f"{colon}(?:{re.escape(name.upper())}|{short}){suffix}"
    return f"(?:{pattern})?" if optional else pattern


def _split(text: str, separator: str) -> list[str]:
    """Split outside quotes."""
    parts, quote = [""], ""
    for letter in text:
        if letter == separator and not quote:
            parts.append("")
            continue
        if letter in "'\"":
            quote = "" if letter == quote else quote or letter
        parts[-1] += letter
    return parts
