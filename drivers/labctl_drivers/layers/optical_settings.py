"""What a rig file says of an optical layer."""

import math
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from labctl.contract.driver import Settings
from labctl.contract.errors import SettingError
from labctl.contract.optics import Image, LevelPlane
from labctl.contract.units import Seconds


class Grid(Settings):
    """Square blocks of `pixels` x `pixels`, side by side in `rows` and `columns`; counted row by row from the top left.

    On a modulator a block is a macro-pixel and one input, in a camera's picture one output: the mean of its pixels.
    """

    rows: int = Field(ge=1, le=4096, description="of blocks")
    columns: int = Field(ge=1, le=4096, description="of blocks")
    pixels: int = Field(default=1, ge=1, le=4096, description="along each side of a block")
    left: int = Field(default=0, ge=0, le=65535, description="first column of pixels")
    top: int = Field(default=0, ge=0, le=65535, description="first row of pixels")

    @property
    def n_blocks(self) -> int:
        """Number of blocks."""
        return self.rows * self.columns

    def require_within(self, shape: tuple[int, int], whose: str, at: str) -> None:
        """Raise `SettingError` at the setting `at` unless the grid lies within `shape` (rows, columns) of pixels."""
        bottom, right = self.top + self.rows * self.pixels, self.left + self.columns * self.pixels
        if bottom > shape[0] or right > shape[1]:
            raise SettingError(
                (at,),
                f"{at} reach to row {bottom}, column {right}; '{whose}' has {shape[0]} rows and {shape[1]} columns",
            )

    def paint(self, levels: NDArray[np.uint8], plane: LevelPlane) -> None:
        """Set every block of `plane` (rows, columns) to its level, `levels` being (n_blocks,)."""
        blocks = plane[self._extent].reshape(self.rows, self.pixels, self.columns, self.pixels, copy=False)
        blocks[...] = levels.reshape(self.rows, 1, self.columns, 1)

    def cut(self, image: Image) -> Image:
        """Return the pixels of `image` (rows, columns) in the grid's extent."""
        return image[self._extent]

    def mean(self, image: Image) -> NDArray[np.float32]:
        """Return the mean of every block (n_blocks,) of `image` (rows, columns)."""
        blocks = self.cut(image).reshape(self.rows, self.pixels, self.columns, self.pixels)
        return blocks.mean(axis=(1, 3), dtype=np.float64).reshape(-1).astype(np.float32)

    @property
    def _extent(self) -> tuple[slice, slice]:
        bottom, right = self.top + self.rows * self.pixels, self.left + self.columns * self.pixels
        return slice(self.top, bottom), slice(self.left, right)


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
    overlap: bool = Field(default=True, description="show the next pattern while a picture is read")

    @model_validator(mode="after")
    def _parts_fit(self) -> "OpticalSettings":
        if self.dark is not None and self.light is None:
            raise SettingError(("dark",), "dark: without a `light` that can be switched off there are no dark pictures")
        if self.tunable_bias and not (isinstance(self.modulation, PhaseModulation) and self.modulation.is_one_wave):
            message = "tunable_bias: phases add up on a phase modulator with a stroke_rad of 6.283185 alone"
            raise SettingError(("tunable_bias",), message)
        return self
