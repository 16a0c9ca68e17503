"""Settings of a simulated optical bench: modulator, medium, camera."""

import math
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from labctl.contract.driver import Settings
from labctl.contract.errors import SettingError
from labctl.contract.units import Seconds
from labctl_simulators.faults import FaultPlan
from labctl_simulators.physics.camera import Camera, electrons_per_count, full_scale, saturated_share
from labctl_simulators.physics.scattering import Property


class AmplitudeModulation(Settings):
    """A drive is the field's amplitude. The camera is exposed for drives with the root mean square `typical_drive`."""

    kind: Literal["amplitude"]
    typical_drive: float = Field(default=0.577, gt=0, le=1, description="rms; 0.577 are drives spread evenly over 0..1")

    @property
    def stroke_rad(self) -> None:
        """Amplitudes have no phase."""

    @property
    def unit(self) -> str:
        """Unit of a drive."""
        return "of full amplitude"


class PhaseModulation(Settings):
    """A drive of 1 delays the field by `stroke_rad`; the field is exp(+i · stroke · drive), with exp(-iωt)."""

    kind: Literal["phase"]
    stroke_rad: float = Field(gt=0, le=4 * math.pi)

    @property
    def typical_drive(self) -> float:
        """Return one: the power does not depend on the drive."""
        return 1.0

    @property
    def unit(self) -> str:
        """Unit of a drive."""
        return f"of {self.stroke_rad:.6g} rad"


class ModulatorSettings(Settings):
    """The panel. It shows `levels` equidistant drives, 0 and 1 included, and takes no other.

    Every input drives `pixels_per_input` pixels. Of each pixel's area the share `fill` modulates, the rest reflects
    unmodulated. Of all pixels the share `dead` is stuck at drive 0. `latency` and `settle` are those of a virtual
    instrument on a display: this long it shows the pattern before, and then turns to the new one in this time.
    """

    modulation: Annotated[AmplitudeModulation | PhaseModulation, Field(discriminator="kind")]
    levels: int = Field(default=256, ge=2, le=65536)
    fill: float = Field(default=1.0, gt=0, le=1)
    pixels_per_input: int = Field(default=1, ge=1)
    dead: float = Field(default=0.0, ge=0, lt=0.5)
    latency_s: Annotated[Seconds, Field(ge=0, le=10)] = Field(alias="latency", default=0.0)
    settle_s: Annotated[Seconds, Field(ge=0, le=10)] = Field(alias="settle", default=0.0)


class Decorrelation(Settings):
    """The medium turns into another one: its field correlates with that at time zero by exp(-t / `time`)."""

    time_s: Annotated[Seconds, Field(gt=0)] = Field(alias="time")


class GaussianMedium(Settings):
    """A strongly scattering medium: independent circular Gaussian elements, mean power 1 / inputs."""

    kind: Literal["gaussian"]
    inputs: int = Field(ge=1)
    outputs: int = Field(ge=1)
    seed: int = Field(ge=0)
    decorrelation: Decorrelation | None = None


class UnitaryMedium(Settings):
    """A lossless mixer of modes."""

    kind: Literal["unitary"]
    modes: int = Field(ge=1)
    seed: int = Field(ge=0)
    decorrelation: Decorrelation | None = None


class MeasuredMedium(Settings):
    """A measured transmission matrix, outputs x inputs, from the array `key` of an .npz file, in the file's units.

    Inputs and outputs are what it was measured between: for a fibre, the amplitudes (or phases) of its modes, launched
    and separated by a mode multiplexer, one camera pixel per mode. Of a stack of matrices `deformation` picks one.
    Properties in `declared` are checked. Between and beyond the deformations nothing is known: it cannot decorrelate.
    """

    kind: Literal["measured"]
    path: Path
    key: str = "tm"
    deformation: int | None = None
    declared: tuple[Property, ...] = ()

    @property
    def decorrelation(self) -> None:
        """A measured medium stays as it was measured."""


class CameraSettings(Settings):
    """The camera; see `labctl_simulators.physics.camera` for its noise.

    It is exposed so that a typical frame's mean is the share `exposure` of the range above `dark_level`: computed from
    the medium and the panel, before any data are seen. `noise` is an rms added to every pixel, as a share of that mean.
    Shot noise needs `full_well`; both it and `read_noise` are in electrons. A row of which more than the share
    `max_saturated` saturates is an overload. A virtual instrument hands over the picture of `lag` exposures before.
    """

    bits: Literal[8, 10, 12] = 8
    exposure: float = Field(default=0.125, gt=0, lt=1)
    dark_level: int = Field(default=0, ge=0)
    noise: float = Field(default=0.0, ge=0, lt=1)
    full_well: float | None = Field(default=None, gt=0, description="electrons; without it there is no shot noise")
    read_noise: float = Field(default=0.0, ge=0, description="electrons, rms")
    gain: float = Field(default=1.0, ge=1, description="at 2, half a full well is full scale")
    max_saturated: float = Field(default=0.05, ge=0, lt=1)
    lag: int = Field(default=0, ge=0, le=100)

    @model_validator(mode="after")
    def _is_possible(self) -> "CameraSettings":
        if self.full_well is None and (self.read_noise or self.gain != 1.0):
            at = "read_noise" if self.read_noise else "gain"
            raise SettingError((at,), f"{at} is about electrons: state the full_well too")
        if 2 * self.dark_level > full_scale(self.bits):
            what = f"a dark_level of {self.dark_level} of {full_scale(self.bits)} leaves too little for the light"
            raise SettingError(("dark_level",), f"{what}; at most half the range may be dark")
        share = saturated_share(self.exposure)
        if share > self.max_saturated:
            raise SettingError(
                ("exposure",),
                f"a mean at {self.exposure:g} of full scale saturates {share:.1%} of a speckle pattern, more than "
                f"max_saturated ({self.max_saturated:.1%}); expose less or allow more",
            )
        return self

    def exposed(self) -> Camera:
        """Return the camera as physics sees it."""
        return Camera(
            bits=self.bits,
            dark_level=self.dark_level,
            mean_counts=self.exposure * (full_scale(self.bits) - self.dark_level),
            noise=self.noise,
            electrons_per_count=None
            if self.full_well is None
            else electrons_per_count(self.bits, self.dark_level, self.full_well, self.gain),
            read_noise_electrons=self.read_noise,
        )


class OpticsSettings(Settings):
    """An optical bench. `drift` is the rms of slow relative changes of the light's power; `pass` all that a row takes.

    `seed` is that of everything but the medium: dead pixels, drift and noise. With `tunable_bias` a phase that is added
    to every input, 0 unless written, is a parameter of the layer; that needs a modulator of one wave.
    """

    modulator: ModulatorSettings
    medium: Annotated[GaussianMedium | UnitaryMedium | MeasuredMedium, Field(discriminator="kind")]
    camera: CameraSettings
    drift: float = Field(default=0.0, ge=0, le=0.2)
    seed: int = Field(ge=0)
    pass_s: Annotated[Seconds, Field(gt=0)] = Field(alias="pass")
    tunable_bias: bool = False
    faults: FaultPlan | None = Field(default=None, description="faults on purpose, to rehearse a bad night")

    @model_validator(mode="after")
    def _phases_add_up(self) -> "OpticsSettings":
        stroke_rad = self.modulator.modulation.stroke_rad
        if self.tunable_bias and (stroke_rad is None or not math.isclose(stroke_rad, 2 * math.pi, rel_tol=1e-3)):
            what = "tunable_bias: phases add up on a phase modulator with a stroke_rad of 6.283185 alone"
            raise SettingError(("tunable_bias",), what)
        return self
