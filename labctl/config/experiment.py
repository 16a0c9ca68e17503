"""The experiment file: what is trained on which data, through which layers, by which rule."""

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from labctl.config.data import Data
from labctl.config.disturbances import Disturbance
from labctl.config.names import FileName, Name, PartName
from labctl.config.network import Network
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
        description="room for what responses are read out of, such as whole recordings or pictures, so that a "
        "replay can read them out with another window or other blocks; the first passes up to it, none unless given",
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
