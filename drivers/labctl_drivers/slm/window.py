"""A modulator that is a display: a borderless window on it, in a child process (`window_process`)."""

import contextlib
import hashlib
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from labctl.contract.capabilities import Finding
from labctl.contract.driver import BuildContext, InstrumentDriver, Settings
from labctl.contract.errors import InputError, InstrumentError, SettingError
from labctl.contract.optics import LevelPlane
from labctl.contract.units import Hertz, Seconds
from labctl_drivers.slm.window_link import WindowLink
from labctl_drivers.slm.window_process import Place

OPEN_S = 20.0
ANSWER_S = 2.0
_LEVELS = 256

Pixels = Annotated[int, Field(ge=0, le=32768)]


class WindowSettings(Settings):
    """A modulator on a display output. The window covers `size` pixels at `position` on the monitor.

    The display must be at the modulator's own resolution, unscaled, without gamma or night colours, and no other window
    may come over it.
    """

    display: str | None = Field(
        default=None, description="X display as in DISPLAY (`:0`); without it, and on Windows and macOS, the session's"
    )
    monitor: int = Field(default=0, ge=0, description="which of the display's monitors, counted from 0")
    position: tuple[Pixels, Pixels] = Field(default=(0, 0), description="left and top on the monitor, in pixels")
    size: tuple[Annotated[int, Field(ge=1, le=32768)], Annotated[int, Field(ge=1, le=32768)]] = Field(
        description="width and height in pixels: the modulator's own"
    )
    refresh_hz: Annotated[Hertz, Field(gt=0)] = Field(
        alias="refresh", default=60.0, description="of the display; no exposure may be shorter than one period"
    )
    settle_s: Annotated[Seconds, Field(ge=0, le=60)] = Field(
        alias="settle", description="from showing a pattern until the light is steady, one refresh included; measure it"
    )
    lut: Path | None = Field(
        default=None,
        description="text file with the 256 grey values, 0 to 255, that give the levels 0 to 255; without it they are "
        "the same",
    )
    simulated: bool = Field(default=False, description="no light is modulated: the display is a virtual one")


class WindowModulator:
    """A `Modulator`, `Preparable` and `HealthCheckable`. `shown` counts the planes that the window has confirmed.

    `process` is the number of the window's process, 0 before the first.
    """

    def __init__(self, settings: WindowSettings, name: str, lut: NDArray[np.uint8]) -> None:
        self.shown = 0
        self.process = 0
        self._settings = settings
        self._name = name
        self._lut = lut
        self._window: WindowLink | None = None
        self._prepared: LevelPlane | None = None

    @property
    def name(self) -> str:
        """Return the instrument's name in the rig file."""
        return self._name

    @property
    def simulated(self) -> bool:
        """Return whether the rig file says that the display is a virtual one."""
        return self._settings.simulated

    @property
    def state_id(self) -> str:
        """Name size, settling and look-up table; where the window is makes no difference to the light."""
        described = self._settings.model_dump_json(exclude={"display", "monitor", "position", "lut"})
        return hashlib.sha256(described.encode() + self._lut.tobytes()).hexdigest()[:12]

    @property
    def shape(self) -> tuple[int, int]:
        """Return rows and columns of the window."""
        width, height = self._settings.size
        return height, width

    @property
    def levels(self) -> int:
        """Return 256."""
        return _LEVELS

    @property
    def settle_s(self) -> float:
        """Return how long after `show` the light is steady."""
        return self._settings.settle_s

    @property
    def frame_s(self) -> float:
        """Return the display's period."""
        return 1.0 / self._settings.refresh_hz

    def open(self) -> None:
        """Open the window, black. Raises `InstrumentError` when it cannot be where it belongs."""
        if self._window is not None:
            return
        (left, top), (width, height) = self._settings.position, self._settings.size
        place = Place(self._settings.display, self._settings.monitor, left, top, width, height)
        self._window, self._prepared = WindowLink(self._name), None
        try:
            answer = self._window.ask({"place": place._asdict()}, within_s=OPEN_S, command="open")
            self.process = int(answer["process"])
            self.show(np.zeros(self.shape, np.uint8))
        except BaseException:
            self.close()
            raise

    def show(self, plane: LevelPlane) -> None:
        """Return when the window's process has handed `plane` (rows, columns) to the system.

        Raises `InputError` for a plane that does not fit; `InstrumentError` when the window is frozen or gone, which
        ends it.
        """
        prepared, self._prepared = self._prepared, None
        is_there = prepared is not None and np.array_equal(prepared, plane)
        self._tell("show", None if is_there else plane)
        self.shown += 1

    def prepare(self, plane: LevelPlane) -> None:
        """Return when the window's process has drawn `plane` (rows, columns), not yet seen. Raises as `show`."""
        self._prepared = None
        self._tell("draw", plane)
        self._prepared = plane.copy()

    def health(self) -> tuple[Finding, ...]:
        """Return what the window has confirmed."""
        rows, columns = self.shape
        return (Finding("window", f"{columns} x {rows} pixels, {self.shown} patterns confirmed"),)

    def make_safe(self) -> None:
        """Show level 0 everywhere."""
        if self._window is not None:
            with contextlib.suppress(InstrumentError):
                self.show(np.zeros(self.shape, np.uint8))

    def close(self) -> None:
        """Close the window; one that does not listen is killed."""
        window, self._window = self._window, None
        if window is not None:
            window.end()

    def _tell(self, command: Literal["draw", "show"], plane: LevelPlane | None) -> None:
        """Have a plane drawn, or shown: None is the one that was drawn last. Ends a window that does not confirm it."""
        if plane is not None and (plane.shape != self.shape or plane.dtype != np.uint8):
            rows, columns = self.shape
            raise InputError(f"{self._name}: a plane is {rows} x {columns} levels, not {plane.dtype} of {plane.shape}")
        if self._window is None:
            raise InstrumentError(self._name, "the window is not open", command=command)
        number = self.shown + 1
        greys = {} if plane is None else {"greys": plane if self._settings.lut is None else self._lut[plane]}
        try:
            head = {"kind": command, "number": number}
            answer = self._window.ask(head, greys, within_s=ANSWER_S, command=command)
        except InstrumentError:
            self.close()
            raise
        if answer != {"kind": command, "number": number}:
            self.close()
            raise InstrumentError(self._name, "the window has confirmed another pattern", command=command)


def _lut(settings: WindowSettings, folder: Path) -> NDArray[np.uint8]:
    """Return the grey value of every level (256,). Raises `SettingError`."""
    if settings.lut is None:
        return np.arange(_LEVELS, dtype=np.uint8)
    path = folder / settings.lut
    try:
        greys = np.loadtxt(path, ndmin=1)
    except (OSError, ValueError) as error:
        raise SettingError(("lut",), f"{path}: {error}") from error
    whole = greys.shape == (_LEVELS,) and np.isfinite(greys).all() and (greys == np.rint(greys)).all()
    if not whole or greys.min() < 0 or greys.max() >= _LEVELS:
        raise SettingError(("lut",), f"{path} must hold 256 whole numbers from 0 to 255, one for each level")
    return greys.astype(np.uint8)


def _build(settings: WindowSettings, context: BuildContext) -> WindowModulator:
    return WindowModulator(settings, context.name, _lut(settings, context.folder))


DRIVER = InstrumentDriver(WindowSettings, _build)
