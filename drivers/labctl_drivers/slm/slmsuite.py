"""Modulators that slmsuite drives: Hamamatsu, HOLOEYE, Meadowlark, Santec, Texas Instruments, Thorlabs and others."""

import hashlib
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from labctl.contract.driver import BuildContext, InstrumentDriver, Settings
from labctl.contract.errors import InputError, InstrumentError
from labctl.contract.optics import LevelPlane
from labctl.contract.units import Hertz, Seconds
from labctl_drivers.slmsuite_class import Argument, ClassPath, instance_of, slmsuite_failing


class SlmsuiteModulatorSettings(Settings):
    """A modulator by the slmsuite class that drives it. Levels are written as they are: no phase, no correction."""

    class_path: ClassPath = Field(
        alias="class", description="slmsuite's class", examples=["slmsuite.hardware.slms.santec.Santec"]
    )
    arguments: dict[str, Argument] = Field(
        default_factory=dict, description="what its constructor needs, see slmsuite's documentation"
    )
    size: tuple[Annotated[int, Field(ge=1, le=32768)], Annotated[int, Field(ge=1, le=32768)]] = Field(
        description="width and height in pixels; the modulator must have as many"
    )
    refresh_hz: Annotated[Hertz, Field(gt=0)] | None = Field(
        alias="refresh", default=None, description="of the panel; no exposure may be shorter than one period"
    )
    settle_s: Annotated[Seconds, Field(ge=0, le=60)] = Field(
        alias="settle", description="from writing a pattern until the light is steady; measure it"
    )
    simulated: bool = Field(default=False, description="no light is modulated: the class simulates")


class SlmsuiteModulator:
    """A `Modulator` on an slmsuite SLM of 8 bits, or of more, of which 256 levels are used."""

    def __init__(self, settings: SlmsuiteModulatorSettings, name: str) -> None:
        self._settings = settings
        self._name = name
        self._slm: Any = None

    @property
    def name(self) -> str:
        """Return the instrument's name in the rig file."""
        return self._name

    @property
    def simulated(self) -> bool:
        """Return whether the rig file says so."""
        return self._settings.simulated

    @property
    def state_id(self) -> str:
        """Name class, arguments and settling."""
        return hashlib.sha256(self._settings.model_dump_json(exclude_defaults=True).encode()).hexdigest()[:12]

    @property
    def shape(self) -> tuple[int, int]:
        """Return rows and columns."""
        width, height = self._settings.size
        return height, width

    @property
    def levels(self) -> int:
        """Return 256."""
        return 256

    @property
    def settle_s(self) -> float:
        """Return how long after `show` the light is steady."""
        return self._settings.settle_s

    @property
    def frame_s(self) -> float:
        """Return the panel's period, 0 where none is stated."""
        return 0.0 if self._settings.refresh_hz is None else 1.0 / self._settings.refresh_hz

    def open(self) -> None:
        """Construct slmsuite's object, which connects, and show level 0. Raises `InstrumentError`."""
        if self._slm is not None:
            return
        self._slm = instance_of(self._settings.class_path, self._settings.arguments, self._name)
        try:
            self._require_fit()
            self.show(np.zeros(self.shape, np.uint8))
        except BaseException:
            self.close()
            raise

    def show(self, plane: LevelPlane) -> None:
        """Write `plane` (rows, columns); slmsuite's own settling is not waited for. Raises `InstrumentError`."""
        if plane.shape != self.shape or plane.dtype != np.uint8:
            rows, columns = self.shape
            raise InputError(f"{self._name}: a plane is {rows} x {columns} levels, not {plane.dtype} of {plane.shape}")
        if self._slm is None:
            raise InstrumentError(self._name, "the modulator is not open", command="show")
        top = int(self._slm.bitresolution) - 1
        written = plane if top == self.levels - 1 else np.rint(plane / (self.levels - 1) * top)
        with slmsuite_failing(self._name, "show"):
            self._slm.set_phase(written.astype(self._slm.dtype), settle=False)

    def make_safe(self) -> None:
        """Show level 0 everywhere."""
        if self._slm is not None:
            try:
                self.show(np.zeros(self.shape, np.uint8))
            except InstrumentError:
                return

    def close(self) -> None:
        """Release the modulator."""
        slm, self._slm = self._slm, None
        if slm is not None:
            with slmsuite_failing(self._name, "close"):
                slm.close()

    def _require_fit(self) -> None:
        rows, columns = self._slm.shape
        if (rows, columns) != self.shape:
            cause = f"the modulator has {columns} x {rows} pixels; the rig file says {self._settings.size}"
            raise InstrumentError(self._name, cause, command="open")
        if self._slm.bitresolution < self.levels:
            cause = f"the modulator has {self._slm.bitresolution} levels; 256 are needed"
            raise InstrumentError(self._name, cause, command="open")


def _build(settings: SlmsuiteModulatorSettings, context: BuildContext) -> SlmsuiteModulator:
    return SlmsuiteModulator(settings, context.name)


DRIVER = InstrumentDriver(SlmsuiteModulatorSettings, _build)
