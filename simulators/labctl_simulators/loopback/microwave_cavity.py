"""A metasurface in a flat metal box and the network analyser on it: an instrument without hardware.

It is what the operating points of one cavity share: the medium, the elements, the analyser's noise and the drift. Noise
belongs to (seed, row id, how often that id was read since `open`), drift to the time a row is read at. The
medium can be disturbed: from a row on the box is warm, or one of its posts stands elsewhere.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from labctl.contract.disturbances import ChannelChange, MediumChange, Move, Planned, TemperatureChange
from labctl.contract.driver import BuildContext, InstrumentDriver
from labctl.contract.errors import SettingError, blaming
from labctl_simulators.loopback.microwave_settings import ElementSettings, SimulatedCavitySettings
from labctl_simulators.loopback.row_noise import RowNoise
from labctl_simulators.physics.analyser import AnalyserNoise
from labctl_simulators.physics.changed_box import displaced, warmed
from labctl_simulators.physics.drift import SlowDrift
from labctl_simulators.physics.enclosure import Complex, Plates, Real
from labctl_simulators.physics.metasurface import (
    Element,
    Layout,
    MetasurfaceCavity,
    Pitch,
    arrange,
    check_spacing,
    in_rows,
    solve_cavity,
)

_MEDIUM, _DRIFT, _NOISE = range(3)
"""Named random streams below one seed."""


class SimulatedCavity:
    """A box with its elements and antennas. `layout` says where everything is; `Disturbable`."""

    def __init__(self, settings: SimulatedCavitySettings, name: str) -> None:
        """Raise `SettingError` for what does not fit into the box."""
        self.layout = _layout(settings)
        self._settings = settings
        self._name = name
        self._noise = None if settings.vna is None else settings.vna.noise
        self._random = RowNoise(_stream(settings.seed, _NOISE))
        drawn = np.random.default_rng(_stream(settings.seed, _DRIFT))
        self._gain_drift, self._phase_drift = (SlowDrift(settings.drift / math.sqrt(2.0), drawn) for _ in range(2))
        self._media: list[tuple[int, Layout]] = []
        """What the box is from which row on, after everything that has befallen it until then."""
        self._solutions: dict[tuple[bytes, int], MetasurfaceCavity] = {}
        self._readings: Counter[int] = Counter()
        self._open = False

    @property
    def name(self) -> str:
        """Return the instrument's name in the rig file."""
        return self._name

    @property
    def elements(self) -> ElementSettings:
        """Return what the elements can do."""
        return self._settings.elements

    @property
    def n_antennas(self) -> int:
        """Return the number of antennas."""
        return self._settings.antennas.count

    @property
    def noise(self) -> AnalyserNoise | None:
        """Return the analyser's noise, None where the readout is exact."""
        return self._noise

    @property
    def state_id(self) -> str:
        """Name the medium and everything else that the settings determine."""
        # Settings left at their defaults are not in the name, so that a new one does not rename what exists.
        return hashlib.sha256(self._settings.model_dump_json(exclude_defaults=True).encode()).hexdigest()[:12]

    def open(self) -> None:
        """Begin to count readings; does nothing when already open."""
        if not self._open:
            self._readings.clear()
        self._open = True

    def solved(self, frequencies_hz: Real, row_id: int | None = None) -> MetasurfaceCavity:
        """Return the cavity at `frequencies_hz` (n,), solved once however many layers read it there.

        It is the cavity that row `row_id` meets, or the undisturbed one.
        """
        past = 0 if row_id is None else sum(first_row <= row_id for first_row, _ in self._media)
        key = (frequencies_hz.tobytes(), past)
        if key not in self._solutions:
            elements = self._settings.elements
            element = Element(elements.resonances_hz, elements.quality, elements.coupling)
            layout = self._media[past - 1][1] if past else self.layout
            self._solutions[key] = solve_cavity(layout, element, frequencies_hz)
        return self._solutions[key]

    def check_disturbance(self, change: MediumChange) -> None:
        """Raise `SettingError` for a change of anything but the box and its posts, and for a move without room."""
        self._changed(self.layout, change)

    def disturb(self, planned: Planned) -> None:
        """Let the box be another one from a row on. Raises `SettingError` as `check_disturbance` does."""
        layout = self._media[-1][1] if self._media else self.layout
        self._media.append((planned.row, self._changed(layout, planned.change)))

    def read(
        self, cavity: MetasurfaceCavity, states: Real, paths: Sequence[tuple[int, int]], *, row_id: int, time_s: float
    ) -> Complex:
        """Return what the analyser makes of S (n_paths, n_frequencies) for one row: drifting gain, then noise."""
        self._readings[row_id] += 1
        signal = cavity.transmission(states, paths)
        signal = signal * complex(self._gain_drift.gain(time_s), self._phase_drift.gain(time_s) - 1.0)
        if self._noise is None:
            return signal
        return self._noise.on(signal, self._random.of(row_id, self._readings[row_id]))

    def make_safe(self) -> None:
        """Do nothing: no power is on."""

    def close(self) -> None:
        """Forget the solutions."""
        self._solutions.clear()
        self._open = False

    def _changed(self, layout: Layout, change: ChannelChange | MediumChange) -> Layout:
        match change:
            case TemperatureChange(temperature_c=temperature_c):
                return warmed(layout, self._settings.box.air, temperature_c)
            case Move(distance_m=distance_m):
                with blaming("distance"):
                    return displaced(layout, distance_m)
            case _:
                what = f"a metasurface cavity is not {change.kind}; expected temperature or moved"
                raise SettingError(("kind",), what)


def _layout(settings: SimulatedCavitySettings) -> Layout:
    """Place everything. Raises `SettingError` for what does not fit."""
    box, elements, antennas = settings.box, settings.elements, settings.antennas
    size_m = (max(box.length_m, box.width_m), min(box.length_m, box.width_m))
    for at, radius_m in {("antennas", "radius"): antennas.radius_m, ("box", "post_radius"): box.post_radius_m}.items():
        with blaming(*at):
            check_spacing(radius_m)
    with blaming("elements"):
        rows = in_rows(elements.count, size_m, Pitch(elements.pitch_m, elements.distance_m, elements.radius_m))
    with blaming("box"):
        return arrange(
            size_m,
            Plates(box.height_m, box.quality),
            rows,
            antenna_radius_m=np.full(antennas.count, antennas.radius_m),
            post_radius_m=np.full(box.posts, box.post_radius_m),
            rng=np.random.default_rng(_stream(settings.seed, _MEDIUM)),
        )


def _stream(seed: int, stream: int) -> np.random.SeedSequence:
    return np.random.SeedSequence(seed, spawn_key=(stream,))


def _build(settings: SimulatedCavitySettings, context: BuildContext) -> SimulatedCavity:
    return SimulatedCavity(settings, context.name)


DRIVER = InstrumentDriver(SimulatedCavitySettings, _build)
