"""What the virtual analysers that speak SCPI share: settings by header, formats of data, the common commands."""

from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from labctl_simulators.instruments.scpi_tree import Call, Reply, ScpiError, ScpiTree, definite_block
from labctl_simulators.instruments.vna.engine import Engine

EDGE_PATIENCE_S = 30.0
"""So long is the answer to `*OPC?` held back for an edge that does not come; then there is none."""

OPERATION_COMPLETE = 0x01
"""Bit of the event status register."""

OUT_OF_RANGE = -222, "Data out of range"
ILLEGAL_VALUE = -224, "Illegal parameter value"


class VirtualScpiAnalyser:
    """A network analyser as its link sees it. `engine` is the hardware: `engine.rf_on` says whether it radiates.

    `execute` carries out one message and returns the reply, its terminator included, or None.
    """

    identity: ClassVar[str]
    options: ClassVar[str | None] = '"010"'
    wakes_big_endian: ClassVar[bool] = True
    no_error: ClassVar[str] = '+0,"No error"'
    terminator: ClassVar[bytes] = b"\n"

    def __init__(self, engine: Engine, *, edge_patience_s: float = EDGE_PATIENCE_S) -> None:
        self.engine = engine
        self.tree = ScpiTree(no_error=self.no_error)
        self._edge_patience_s = edge_patience_s
        self._completion_asked = False
        self._sends_blocks = False
        self._big_endian = self.wakes_big_endian
        self.add_event("*CLS", lambda _: self.tree.clear())
        self.add_event("*WAI", lambda _: self._wait())
        self.add_event("*RST", lambda _: self._preset())
        self.tree.add("*IDN?", lambda _: self.identity)
        if self.options is not None:
            self.tree.add("*OPT?", lambda _: self.options)
        self.tree.add("*OPC?", self._operation_complete)
        self.add_event("*OPC", lambda _: setattr(self, "_completion_asked", True))
        self.tree.add("*ESR?", self._event_status)
        self.tree.add("SYSTem:ERRor[:NEXT]?", lambda _: self.tree.next_error())

    def execute(self, message: bytes) -> bytes | None:
        """Carry out a message (without or with its terminator) and return the reply or None."""
        reply = self.tree.execute(message)
        return None if reply is None else reply + self.terminator

    # ------------------------------------------------------------------------------------------------ table

    def add_event(self, header: str, action: Callable[[Call], object]) -> None:
        """Let a command without answer do `action`."""

        def act(call: Call) -> Reply:
            action(call)
            return None

        self.tree.add(header, act)

    def add_number(self, header: str, attribute: str, allowed: tuple[float, float], *, whole: bool = False) -> None:
        """Let `header` set a number of the engine and `header?` read it, or with MIN or MAX its limits."""
        low, high = allowed

        def store(call: Call) -> None:
            value = call.number()
            if not low <= value <= high:
                raise ScpiError(*OUT_OF_RANGE)
            setattr(self.engine, attribute, int(value) if whole else value)

        def read(call: Call) -> str:
            if call.parameters:
                return self.show_number(low if call.text().upper().startswith("MIN") else high)
            return self.show_number(getattr(self.engine, attribute))

        self.add_event(header, store)
        self.tree.add(header + "?", read)

    def add_flag(self, header: str, attribute: str) -> None:
        """Let `header` switch something of the engine ON or OFF and `header?` read it as 1 or 0."""
        self.add_event(header, lambda call: setattr(self.engine, attribute, call.flag()))
        self.tree.add(header + "?", lambda _: str(int(getattr(self.engine, attribute))))

    def add_word(self, header: str, words: Sequence[str], store: Callable[[str], object], initial: str) -> None:
        """Let `header` take one of `words` (short form in capitals) and `header?` read its short form."""
        present = [initial]

        def take(call: Call) -> None:
            word = call.text().upper()
            for known in words:
                short = "".join(letter for letter in known if not letter.islower())
                if word in (short, known.upper()):
                    present[0] = short
                    store(short)
                    return
            raise ScpiError(*ILLEGAL_VALUE)

        self.add_event(header, take)
        self.tree.add(header + "?", lambda _: present[0])

    # ------------------------------------------------------------------------------------------------ answers

    def show_number(self, value: float) -> str:
        """Return a number as this make writes it."""
        return f"{value:+.11E}"

    def show_numbers(self, values: NDArray[np.float64]) -> Reply:
        """Return numbers in the format that is set."""
        if not self._sends_blocks:
            return ",".join(self.show_number(value) for value in values.tolist())
        return definite_block(values.astype(">f8" if self._big_endian else "<f8").tobytes())

    def show_complex(self, values: NDArray[np.complex128]) -> Reply:
        """Return real and imaginary parts in turn, in the format that is set."""
        return self.show_numbers(np.ascontiguousarray(values).view(np.float64))

    def add_format(self, header: str) -> None:
        """Let `header` choose between text and blocks of 64-bit numbers, and `FORMat:BORDer` their byte order."""
        self.add_event(header, self.choose_format)
        self.tree.add(header + "?", lambda _: self.show_format())
        self.add_word(
            "FORMat:BORDer",
            ("NORMal", "SWAPped"),
            lambda word: setattr(self, "_big_endian", word == "NORM"),
            "NORM" if self.wakes_big_endian else "SWAP",
        )

    def choose_format(self, call: Call) -> None:
        """Set the format of numbers. Raises `ScpiError` for another than text and blocks of 64-bit numbers."""
        word = call.text().upper()
        narrow = word == "REAL" and len(call.parameters) > 1 and call.number(1) != 64
        if word not in ("ASC", "ASCII", "REAL") or narrow:
            raise ScpiError(*ILLEGAL_VALUE)
        self._sends_blocks = word == "REAL"

    def show_format(self) -> str:
        """Return the format as this make names it."""
        return "REAL" if self._sends_blocks else "ASC"

    # ------------------------------------------------------------------------------------------------ behaviour

    def measured(self, parameter: str) -> NDArray[np.complex128]:
        """Return an S-parameter (n_points,) of the last sweep. Raises `ScpiError` when none was made with this axis."""
        data = self.engine.latest()
        if len(data) != len(self.engine.frequencies_hz):
            raise ScpiError(-230, "Data corrupt or stale")
        return data[:, int(parameter[1]) - 1, int(parameter[2]) - 1]

    def _operation_complete(self, _: Call) -> Reply:
        return "1" if self._wait() else None

    def _event_status(self, _: Call) -> Reply:
        if self._completion_asked and not self.engine.busy:
            self._completion_asked = False
            self.tree.event_status |= OPERATION_COMPLETE
        return self.tree.take_event_status()

    def _wait(self) -> bool:
        return self.engine.wait(self._edge_patience_s)

    def _preset(self) -> None:
        self.engine.abort()
        self._sends_blocks, self._big_endian = False, self.wakes_big_endian
