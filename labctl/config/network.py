"""The part of an experiment file that describes the network: blocks of an encoder, a layer and digital weights."""

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, GetJsonSchemaHandler, model_validator
from pydantic_core import CoreSchema

from labctl.config.names import LayerAddress
from labctl.contract.driver import Settings
from labctl.contract.errors import SettingError


class Label(Settings):
    """How the label enters the first block, which is what makes a pass positive or negative."""

    kind: Literal["one-hot", "field", "none"] = Field(
        description="one-hot: as one value per class; field: as a fixed random field, one per class, added to the "
        "features; none: not at all"
    )
    amplitude: float = Field(default=1.0, gt=0, description="value that stands for the class, or rms of its field")
    pad: int = Field(default=0, ge=0, description="zeros between the label and the features")


class _Encoder(Settings):
    mix: Literal["none", "orthogonal"] = Field(
        default="none",
        description="orthogonal: spread the vector over all inputs of the layer by a fixed random matrix",
    )


class DirectEncoder(_Encoder):
    """The vector is the drive; the layer refuses what lies outside its range."""

    kind: Literal["direct"]


class FittedRangeEncoder(_Encoder):
    """The range between two quantiles of the training inputs fills the layer's range; values beyond are clipped."""

    kind: Literal["fitted-range"]
    low_quantile: float = Field(
        default=0.01, ge=0, le=1, description="quantile at the lower end of the channel's range"
    )
    high_quantile: float = Field(
        default=0.99, ge=0, le=1, description="quantile at the upper end of the channel's range"
    )

    @model_validator(mode="after")
    def _quantiles_in_order(self) -> Self:
        if self.low_quantile >= self.high_quantile:
            at = "high_quantile" if "high_quantile" in self.model_fields_set else "low_quantile"
            what = (
                f"low_quantile is {self.low_quantile:g} and high_quantile {self.high_quantile:g}; expected low < high"
            )
            raise SettingError((at,), what)
        return self


class QuantileEncoder(_Encoder):
    """Each value becomes its rank, 0 to 1, among the training values at the same place; values beyond are clipped."""

    kind: Literal["quantile"]
    cells: int = Field(
        default=1,
        ge=1,
        le=8,
        description="1: the rank fills the channel's range; k above 1: on/off cells with the binary code of one of 2^k "
        "bins that hold equally many training values",
    )


class UnitEnergyEncoder(_Encoder):
    """Moduli, scaled so that every drive has the same energy."""

    kind: Literal["unit-energy"]


class TwoBitEncoder(_Encoder):
    """Two on/off cells per value."""

    kind: Literal["two-bit"]


def _encoder_by_name(value: object) -> object:
    return {"kind": value} if isinstance(value, str) else value


class _OrItsKind:
    """Lets the JSON schema accept what `_encoder_by_name` does: the bare kind."""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, object]:
        union = handler(schema)
        kinds = list(union["discriminator"]["mapping"])
        return {**union, "oneOf": [*union["oneOf"], {"enum": kinds}]}


Encoder = Annotated[
    Annotated[
        DirectEncoder | FittedRangeEncoder | QuantileEncoder | UnitEnergyEncoder | TwoBitEncoder,
        Field(discriminator="kind"),
    ],
    BeforeValidator(_encoder_by_name),
    _OrItsKind(),
]


class Block(Settings):
    """Encoder, physical layer and digital weights."""

    layer: LayerAddress = Field(description="a layer of a rig: NAME, or ROLE.NAME where several rigs have one")
    encoder: Encoder = Field(description="how numbers become drives: a kind, or a mapping with its settings")
    skip: bool | Literal["input"] = Field(
        description="whether the weights also see what was encoded, past the layer; input: what entered the network, "
        "label and features, in its place"
    )
    units: int = Field(gt=0, description="outputs of the digital weights")
    standardise: bool | Literal["running"] = Field(
        default=True,
        description="scale responses to zero mean and unit variance; true: by the first frames, for good; running: by "
        "the batches trained on lately, so that a bench that changes is learnt anew",
    )
    reads: int = Field(default=1, ge=1, le=1000, description="passes that a response is the mean of")
    response_scale: float = Field(
        default=1.0,
        gt=0,
        description="factor on the responses after that: below 1 the skip weighs more than the physics",
    )


class Network(Settings):
    """The blocks in the order in which signals pass them."""

    label: Label = Field(description="how the label enters the first block")
    blocks: tuple[Block, ...] = Field(min_length=1, description="the blocks, first to last")

    @model_validator(mode="after")
    def _input_is_skipped_to_later_blocks(self) -> Self:
        if self.blocks[0].skip == "input":
            what = "what enters the network is what the first block encodes; write `skip: true` there, which means it"
            raise SettingError(("blocks", 0, "skip"), what)
        return self
