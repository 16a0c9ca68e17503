"""What a rig file says of a camera, whatever drives it."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from labctl.contract.driver import Settings
from labctl.contract.errors import SettingError
from labctl.contract.units import Decibel, Seconds

Pixel = Annotated[int, Field(ge=0, le=65535)]
Extent = Annotated[int, Field(ge=1, le=65536)]
Feature = bool | int | float | str

SOFTWARE = "software"
FREE = "free"


class Region(Settings):
    """A part of the sensor, in pixels."""

    left: Pixel = Field(default=0, description="of the sensor's left edge")
    top: Pixel = Field(default=0, description="of the sensor's upper edge")
    width: Extent = Field(description="columns of a picture")
    height: Extent = Field(description="rows of a picture")


class CameraSettings(Settings):
    """What a picture is and how long it takes."""

    region: Region = Field(description="part of the sensor that is read")
    bits: int = Field(default=8, ge=1, le=16, description="of a pixel; full scale is 2^bits - 1")
    alignment: Literal["right", "left"] = Field(
        default="right", description="left: the camera's bits are the upper ones of a 16-bit word"
    )
    exposure_s: Annotated[Seconds, Field(gt=0, le=3600)] = Field(
        alias="exposure", description="how long light is collected; on a display, a multiple of its period"
    )
    start_delay_s: Annotated[Seconds, Field(ge=0, le=60)] = Field(
        alias="start_delay",
        default=0.0,
        description="at most from the trigger until the exposure begins; some cameras take 20 ms",
    )
    discard: int = Field(
        default=0,
        ge=0,
        le=100,
        description="exposures left unused before the one that counts: a camera's lag in frames",
    )
    timeout_s: Annotated[Seconds, Field(gt=0, le=3600)] = Field(
        alias="timeout", default=1.0, description="from the end of an exposure until its picture counts as lost or late"
    )
    reconnects: int = Field(default=3, ge=0, le=100, description="how often a camera that is gone is looked for again")
    simulated: bool = Field(default=False, description="no light is measured: the camera is a simulated one")

    @model_validator(mode="after")
    def _bits_fit(self) -> "CameraSettings":
        if self.alignment == "left" and self.bits <= 8:
            raise SettingError(("alignment",), "alignment: up to 8 bits there is nothing to align; leave it out")
        return self


class Trigger(Settings):
    """What begins an exposure. An external one comes from a modulator's trigger output, by cable."""

    source: str = Field(
        default=SOFTWARE,
        description="software; the camera's input as it names it: Line1; or free, for a camera that has no trigger",
    )
    edge: Literal["rising", "falling"] = Field(default="rising", description="of the signal at the input")

    @field_validator("source")
    @classmethod
    def _is_named(cls, source: str) -> str:
        if not source:
            raise ValueError("name an input of the camera, software or free")
        return source.lower() if source.lower() in (SOFTWARE, FREE) else source

    @property
    def is_software(self) -> bool:
        """Return whether labctl itself triggers."""
        return self.source == SOFTWARE

    @property
    def is_free(self) -> bool:
        """Return whether the camera runs by itself."""
        return self.source == FREE


class GenicamSettings(CameraSettings):
    """A camera with GenICam features, which are set in the order: format, region, times, gain, trigger, `features`.

    Whatever the camera regulates by itself (exposure, gain, gamma) is switched off.
    """

    pixel_format: str = Field(default="Mono8", description="as the camera names it; an unpacked grey one")
    exposure_is_fixed: bool = Field(
        default=False, description="the camera's exposure cannot be set, and is as `exposure` says"
    )
    gain_db: Decibel | None = Field(alias="gain", default=None, description="left as it is unless given")
    trigger: Trigger = Trigger()
    features: tuple[Annotated[dict[str, Feature], Field(min_length=1, max_length=1)], ...] = Field(
        default=(), description="further features by the camera's own names, set last, one after the other"
    )

    @field_validator("pixel_format")
    @classmethod
    def _is_grey(cls, pixel_format: str) -> str:
        if pixel_format not in BITS_OF_FORMAT:
            raise ValueError(f"'{pixel_format}' cannot be read; expected one of {', '.join(BITS_OF_FORMAT)}")
        return pixel_format

    @model_validator(mode="after")
    def _format_has_bits(self) -> "GenicamSettings":
        if self.bits > BITS_OF_FORMAT[self.pixel_format]:
            message = f"bits: {self.pixel_format} has {BITS_OF_FORMAT[self.pixel_format]} bits, not {self.bits}"
            raise SettingError(("bits",), message)
        return self


BITS_OF_FORMAT = {"Mono8": 8, "Mono10": 10, "Mono12": 12, "Mono14": 14, "Mono16": 16}
"""Formats whose pixels are whole bytes, by the names of the GenICam pixel format naming convention."""
