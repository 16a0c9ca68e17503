"""The experiment file: what is trained on which data, through which layers, by which rule."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, GetJsonSchemaHandler, model_validator
from pydantic_core import CoreSchema

from labctl.config.disturbances import Disturbance
from labctl.config.names import FileName, LayerAddress, Name, PartName
from labctl.config.rivals import Rivals
from labctl.config.training import PhyllOptions, Training
from labctl.config.unattended import Drift, Unattended
from labctl.contract.driver import Settings
from labctl.contract.errors import SettingError
from labctl.contract.units import Bytes, Seconds

EXPERIMENT_SCHEMA = "labctl/experiment/1"

Baseline = Literal["linear", "untrained", "skip-only", "linear-map", "linear-map-modulus", "shuffled"]
BASELINES: tuple[Baseline, ...] = (
    "linear",
    "untrained",
    "skip-only",
    "linear-map",
    "linear-map-modulus",
    "shuffled",
)


Keep = Literal["everything", "passes", "responses", "result"]
REPLAYABLE: tuple[Keep, ...] = ("everything", "passes")
"""What must be kept of a run that is to be replayed."""


class _Data(Settings):
    groups_key: ClassVar[str | None] = None
    """The key of this source that says which group a sample belongs to."""

    test_fraction: float = Field(default=0.2, gt=0, lt=1, description="part of the samples kept for testing")
    split: Literal["stratified", "group"] = Field(
        default="stratified",
        description="stratified: the same share of every class on both sides; group: no group on both sides",
    )
    split_seed: int = Field(default=0, description="seed of the split, apart from the experiment's own")
    train_samples: int | None = Field(
        default=None,
        ge=1,
        description="how many samples of the training part are learnt from, class by class in proportion; all of them "
        "unless given",
    )
    normalise: Literal["none", "standard", "min-max", "max"] = Field(
        default="min-max", description="scaling of the features, fitted on the training part alone"
    )

    @model_validator(mode="after")
    def _split_by_known_groups(self) -> Self:
        if self.split != "group":
            return self
        if self.groups_key is None:
            raise SettingError(("split",), 'split is "group", but this source names no groups; expected stratified')
        if getattr(self, self.groups_key) is None:
            what = f'split is "group", but nothing names the groups; expected the key "{self.groups_key}" beside it'
            raise SettingError(("split",), what)
        return self


class DigitsData(_Data):
    """The 1797 handwritten digits of 8 × 8 pixels that come with scikit-learn."""

    source: Literal["digits"]


class WineData(_Data):
    """The 178 wines with 13 measured properties that come with scikit-learn."""

    source: Literal["wine"]


class CsvData(_Data):
    """A table with a header line and one sample per line."""

    groups_key = "group"

    source: Literal["csv"]
    path: FileName = Field(description="the file, relative to this one")
    label: str = Field(description="the column that holds the class")
    features: tuple[str, ...] | None = Field(
        default=None, min_length=1, description="the columns to learn from; all others unless given"
    )
    group: str | None = Field(default=None, description="the column that says which samples belong together")


class NpzData(_Data):
    """Arrays in a NumPy archive."""

    groups_key = "groups"

    source: Literal["npz"]
    path: FileName = Field(description="the file, relative to this one")
    features: str = Field(default="x", description="the array of features, one row per sample")
    labels: str = Field(default="y", description="the array of classes")
    groups: str | None = Field(default=None, description="the array that says which samples belong together")


class IdxData(_Data):
    """Images and labels in the files of the MNIST family."""

    source: Literal["idx"]
    images: FileName = Field(description="the images, relative to this file")
    labels: FileName = Field(description="their labels")
    test_images: FileName | None = Field(default=None, description="images of the test set, if it has files of its own")
    test_labels: FileName | None = Field(default=None, description="labels of the test set")
    crop: int = Field(default=0, ge=0, description="rows and columns of pixels to cut off at every edge")

    @model_validator(mode="after")
    def _test_set_is_whole_and_alone(self) -> Self:
        if (self.test_images is None) != (self.test_labels is None):
            given, absent = ("test_images", "test_labels") if self.test_images else ("test_labels", "test_images")
            raise SettingError((given,), f"{given} comes without {absent}; expected both or neither")
        if self.test_images is not None and "test_fraction" in self.model_fields_set:
            what = "test_fraction splits off a test set, but test_images already is one; expected one of the two"
            raise SettingError(("test_fraction",), what)
        return self


Data = Annotated[DigitsData | WineData | CsvData | NpzData | IdxData, Field(discriminator="source")]


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
    standardise: bool = Field(default=True, description="scale responses to zero mean and unit variance")
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


class Record(Settings):
    """How passes are repeated and made durable."""

    retries: int = Field(default=3, ge=0, le=20, description="repeats of a pass that failed before the run stops")
    commit_every: Annotated[Seconds, Field(gt=0)] = Field(
        default=0.2, description="longest time a pass waits for the disk"
    )
    checkpoint_every: int = Field(default=1, ge=1, description="epochs between checkpoints")
    keep: Keep = Field(
        default="everything",
        description="what is left when the run is finished; passes: no raw signals; responses: it can be verified, but "
        "not replayed; result: neither, as no pass is left",
    )
    raw_bytes: Annotated[Bytes, Field(gt=0)] | None = Field(
        alias="raw",
        default=None,
        description="room for what responses are read out of, such as whole recordings, so that a replay can read them "
        "out with another window; the first passes up to it, none unless given",
    )

    @model_validator(mode="after")
    def _raw_signals_are_kept(self) -> Self:
        if self.raw_bytes is not None and self.keep != "everything":
            what = f"raw signals are recorded for replays, and record.keep: {self.keep} gives them up"
            raise SettingError(("raw",), f"{what}; expected one of the two")
        return self


class Report(Settings):
    """What is made of a run when it ends."""

    page: bool = Field(
        default=True, description="write report.html when the run ends; without it `labctl report RUN` writes it later"
    )

    baselines: tuple[Baseline, ...] = Field(
        default=BASELINES, description="digital baselines to report beside the result"
    )


class Experiment(Settings):
    """One experiment: data, network, training and the rigs it runs on."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": ["rig"]}, {"required": ["rigs"]}]})

    schema_version: Literal["labctl/experiment/1"] = Field(alias="schema", description="version of this file's form")
    name: Name = Field(description="what runs are called")
    description: str = Field(default="", description="for people")
    rig: FileName | None = Field(default=None, description="the rig file; short for rigs: {main: FILE}")
    named_rigs: dict[PartName, FileName] | None = Field(
        default=None, alias="rigs", min_length=1, description="rig files by the role they play"
    )
    seed: int = Field(ge=0, description="seed of weights, order and negatives")
    data: Data = Field(description="what is learnt")
    network: Network = Field(description="blocks of layer and weights")
    training: Training = Field(description="the learning rule and its settings")
    record: Record = Field(default_factory=Record, description="the pass log")
    drift: Drift | None = Field(
        default=None, description="how layers are watched by reference passes; not at all unless given"
    )
    disturbances: tuple[Disturbance, ...] = Field(
        default=(), description="what is changed on purpose while the run goes on, one after the other, for good"
    )
    unattended: Unattended = Field(default_factory=Unattended, description="limits of a run that nobody looks at")
    report: Report = Field(default_factory=Report, description="the report at the end")
    compare: Rivals = Field(default_factory=dict)

    @property
    def rigs(self) -> dict[str, str]:
        """Return the rig files by role, as written."""
        return {"main": self.rig} if self.rig is not None else dict(self.named_rigs or {})

    @property
    def compiled(self) -> bool:
        """Whether updates are compiled."""
        return isinstance(self.training, PhyllOptions) and self.training.arithmetic == "fused"

    @model_validator(mode="after")
    def _rigs_named_once(self) -> Self:
        if self.rig is not None and self.named_rigs is not None:
            raise SettingError(
                ("rigs",), 'both "rig" and "rigs" are given; expected one ("rig: FILE" means the main rig)'
            )
        if not self.rigs:
            raise SettingError((), 'missing key "rig"; expected the path of a rig file')
        return self

    @model_validator(mode="after")
    def _all_labels_leave_nothing_to_draw(self) -> Self:
        training = self.training
        if isinstance(training, PhyllOptions) and training.negatives == "all" and training.hardness:
            what = "hardness chooses among wrong labels, but negatives is all of them; expected one of the two"
            raise SettingError(("training", "hardness"), what)
        return self

    @model_validator(mode="after")
    def _page_has_a_source(self) -> Self:
        if not self.report.page and self.record.keep not in REPLAYABLE:
            what = f"no page is written now, and record.keep: {self.record.keep} leaves nothing to write one from later"
            raise SettingError(("report", "page"), f"{what}; expected one of the two")
        return self

    @model_validator(mode="after")
    def _shifted_images_are_new_passes(self) -> Self:
        if not getattr(self.training, "shifts", 0):
            return self
        if self.training.schedule not in ("joint", "pipelined"):
            what = f'shifted images are new drives in every epoch, but schedule is "{self.training.schedule}"'
            raise SettingError(("training", "shifts"), f"{what}; expected shifts: 0 or schedule: joint")
        if self.data.normalise not in ("max", "none"):
            what = f'shifted pixels need one scale for all of them, but normalise is "{self.data.normalise}"'
            raise SettingError(("training", "shifts"), f"{what}; expected shifts: 0 or normalise: max or none")
        return self

    @model_validator(mode="after")
    def _label_suits_rule(self) -> Self:
        kind, rule = self.network.label.kind, self.training.rule
        if self.training.labelled == (kind != "none"):
            return self
        what, expected = f"rule {rule} predicts the label, so no pass may contain it", "none"
        if self.training.labelled:
            what, expected = f"rule {rule} tells positive from negative passes by their label", "one-hot or field"
        raise SettingError(("network", "label", "kind"), f'label kind is "{kind}", but {what}; expected {expected}')
