"""What a rig file says of an optical layer."""

import math
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from labctl.contract.blocks import Blocks
from labctl.contract.driver import Settings
from labctl.contract.errors import SettingError
from labctl.contract.units import Seconds


class Grid(Settings):
    """Square blocks of pixels, side by side in `rows` and `columns`; counted row by row from the top left.

    On a modulator a block is a macro-pixel and one input, in a camera's picture one output: the mean of its pixels.
    Without `pixels`, `left` and `top` they are as large as fits, in the middle.
    """

    rows: int = Field(ge=1, le=4096, description="of blocks")
    columns: int = Field(ge=1, le=4096, description="of blocks")
    pixels: int | None = Field(default=None, ge=1, le=4096, description="along each side of a block")
    left: int | None = Field(default=None, ge=0, le=65535, description="first column of pixels")
    top: int | None = Field(default=None, ge=0, le=65535, description="first row of pixels")

    @model_validator(mode="after")
    def _is_placed_or_not(self) -> "Grid":
        placed = [value is not None for value in (self.pixels, self.left, self.top)]
        if any(placed) and not all(placed):
            raise SettingError((), "pixels, left and top belong together: state all three or none")
        return self

    def blocks(self, shape: tuple[int, int], whose: str) -> Blocks:
        """Return the blocks in `shape` (rows, columns) of pixels. Raises `ValueError` when they do not fit."""
        if self.pixels is None or self.left is None or self.top is None:
            return Blocks.in_the_middle(shape, self.rows, self.columns)
        blocks = Blocks(self.rows, self.columns, self.pixels, self.left, self.top)
        bottom, right = blocks.bottom_right
        if bottom > shape[0] or right > shape[1]:
            raise ValueError(f"they reach to row {bottom}, column {right}; '{whose}' has {shape[0]} and {shape[1]}")
        return blocks


class AmplitudeModulation(Settings):
    """Level 0 is dark, the highest the full amplitude; a look-up table makes the levels between proportional."""

    kind: Literal["amplitude"]

    @property
    def unit(self) -> str:
        """Unit of a drive."""
        return "of full amplitude"


class PhaseModulation(Settings):
    """The highest level delays by `stroke_rad` more than level 0, and levels between in proportion."""

    kind: Literal["phase"]
    stroke_rad: float = Field(gt=0, le=4 * math.pi, description="6.283185 is one wave")

    @property
    def unit(self) -> str:
        """Unit of a drive."""
        return f"of {self.stroke_rad:.6g} rad"

    @property
    def is_one_wave(self) -> bool:
        """Whether the highest level and level 0 are the same phase."""
        return math.isclose(self.stroke_rad, 2 * math.pi, rel_tol=1e-3)


class DarkFrames(Settings):
    """Pictures with the light off, whose mean is subtracted from every picture until the next."""

    every_s: Annotated[Seconds, Field(gt=0)] = Field(alias="every", description="after which time they are taken again")
    frames: int = Field(default=4, ge=1, le=1000, description="how many make one mean")


class OpticalSettings(Settings):
    """Patterns of a modulator in, intensities at a camera out: one pattern and one picture a pass.

    `modulator`, `camera` and `light` name instruments of the rig. Inputs are drives from 0 (level 0) to 1 (the highest
    level). A pass shows a pattern, lets it settle and exposes; when the exposure has ended the next pattern is shown
    while the picture is still being read.
    """

    modulator: str
    camera: str
    light: str | None = Field(
        default=None, description="shutter or laser; without it nothing makes dark, since a blank modulator does not"
    )
    modulation: Annotated[AmplitudeModulation | PhaseModulation, Field(discriminator="kind")]
    inputs: Grid = Field(description="macro-pixels of the modulator")
    outputs: Grid = Field(description="blocks of the camera's picture")
    background: int = Field(default=0, ge=0, le=255, description="level of all pixels outside the macro-pixels")
    tunable_bias: bool = Field(
        default=False,
        description="whether a phase that is added to every input, 0 unless written, is a parameter; needs one wave",
    )
    dark: DarkFrames | None = None
    max_saturated: float = Field(default=0.05, ge=0, lt=1, description="share of pixels beyond which it is an overload")
    calibration: Path | None = Field(
        default=None,
        description="file that labctl calibrate wrote: its settling replaces the modulator's, its lag is allowed for",
    )
    overlap: bool = Field(default=True, description="show the next pattern while a picture is read")

    @model_validator(mode="after")
    def _parts_fit(self) -> "OpticalSettings":
        if self.dark is not None and self.light is None:
            raise SettingError(("dark",), "dark: without a `light` that can be switched off there are no dark pictures")
        if self.tunable_bias and not (isinstance(self.modulation, PhaseModulation) and self.modulation.is_one_wave):
            message = "tunable_bias: phases add up on a phase modulator with a stroke_rad of 6.283185 alone"
            raise SettingError(("tunable_bias",), message)
        return self
