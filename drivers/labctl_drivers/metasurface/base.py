"""The life of a metasurface, whatever its controller: identify, rest, show, verify, settle, and come to rest again."""

import contextlib
import hashlib
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from labctl.contract.capabilities import Finding
from labctl.contract.clock import Clock
from labctl.contract.errors import Fault, InputError, InstrumentError
from labctl.contract.microwave import Pattern
from labctl.contract.safety import SafeStep
from labctl_drivers.metasurface.errors import PatternDiffersError
from labctl_drivers.metasurface.settings import SurfaceRules, cells_of_elements, rest_pattern
from labctl_drivers.transport.link import ByteLink, LinkGarbledError, LinkTimeoutError
from labctl_drivers.transport.settings import SerialSettings, StreamSettings

Place = SerialSettings | StreamSettings

SIMULATOR_MARK = "VIRTUAL"
"""Simulated controllers that can say who they are have it in their identification."""

RESYNC_ATTEMPTS = 3
"""The first may still meet what was left over, the second its answer."""


class PatternedSurface(ABC):
    """A `Metasurface`, `Identifiable`, `HealthCheckable` and `Safeguarded`.

    A controller's own class fills in what is below the line. Patterns are absolute, so that showing one twice does no
    harm. `at` is where it is reached without this driver; without it there is no safe plan. `toggles` (n_elements,)
    counts how often each element changed its level, `resyncs` how often controller and driver had to be brought into
    step again.
    """

    def __init__(
        self, rules: SurfaceRules, link: ByteLink, clock: Clock, *, at: Place | None = None, levels: int = 2
    ) -> None:
        """Raise `SettingError` for a rest pattern that does not fit."""
        self.toggles: NDArray[np.int64] = np.zeros(rules.n_elements, dtype=np.int64)
        self.resyncs = 0
        self._rules = rules
        self._link = link
        self._clock = clock
        self._at = at
        self._levels = levels
        self._rest = rest_pattern(rules, levels)
        self._cell_of = cells_of_elements(rules)
        self._identity = ""
        self._is_open = False
        self._in_step = False
        # Held while controller and driver talk: who makes safe need not be who measures.
        self._talking = threading.RLock()
        self._latched: Pattern | None = None
        self._next_turn_s = float("-inf")
        self._settled_s = float("-inf")

    @property
    def name(self) -> str:
        """Return the instrument's name in the rig file."""
        return self._link.name

    @property
    def simulated(self) -> bool:
        """Return whether the rig file says that a simulator answers at the address."""
        return self._rules.simulated

    @property
    def identity(self) -> str:
        """Return what the controller calls itself; empty before `open`, and where it cannot say."""
        return self._identity

    @property
    def state_id(self) -> str:
        """Name controller, element map, rest pattern and settling."""
        physics = {"rows", "columns", "element_map", "rest", "settle_s", "simulated"}
        parts = [type(self).__name__, str(self._levels), self._identity]
        parts.append(self._rules.model_dump_json(include=physics, exclude_defaults=True))
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]

    @property
    def n_elements(self) -> int:
        """Number of elements."""
        return self._rules.n_elements

    @property
    def levels(self) -> int:
        """Number of states an element can take."""
        return self._levels

    @property
    def settle_s(self) -> float:
        """Seconds from a pattern's acknowledgement until the field is steady."""
        return self._rules.settle_s

    @property
    def latched(self) -> Pattern | None:
        """Return the pattern (n_elements,) that was acknowledged last, and read back where that is possible."""
        return None if self._latched is None else self._latched.copy()

    def open(self) -> None:
        """Connect, identify, show the rest pattern; does nothing when already open. Raises `InstrumentError`."""
        if self._is_open:
            return
        self._link.open()
        try:
            self._identity = self._identify()
            self._check_honesty()
            self._in_step = True
            self._present(self._rest, self._latch_rest)
        except BaseException:
            self._link.close()
            raise
        self._is_open = True

    def latch(self, pattern: Pattern) -> None:
        """Return when `pattern` is acknowledged and read back where the controller can; it has not settled then.

        After a fault the next pattern is preceded by bringing the controller into step. Raises `InputError`, before
        anything is sent, for a pattern that does not fit, and `InstrumentError` when the controller refuses, is silent
        or holds something else.
        """
        checked = self._checked(pattern)
        self._wait_for_turn("show")
        self._latch_pattern(checked, self._latch)

    def settle(self) -> None:
        """Return when what was latched last has settled."""
        remaining_s = self._settled_s - self._clock.now_s()
        if remaining_s > 0.0:
            self._clock.sleep_s(remaining_s)

    def show(self, pattern: Pattern) -> None:
        """Latch `pattern` and return when it has settled. Raises as `latch` does."""
        self.latch(pattern)
        self.settle()

    def health(self) -> tuple[Finding, ...]:
        """Return what the controller can do to make sure of a pattern. Raises `InstrumentError`."""
        if not self._is_open:
            raise InstrumentError(self.name, "the metasurface is not open", command="health")
        with self._talking:
            self._come_into_step()
            held = self._read_back()
        return (
            Finding("elements", f"{self.n_elements} of {self.levels} levels"),
            Finding("read-back", "every pattern is read back" if held is not None else "none: patterns are trusted"),
        )

    def make_safe(self) -> None:
        """Show the rest pattern, at once and without waiting for it to settle; a link that fails is tried twice.

        Raises `InstrumentError` when it is open and does not show it.
        """
        if not self._is_open:
            return
        try:
            self._latch_pattern(self._rest, self._latch_rest)
        except InstrumentError:
            self._latch_pattern(self._rest, self._latch_rest)

    def safe_plan(self) -> tuple[SafeStep, ...]:
        """Return how the rest pattern is shown without this driver, from whatever state the controller was left in."""
        return () if self._at is None else self._steps_to_rest(self._at, self._in_cells(self._rest))

    def close(self) -> None:
        """Release the link."""
        self._is_open = self._in_step = False
        self._latched = None
        self._link.close()

    def _present(self, pattern: Pattern, latch: Callable[[Pattern], None]) -> None:
        self._latch_pattern(pattern, latch)
        self.settle()

    def _latch_pattern(self, pattern: Pattern, latch: Callable[[Pattern], None]) -> None:
        """Let the controller hold `pattern` and make sure of it. Whatever ends this early leaves it out of step."""
        cells = self._in_cells(pattern)
        with self._talking:
            self._come_into_step()
            self._in_step = False
            latch(cells)
            self._settled_s = self._clock.now_s() + self._rules.settle_s
            self._verify(cells)
            if self._latched is not None:
                self.toggles += pattern != self._latched
            self._latched = pattern
            self._in_step = True

    def _in_cells(self, pattern: Pattern) -> Pattern:
        """Return the level of every cell."""
        cells = np.empty_like(pattern)
        cells[self._cell_of] = pattern
        return cells

    def _verify(self, cells: Pattern) -> None:
        held = self._read_back()
        if held is None:
            return
        wrong = np.flatnonzero(held[self._cell_of] != cells[self._cell_of])
        if wrong.size:
            element = int(wrong[0])
            cell = int(self._cell_of[element])
            row, column = divmod(element, self._rules.columns)
            raise PatternDiffersError(
                self.name,
                f"{wrong.size} elements are not as acknowledged; element {element} (row {row}, column {column}, "
                f"cell {cell}) has level {held[cell]} where {cells[cell]} was sent: is the line noisy, or does "
                "somebody else write patterns?",
                command="read back",
            )

    def _checked(self, pattern: Pattern) -> Pattern:
        if pattern.shape != (self.n_elements,):
            raise InputError(f"{self.name}: a pattern is {self.n_elements} levels, not an array of {pattern.shape}")
        if not np.issubdtype(pattern.dtype, np.integer):
            raise InputError(f"{self.name}: levels are whole numbers, not {pattern.dtype}")
        wrong = np.flatnonzero((pattern < 0) | (pattern >= self._levels))
        if wrong.size:
            element = int(wrong[0])
            raise InputError(
                f"{self.name}: element {element} cannot take level {pattern[element]}; it has 0 to {self._levels - 1}"
            )
        return pattern.astype(np.uint8)

    def _come_into_step(self) -> None:
        """Make sure that controller and driver agree where a request begins. Raises `InstrumentError`."""
        if self._in_step:
            return
        identity = self._resynchronised()
        if identity != self._identity:
            cause = f"'{identity}' answers where '{self._identity}' did before: was it exchanged?"
            raise InstrumentError(self.name, cause, command="identify", fault=Fault.REFUSED)
        self.resyncs += 1
        self._in_step = True

    def _resynchronised(self) -> str:
        for _ in range(RESYNC_ATTEMPTS - 1):
            with contextlib.suppress(LinkTimeoutError, LinkGarbledError):
                return self._resynchronise()
        return self._resynchronise()

    def _check_honesty(self) -> None:
        if SIMULATOR_MARK in self._identity.upper() and not self._rules.simulated:
            cause = "a simulator answers at this address: write `simulated: true`"
            raise InstrumentError(self.name, cause, fault=Fault.REFUSED)

    def _wait_for_turn(self, command: str) -> None:
        if not self._is_open:
            raise InstrumentError(self.name, "the metasurface is not open", command=command)
        if self._rules.max_rate_hz is None:
            return
        self._clock.sleep_s(max(0.0, self._next_turn_s - self._clock.now_s()))
        self._next_turn_s = self._clock.now_s() + 1.0 / self._rules.max_rate_hz

    # ------------------------------------------------------------------------------------------------ controller

    @abstractmethod
    def _identify(self) -> str:
        """Return who answers, empty where it cannot say. The link has just been opened."""

    @abstractmethod
    def _latch(self, cells: Pattern) -> None:
        """Send the level of every cell (n_elements,) and return when it is acknowledged."""

    @abstractmethod
    def _steps_to_rest(self, at: Place, cells: Pattern) -> tuple[SafeStep, ...]:
        """Return what lets every cell (n_elements,) take its level of the rest pattern, sent by somebody else."""

    def _latch_rest(self, cells: Pattern) -> None:
        """Do as `_latch` does, with the rest pattern."""
        self._latch(cells)

    def _read_back(self) -> Pattern | None:
        """Return the level of every cell as the controller holds it; None where it cannot say or is not to be asked."""
        return None

    def _resynchronise(self) -> str:
        """Bring the controller to the beginning of a request, from any state, and return who answers."""
        return self._identify()
