"""Network analysers that speak SCPI: error queue, read-back, byte order, blocks."""

import re
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from typing import ClassVar

import numpy as np
from typing_extensions import override

from labctl.contract.errors import Fault, InstrumentError
from labctl.contract.microwave import Segment, SParameters, Sweep
from labctl.contract.safety import SafeOrder, SafeStep
from labctl_drivers.transport.link import Link
from labctl_drivers.transport.safe_plan import safe_step
from labctl_drivers.vna.base import Analyser, Configured, Real
from labctl_drivers.vna.conversation import Conversation
from labctl_drivers.vna.limits import Limits
from labctl_drivers.vna.models import Model, find_model
from labctl_drivers.vna.settings import AnalyserRules

MOST_QUEUED_ERRORS = 100
"""Error queues are shorter; one that does not run empty by then never will."""

READ_BACK_TOLERANCE = 1e-6

BYTES_PER_NUMBER = 8

COMPLETE_BIT = 0b1
"""Of the event status register: what was under way at `*OPC` has ended (IEEE 488.2, 10.18)."""

_NEEDS_TIME = re.compile(r"unlevel|unlock|lock (lost|fail)|oven|temperature", re.IGNORECASE)
"""What analysers queue that warm up, cool down, or look for their lock."""


class ScpiAnalyser(Analyser):
    """What the SCPI dialects share. Everything is done on channel 1; other channels are left alone."""

    dialect: ClassVar[str]
    models: ClassVar[tuple[Model, ...]]
    options_query: ClassVar[str | None] = "*OPT?"
    error_query: ClassVar[str]
    power_query: ClassVar[str]
    power_on: ClassVar[str]
    power_off: ClassVar[tuple[str, ...]]
    """The first command switches the power off."""
    data_query: ClassVar[str]
    """Corrected complex data of the selected trace."""
    axis_query: ClassVar[str]
    sweep_time_query: ClassVar[str]
    points: ClassVar[str]
    bandwidth: ClassVar[str]
    power: ClassVar[str]
    text_format: ClassVar[str]
    block_format: ClassVar[tuple[str, str]]
    """64-bit numbers, least significant byte first."""
    format_query: ClassVar[str]
    byte_order_query: ClassVar[str]

    def __init__(self, rules: AnalyserRules, name: str, link: Link, *, timeout_s: float) -> None:
        super().__init__(rules, name, timeout_s=timeout_s)
        self._link = link
        self._talk = Conversation(link)
        self._model = self.models[0]
        self._model_name = ""
        self._ports = 1
        self._sends_blocks = True

    # ------------------------------------------------------------------------------------------------ life

    def _connect(self) -> None:
        self._link.open()

    def _disconnect(self) -> None:
        self._link.close()

    def _identify(self) -> str:
        identity = self._talk.ask("*IDN?")
        fields = identity.split(",")
        self._model_name = fields[1].strip() if len(fields) > 1 else identity
        self._model = find_model(self.models, self._model_name, instrument=self._name, dialect=self.dialect)
        self._left_over_errors = self._queued_errors()
        self._talk.tell("*CLS")
        return identity if self.options_query is None else f"{identity},{self._talk.ask(self.options_query)}"

    def _power_found_on(self) -> bool:
        return self._talk.ask_flag(self.power_query)

    def _switch_power_on(self) -> None:
        self._send(self.power_on)
        if not self._talk.ask_flag(self.power_query):
            raise InstrumentError(self._name, "RF does not come on: is it tripped?", command=self.power_on)

    def _switch_power_off(self) -> None:
        for command in self.power_off:
            # Not one of them may wait for a sweep that another thread begins between two.
            self._link.write_now(command)
        if self._talk.ask_flag(self.power_query):
            raise InstrumentError(self._name, "RF stays on", command=self.power_off[0])

    def safe_plan(self) -> tuple[SafeStep, ...]:
        """Return how the power is switched off without this driver; the instrument confirms it."""
        data = f"{self.power_off[0]}\n{self.power_query}\n".encode()
        step = safe_step(SafeOrder.POWER_OFF, f"{self._name}: RF off", self._link.address, data, expected=b"0")
        return (step,)

    # ------------------------------------------------------------------------------------------------ error queue

    def _send(self, command: str) -> None:
        """Send a command. Raises `InstrumentError` with it when the instrument queues an error."""
        self._talk.tell(command)
        self._raise_queued(command)

    def _raise_queued(self, command: str) -> None:
        if errors := self._queued_errors():
            raise InstrumentError(self._name, f"refuses with {'; '.join(errors)}", command=command)

    def _queued_errors(self) -> list[str]:
        """Empty the error queue and return what was in it, oldest first."""
        entries: list[str] = []
        for _ in range(MOST_QUEUED_ERRORS):
            entry = self._talk.ask(self.error_query)
            if _is_no_error(entry):
                return entries
            entries.append(entry)
        raise InstrumentError(self._name, "the error queue does not run empty", command=self.error_query)

    def _overloaded(self) -> bool:
        """Return whether the error queue speaks of an overload. Raises `InstrumentError` for anything else in it."""
        errors = self._queued_errors()
        others = [error for error in errors if "overload" not in error.lower()]
        if others:
            text = "; ".join(others)
            fault = Fault.NOT_READY if _NEEDS_TIME.search(text) else Fault.FAILED
            raise InstrumentError(self._name, f"reports {text}", command="sweep", fault=fault)
        return bool(errors)

    # ------------------------------------------------------------------------------------------------ configuration

    def _set_up(self, sweep: Sweep) -> Real:
        self._talk.tell("*CLS")
        # Text first: tables of segments are read in the format that is set.
        self._send(self.text_format)
        for command in self._commands(sweep):
            self._send(command)
        if is_linear(sweep):
            # Of a segment sweep the axis alone says how many points there are.
            self._check_read_back(self.points, "points", sweep.points)
        self._check_read_back(self.bandwidth, "IF bandwidth (Hz)", sweep.if_bandwidth_hz)
        self._check_read_back(self.power, "power (dBm)", sweep.power_dbm)
        axis_hz = self._talk.ask_numbers(self.axis_query, sweep.points, timeout_s=self._timeout_s)
        return self._agree_on_blocks(axis_hz)

    def _agree_on_blocks(self, axis_hz: Real) -> Real:
        """Set and read back the format of blocks, and return the axis as a block, which must be `axis_hz`, the text.

        A wrong byte order cannot hide there. Raises `InstrumentError`.
        """
        for command in self.block_format:
            self._send(command)
        self._check_word(self.format_query, "REAL")
        self._check_word(self.byte_order_query, "SWAP")
        block_hz = self._read_block(self.axis_query, len(axis_hz))
        if not np.allclose(block_hz, axis_hz, rtol=READ_BACK_TOLERANCE, atol=0.0):
            cause = "sends other numbers as a block than as text: its byte order is not what it says"
            raise InstrumentError(self._name, cause, command=self.axis_query)
        return block_hz

    def _check_word(self, query: str, wanted: str) -> None:
        answer = self._talk.ask(query).upper()
        if not answer.startswith(wanted) or answer.endswith("32"):
            raise InstrumentError(self._name, f"answers {answer} where {wanted} was set", command=query)

    def _check_read_back(self, setting: str, what: str, value: float) -> None:
        query = f"{setting}?"
        has = self._talk.ask_number(query)
        if abs(has - value) > READ_BACK_TOLERANCE * max(abs(value), 1.0):
            raise InstrumentError(self._name, f"has {what} {has:.12g} where {value:.12g} was set", command=query)

    @override
    def _stated_sweep_s(self, sweep: Sweep) -> float:
        return self._talk.ask_number(self.sweep_time_query)

    def _sweeps_per_result(self, sweep: Sweep, calibration: str) -> int:
        """Return one sweep per driving port; a full correction drives every port."""
        return self._ports if calibration else len({parameter[2] for parameter in sweep.parameters})

    def _how_to_correct(self) -> str:
        return "load a calibration that covers these frequencies, or write `correction: allowed`"

    # ------------------------------------------------------------------------------------------------ sweep

    def _begin(self, configured: Configured) -> None:
        if configured.sweep.trigger != "internal":
            self._forget_completion()
        for command in self._triggering(configured.sweep):
            self._talk.tell(command)
        if configured.sweep.trigger != "internal":
            # An answer shows that the commands before it were carried out: from now on an edge is not lost.
            self._raise_queued("arm")

    def _forget_completion(self) -> None:
        """Forget what `_has_ended` would know of the sweep before."""
        self._talk.ask("*ESR?")

    def _has_ended(self) -> bool:
        return bool(int(self._talk.ask_number("*ESR?")) & COMPLETE_BIT)

    def _finish(self, configured: Configured) -> tuple[SParameters, bool]:
        sweep = configured.sweep
        values = np.empty((len(sweep.parameters), sweep.points), dtype=np.complex128)
        for row, select in enumerate(self._selections(sweep)):
            self._talk.tell(select)
            values[row] = self._read_numbers(self.data_query, 2 * sweep.points).view(np.complex128)
        # One look at the error queue, of the sweep as of the reading: every look is a round trip.
        return values, self._overloaded()

    @override
    def _await_end(self, configured: Configured) -> bool:
        with self._explaining(configured, "*OPC?"):
            self._until_complete(configured)
        return True

    def _until_complete(self, configured: Configured) -> None:
        """Return at the end of what was triggered."""
        answer = self._talk.ask("*OPC?", timeout_s=configured.deadline_s)
        if answer.lstrip("+") != "1":
            raise InstrumentError(self._name, f"answers '{answer}'", command="*OPC?")

    def _read_numbers(self, query: str, count: int) -> Real:
        if self._sends_blocks:
            return self._read_block(query, count)
        return self._talk.ask_numbers(query, count, timeout_s=self._timeout_s)

    def _read_block(self, query: str, count: int) -> Real:
        payload = self._link.query_block(
            query,
            n_bytes=BYTES_PER_NUMBER * count,
            terminator=self._model.block_end,
            timeout_s=self._timeout_s,
        )
        return np.frombuffer(payload, dtype="<f8").astype(np.float64)

    # ------------------------------------------------------------------------------------------------ dialect

    @abstractmethod
    def _commands(self, sweep: Sweep) -> Iterable[str]:
        """Return the commands that configure `sweep`, in order."""

    @abstractmethod
    def _triggering(self, sweep: Sweep) -> Iterable[str]:
        """Return the commands that make one sweep, or as many as are averaged, at once or when the edge comes.

        With an external trigger the last one asks for the bit that `_has_ended` reads.
        """

    @abstractmethod
    def _selections(self, sweep: Sweep) -> list[str]:
        """Return the commands that select the trace of each parameter, in their order."""


class NamedTraceAnalyser(ScpiAnalyser):
    """What Keysight PNA and Rohde & Schwarz have in common: traces with names, limits read as MIN and MAX."""

    ports_query: ClassVar[str]

    def _read_limits(self) -> Limits:
        ask = self._talk.ask_number
        self._ports = int(ask(self.ports_query))
        return Limits(
            owner=f"a limit of the {self._model_name}",
            frequency_hz=(ask("SENS1:FREQ:STAR? MIN"), ask("SENS1:FREQ:STOP? MAX")),
            power_dbm=(ask(f"{self.power}? MIN"), ask(f"{self.power}? MAX")),
            if_bandwidth_hz=(ask(f"{self.bandwidth}? MIN"), ask(f"{self.bandwidth}? MAX")),
            most_points=int(ask(f"{self.points}? MAX")),
            most_segments=self._model.most_segments,
            ports=self._ports,
            segments_may_overlap=self._model.segments_may_overlap,
            averages_per_edge=self._model.averages_per_edge,
        )

    def _selections(self, sweep: Sweep) -> list[str]:
        return [f"CALC1:PAR:SEL '{trace_name(parameter)}'" for parameter in sweep.parameters]


def trace_name(parameter: str) -> str:
    """Return what labctl calls the trace of an S-parameter, so that it is told from those of others."""
    return f"labctl_{parameter}"


def linear_stimulus(segment: Segment, sense: str = "SENS1") -> Iterator[str]:
    """Yield the commands for a linear sweep; `sense` is the subsystem as the dialect's manual spells it."""
    yield f"{sense}:SWE:TYPE LIN"
    yield f"{sense}:FREQ:STAR {exact(segment.start_hz)}"
    yield f"{sense}:FREQ:STOP {exact(segment.stop_hz)}"
    yield f"{sense}:SWE:POIN {segment.points}"


def is_linear(sweep: Sweep) -> bool:
    """Return whether the sweep is one segment over more than one frequency."""
    return len(sweep.segments) == 1 and sweep.segments[0].start_hz < sweep.segments[0].stop_hz


def edge(sweep: Sweep) -> str:
    """Return the slope of the external trigger as SCPI names it."""
    return "POS" if sweep.trigger == "external-rising" else "NEG"


def exact(value: float) -> str:
    """Return `value` in full precision, as short as that allows."""
    return f"{value:.15g}"


def _is_no_error(entry: str) -> bool:
    return entry.partition(",")[0].lstrip("+-") == "0"
