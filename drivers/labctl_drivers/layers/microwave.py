"""The microwave layer: patterns of a metasurface in, S-parameters between antennas out."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labctl.contract.capabilities import Reread, WrittenParameters, check_parameters
from labctl.contract.chunks import Row, in_chunks
from labctl.contract.clock import Clock
from labctl.contract.driver import BuildContext, Instrument, LayerDriver, pick_instrument
from labctl.contract.errors import InstrumentError, SettingError
from labctl.contract.layer import (
    Channel,
    Drives,
    LayerInfo,
    RawSignal,
    Responses,
    ResponseValues,
    RowIds,
    RowStatus,
    Stop,
    check_drives,
)
from labctl.contract.microwave import Metasurface, NetworkAnalyser, Pattern, SParameters, SweepResult
from labctl.contract.readout import READINGS, readout_channels
from labctl.contract.rereading import require_same_sent
from labctl_drivers.layers.microwave_settings import MicrowaveSettings

EARLY = 0.9
"""Of the settling: when it is asked whether a sweep that an edge was to begin has ended already."""

LATE = 0.5
"""By so many settling times the edge of a pattern may come later than it should."""


class MicrowaveLayer:
    """A `PhysicalLayer` on any `NetworkAnalyser` and `Metasurface`. One pass is one pattern and one sweep."""

    def __init__(
        self,
        settings: MicrowaveSettings,
        analyser: NetworkAnalyser,
        surface: Metasurface,
        name: str,
        clock: Clock,
    ) -> None:
        """Raise `InputError` for a sweep beyond the analyser's limits and for elements that are not there."""
        self._settings = settings
        self._analyser = analyser
        self._surface = surface
        self._clock = clock
        self._sweep = settings.sweep
        analyser.check(self._sweep)
        self._driven = _driven_elements(settings, surface)
        self._kept: Pattern = np.zeros(surface.n_elements, dtype=np.uint8)
        self._info = _layer_info(settings, analyser, surface, self._driven, name)
        self._configured: str | None = None
        self._quiet_from_s = float("-inf")
        self._delivers_raw = False

    @property
    def raw_dtype(self) -> np.dtype[Any]:
        """Return the type of a sweep: `values` (n_parameters, n_frequencies), complex, and whether it overloads."""
        form = len(self._settings.parameters), len(self._settings.sweep_hz)
        return np.dtype([("values", "<c16", form), ("overload", "|b1")])

    def deliver_raw(self, *, wanted: bool) -> None:
        """Hand over whole sweeps with the responses of all measurements begun from now on, or no longer."""
        self._delivers_raw = wanted

    def rereading(self, sender: object) -> Reread:
        """Return how this layer reads the sweeps of `sender`. Raises `SettingError` unless `readout` alone differs."""
        if not isinstance(sender, MicrowaveLayer):
            raise SettingError(("kind",), "what was recorded is of a layer of another kind; expected the one it was")
        require_same_sent(sender._settings, self._settings, ("readout",))

        def reread(raw: RawSignal, _drives: Drives) -> tuple[ResponseValues, NDArray[np.uint8]]:
            read = [
                self._read(values, overload=bad) for values, bad in zip(raw["values"], raw["overload"], strict=True)
            ]
            return np.stack([values for values, _ in read]), np.array([status for _, status in read], np.uint8)

        return reread

    @property
    def info(self) -> LayerInfo:
        """Describe elements and frequencies; valid before `open`."""
        return self._info

    @property
    def state_id(self) -> str:
        """Name the operating point, both instruments, and the elements that no drive sets."""
        # Settings left at their defaults are not in the name, so that a new one does not rename what exists.
        own = self._settings.model_dump_json(exclude={"pass_s"}, exclude_defaults=True)
        instruments = (self._configured or self._analyser.state_id) + self._surface.state_id
        kept = self._kept.tobytes().hex() if self._kept.any() else ""
        return hashlib.sha256((own + instruments + kept).encode()).hexdigest()[:12]

    def open(self) -> None:
        """Open both instruments and configure the sweep. Raises `InstrumentError` and leaves neither open then."""
        try:
            self._surface.open()
            self._expect_edge()
            self._analyser.open()
            self._configure()
        except BaseException:
            self.close()
            raise

    def measure(self, drives: Drives, ids: RowIds, *, stop: Stop) -> Iterator[Responses]:
        """Show a pattern and sweep, row by row; no sweep begins before its pattern is acknowledged and has settled.

        When a sweep has ended the next pattern is latched, and the sweep is read while that one settles. With an
        external trigger the analyser is armed first, and the edge that begins the sweep follows the pattern.
        A sweep that overloads a receiver marks its row. Raises `DriveError` before anything is sent, `InstrumentError`
        after everything measured before it has been yielded.
        """
        check_drives(self._info, drives, ids)
        return in_chunks(self._rows(drives, ids, stop))

    def make_safe(self) -> None:
        """Switch the power off and show the rest pattern."""
        self._analyser.make_safe()
        self._surface.make_safe()
        self._expect_edge()

    def close(self) -> None:
        """Close both instruments."""
        self._configured = None
        self._analyser.close()
        self._surface.close()

    def _configure(self) -> None:
        """Set the analyser up, unless it has been left as this layer needs it."""
        if self._analyser.state_id != self._configured:
            self._analyser.configure(self._sweep)
            self._configured = self._analyser.state_id

    def _pattern(self, drive: NDArray[np.floating]) -> Pattern:
        pattern = self._kept.copy()
        pattern[self._driven] = np.rint(drive.astype(np.float64) * (self._surface.levels - 1))
        return pattern

    def _rows(self, drives: Drives, ids: RowIds, stop: Stop) -> Iterator[Row]:
        if not len(ids) or stop.is_set():
            return
        self._configure()
        patterns = [self._pattern(drive) for drive in drives]
        sweep = self._swept_at_once if self._sweep.trigger == "internal" else self._swept_at_edges
        raw_dtype = self.raw_dtype if self._delivers_raw else None
        for row_id, result in zip(ids.tolist(), sweep(patterns, stop), strict=False):
            values, status = self._read(result.values, overload=result.overload)
            raw = None if raw_dtype is None else np.array((result.values, result.overload), raw_dtype)
            yield Row(row_id, values, status, result.time_s, raw)

    def _read(self, signal: SParameters, *, overload: bool) -> tuple[NDArray[np.float64], RowStatus]:
        """Return responses (n_outputs,) and status of S-parameters (n_parameters, n_frequencies)."""
        with np.errstate(divide="ignore"):
            values = READINGS[self._settings.readout].read(signal)
        return values, _status(values, overload=overload)

    def _swept_at_once(self, patterns: list[Pattern], stop: Stop) -> Iterator[SweepResult]:
        """Yield the sweep of each pattern. One that cannot be latched is told when the sweep before it is yielded."""
        self._surface.latch(patterns[0])
        for following in [*patterns[1:], None]:
            self._surface.settle()
            self._analyser.arm()
            is_over = self._analyser.wait()
            failure = None
            if following is not None and is_over and not stop.is_set():
                try:
                    self._surface.latch(following)
                except InstrumentError as error:
                    failure = error
            yield self._analyser.read()
            if failure is not None:
                raise failure
            if following is None or stop.is_set():
                return
            if not is_over:
                self._surface.latch(following)

    def _swept_at_edges(self, patterns: list[Pattern], stop: Stop) -> Iterator[SweepResult]:
        for pattern in patterns:
            if stop.is_set():
                return
            yield self._swept_at_edge(pattern)

    def _swept_at_edge(self, pattern: Pattern) -> SweepResult:
        """Arm the analyser, latch, and read the sweep that the controller's edge begins when the pattern has settled.

        Raises `InstrumentError` for a sweep that ends before the pattern can have settled, and when no edge comes.
        """
        # The edge of a pattern before this one must not begin the sweep of this one.
        self._clock.sleep_s(max(0.0, self._quiet_from_s - self._clock.now_s()))
        self._analyser.arm()
        begun_s, settle_s = self._clock.now_s(), self._surface.settle_s
        self._surface.latch(pattern)
        self._expect_edge()
        self._clock.sleep_s(max(0.0, begun_s + EARLY * settle_s - self._clock.now_s()))
        # The clock is read after the answer: a late answer convicts nobody.
        if self._analyser.swept() and self._clock.now_s() < begun_s + settle_s:
            raise InstrumentError(
                self._analyser.name,
                f"was triggered before the pattern had settled ({settle_s:g} s): does its edge come from the "
                f"controller of '{self._surface.name}', and only when a pattern has settled?",
                command="trigger",
            )
        result = self._analyser.read()
        self._quiet_from_s = float("-inf")
        return result

    def _expect_edge(self) -> None:
        """Note that a pattern has been latched whose edge begins no sweep, or may be late."""
        self._quiet_from_s = self._clock.now_s() + (1.0 + LATE) * self._surface.settle_s


class TunableMicrowaveLayer(MicrowaveLayer):
    """A microwave layer with elements that no drive sets: a `ParameterSink`."""

    def __init__(
        self,
        settings: MicrowaveSettings,
        analyser: NetworkAnalyser,
        surface: Metasurface,
        name: str,
        clock: Clock,
    ) -> None:
        super().__init__(settings, analyser, surface, name, clock)
        self._tuned = np.setdiff1d(np.arange(surface.n_elements), self._driven)
        self._parameters = _element_channels(self._tuned, surface.levels)
        begin = np.zeros(len(self._tuned))
        self._written = WrittenParameters(begin, begin)

    @property
    def parameters(self) -> tuple[Channel, ...]:
        """Describe the elements that no drive sets."""
        return self._parameters

    @property
    def written(self) -> WrittenParameters:
        """Return the last write; zeros before the first."""
        return self._written

    def write_parameters(self, values: NDArray[np.floating]) -> WrittenParameters:
        """Set the elements (n_parameters,) to their nearest levels, with every driven element at 0.

        Raises `DriveError` for values out of range, `InstrumentError` when the surface refuses or holds something else;
        the layer then keeps the elements as they were.
        """
        commanded = check_parameters(self.info.name, len(self._tuned), values)
        steps = self._surface.levels - 1
        kept = self._kept.copy()
        kept[self._tuned] = np.rint(commanded * steps)
        self._surface.show(kept)
        self._expect_edge()
        self._kept = kept
        self._written = WrittenParameters(commanded, kept[self._tuned] / steps)
        return self._written


def _status(values: NDArray[np.float64], *, overload: bool) -> RowStatus:
    if overload:
        return RowStatus.OVERLOAD
    return RowStatus.OK if np.isfinite(values).all() else RowStatus.FAILED


def _driven_elements(settings: MicrowaveSettings, surface: Metasurface) -> NDArray[np.int64]:
    if settings.driven is None:
        return np.arange(surface.n_elements)
    for place, element in enumerate(settings.driven):
        if element >= surface.n_elements:
            message = f"driven: '{surface.name}' has elements 0 to {surface.n_elements - 1}, and no {element}"
            raise SettingError(("driven", place), message)
    return np.array(settings.driven, dtype=np.int64)


def _element_channels(elements: NDArray[np.int64], levels: int) -> tuple[Channel, ...]:
    return tuple(Channel(f"element{element}", "state", 0.0, 1.0, levels) for element in elements.tolist())


def _layer_info(
    settings: MicrowaveSettings,
    analyser: NetworkAnalyser,
    surface: Metasurface,
    driven: NDArray[np.int64],
    name: str,
) -> LayerInfo:
    return LayerInfo(
        name=name,
        inputs=_element_channels(driven, surface.levels),
        outputs=readout_channels(settings.parameters, settings.sweep_hz, settings.readout),
        nominal_pass_s=settings.pass_s,
        resources=frozenset({analyser.name, surface.name}),
        simulated=analyser.simulated and surface.simulated,
        response_dtype="float64",
    )


def _build(settings: MicrowaveSettings, instruments: Mapping[str, Instrument], context: BuildContext) -> MicrowaveLayer:
    analyser = pick_instrument(instruments, settings.analyser, NetworkAnalyser, context.name, at=("analyser",))
    surface = pick_instrument(instruments, settings.metasurface, Metasurface, context.name, at=("metasurface",))
    fully_driven = settings.driven is None or len(settings.driven) == surface.n_elements
    kind = MicrowaveLayer if fully_driven else TunableMicrowaveLayer
    return kind(settings, analyser, surface, context.name, context.clock)


DRIVER = LayerDriver(MicrowaveSettings, _build)
