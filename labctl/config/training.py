"""The part of an experiment file that says by which rule the network learns."""

from importlib.util import find_spec
from typing import Annotated, ClassVar, Literal, Self, get_args

from pydantic import BaseModel, Field, field_validator, model_validator

from labctl.config.names import FileName
from labctl.contract.driver import Settings
from labctl.contract.errors import SettingError

Schedule = Literal["joint", "cached", "greedy", "pipelined"]
Precision = Literal["float32", "float64"]


class Adam(Settings):
    """Adam, as Kingma and Ba (arXiv:1412.6980) define it."""

    kind: Literal["adam"] = "adam"
    lr: float = Field(default=5e-4, gt=0, description="learning rate")
    decay: Literal["none", "cosine"] = Field(
        default="none", description="course of the learning rate over training; cosine: falls to zero"
    )
    beta1: float = Field(default=0.9, ge=0, lt=1, description="decay of the mean of the gradient")
    beta2: float = Field(default=0.999, ge=0, lt=1, description="decay of the mean of its square")
    epsilon: float = Field(default=1e-8, gt=0, description="keeps the step finite where the gradient vanishes")


class _Rule(Settings):
    labelled: ClassVar[bool] = False
    adds_up: ClassVar[bool] = False
    """Whether it gathers features of many batches, which must be alike, before it learns from them."""
    """Whether the label enters with the sample: such a rule tells passes apart by it, others predict it."""

    precision: Precision = Field(default="float32", description="number type of the weights")

    @field_validator("schedule", mode="before", check_fields=False)
    @classmethod
    def _pipelined_blocks_learn_alone(cls, schedule: object) -> object:
        possible = get_args(cls.model_fields["schedule"].annotation)
        if schedule == "pipelined" and schedule not in possible:
            what = "blocks cannot be measured at once, as this rule does not train every block by itself"
            raise ValueError(f"{what}; expected {' or '.join(possible)}")
        return schedule


class Gradual(_Rule):
    """What all rules that learn step by step are told."""

    epochs: int = Field(ge=1, description="passes over the training data")
    batch: int = Field(default=100, ge=1, description="samples per update")
    shifts: int = Field(
        default=0, ge=0, description="pixels by which training images are shifted at most, anew in every epoch"
    )
    optimizer: Adam = Field(default_factory=Adam, description="how gradients become updates")


class _BlockByBlock(Gradual):
    inner_steps: int = Field(default=10, ge=1, description="updates per batch of measured responses")


class _AnySchedule(Gradual):
    schedule: Schedule = Field(
        default="cached",
        description="joint: measure whatever is asked for; cached: what no weight changes only once; greedy: train "
        "block after block, each cached; pipelined: as joint, blocks on separate instruments at once",
    )


class _AllBlocksAtOnce(Gradual):
    schedule: Literal["joint", "cached"] = Field(
        default="cached", description="cached: measure what no weight changes only once; joint: never"
    )


class PhyllOptions(_BlockByBlock):
    """What PhyLL is told, whatever trains beside the weights."""

    labelled = True

    theta: float = Field(default=4.0, gt=0, description="sharpness of the loss on the goodness")
    loss: Literal["pairs", "softmax"] = Field(
        default="pairs",
        description="pairs: logistic, true label against each wrong one; softmax: over all labels measured",
    )
    negatives: Literal["all"] | Annotated[int, Field(ge=1)] = Field(
        default=1, description="wrong labels measured with each sample and step: a number, or all"
    )
    hardness: float = Field(
        default=0.0, ge=0, description="how much wrong labels that look right are preferred; 0: drawn uniformly"
    )
    arithmetic: Literal["numpy", "fused"] = Field(
        default="numpy",
        description="numpy: updates operation by operation; fused: compiled as one, faster and rounded otherwise",
    )
    init_from: FileName | None = Field(
        default=None, description="model folder (RUN/model) whose weights to start from, relative to this file"
    )

    @model_validator(mode="after")
    def _compiler_is_there(self) -> Self:
        if self.arithmetic == "fused" and find_spec("numba") is None:
            what = 'arithmetic is "fused", but numba, which compiles it, is not installed; pip install "labctl[fast]"'
            raise SettingError(("arithmetic",), what)
        return self


class PhyllTraining(PhyllOptions, _AnySchedule):
    """Physical local learning: every block separates positive from negative passes by its goodness."""

    rule: Literal["phyll"]


class TunedPhyllTraining(PhyllOptions):
    """PhyLL, and the hardware's own parameters trained in place by simultaneous perturbation of its loss."""

    rule: Literal["phyll-spsa"]
    schedule: Literal["joint"] = Field(
        default="joint", description="every pass is measured, as the hardware is another after each update"
    )
    perturbation: float = Field(
        default=0.25, gt=0, le=1, description="length of a perturbation, as a share of each parameter's range"
    )
    parameter_lr: float = Field(
        default=0.02, gt=0, description="learning rate of the parameters, as a share of their ranges"
    )


class ReferencePhyllTraining(_BlockByBlock, _AnySchedule):
    """Class-wise references: a direction per class and block, so that no label need enter; one pass per sample."""

    rule: Literal["phyll-reference"]
    theta: float = Field(default=10.0, gt=0, description="sharpness of the softmax over the classes")


class ContrastivePhyllTraining(Gradual):
    """Unsupervised: each block tells a sample's second view from other samples'; a ridge readout learns the classes.

    The readout takes one epoch more.
    """

    adds_up = True

    rule: Literal["phyll-contrastive"]
    epochs: int = Field(
        ge=0, description="passes over the training data before the readout's; 0: the weights stay as drawn"
    )
    schedule: Literal["joint", "cached", "pipelined"] = Field(
        default="cached",
        description="cached: measure what no weight changes only once; joint: never; pipelined: as joint, blocks on "
        "separate instruments at once",
    )
    batch: int = Field(default=100, ge=2, description="samples per update, which are each other's negatives")
    theta: float = Field(default=10.0, gt=0, description="sharpness of the softmax over the samples of a batch")
    view_shift: int = Field(default=0, ge=0, description="pixels by which a second view is shifted at most")
    view_mask: float = Field(default=0.3, ge=0, lt=1, description="part of the features that a second view lacks")
    inner_steps: int = Field(default=1, ge=1, description="updates per batch of measured responses")
    ridge: float = Field(default=1e-3, gt=0, description="weight of the squared norm of the readout")

    @model_validator(mode="after")
    def _views_differ(self) -> Self:
        if not self.view_shift and not self.view_mask:
            what = "view_mask is 0 and view_shift is 0, so that both views are the same; expected one of them above 0"
            raise SettingError(("view_mask",), what)
        return self


class ForwardForwardTraining(_BlockByBlock, _AnySchedule):
    """Forward-forward: every block is to be loud for true labels and quiet for wrong ones."""

    labelled = True

    rule: Literal["forward-forward"]
    theta: float = Field(default=10.0, gt=0, description="sharpness of the loss on the mean square of the outputs")
    threshold: float = Field(default=1.0, gt=0, description="mean square that parts true from wrong labels")


class FeedbackAlignmentTraining(_AllBlocksAtOnce):
    """Augmented direct feedback alignment: the error reaches every block through a fixed random matrix."""

    rule: Literal["feedback-alignment"]
    augment: Literal["cos", "sin", "none"] = Field(
        default="cos", description="function of a block's outputs that the fed back error is multiplied by"
    )


class SpsaTraining(_AllBlocksAtOnce):
    """Simultaneous perturbation: all weights are moved at random, there and back; needs no model and no gradient."""

    rule: Literal["spsa"]
    directions: int = Field(default=1, ge=1, description="random directions per update, two passes each")
    perturbation: float = Field(default=0.01, gt=0, description="length of a perturbation along each weight")


class Twin(Settings):
    """A digital model of each block that the error is sent back through, fitted to passes of its own."""

    passes: int = Field(ge=10, description="passes that the model of each block is fitted to")
    hidden: int = Field(default=128, ge=1, description="tanh units beside the model's linear part")
    epochs: int = Field(default=200, ge=1, description="passes of the fit over its data")
    lr: float = Field(default=3e-3, gt=0, description="learning rate of the fit; falls to zero by a cosine")


class _OnTwin(_AllBlocksAtOnce):
    twin: Twin | None = Field(
        default=None, description="the model of the physics; `labctl validate` says whether it is needed and its price"
    )


class PhysicsAwareTraining(_OnTwin):
    """Physics-aware training: forward through the hardware, backward through a twin of it."""

    rule: Literal["physics-aware"]


class DualAdaptiveTraining(_OnTwin):
    """Dual adaptive training: physics-aware, with networks that learn the twin's errors from the training passes."""

    rule: Literal["dual-adaptive"]
    error_hidden: int = Field(default=64, ge=1, description="tanh units of the network that learns a twin's errors")
    error_steps: int = Field(default=5, ge=1, description="updates of that network per batch of measured responses")
    error_lr: float = Field(default=1e-3, gt=0, description="its learning rate")


class InSilicoTraining(_OnTwin):
    """Backpropagation on a twin alone; the hardware is used to fit it and to test."""

    rule: Literal["in-silico"]


class BackpropagationTraining(_AllBlocksAtOnce):
    """Backpropagation through a simulator that knows its own derivative: an upper reference, never hardware."""

    rule: Literal["backpropagation"]


class ReadoutTraining(_Rule):
    """Linear readout of the responses by ridge regression; the baseline of reservoir computing."""

    adds_up = True

    rule: Literal["readout"]
    schedule: Literal["joint", "cached"] = Field(
        default="cached", description="cached: measure what no weight changes only once; joint: never"
    )
    ridge: float = Field(default=1e-3, gt=0, description="weight of the squared norm of the readout")


Training = Annotated[
    PhyllTraining
    | TunedPhyllTraining
    | ReferencePhyllTraining
    | ContrastivePhyllTraining
    | ForwardForwardTraining
    | FeedbackAlignmentTraining
    | SpsaTraining
    | PhysicsAwareTraining
    | DualAdaptiveTraining
    | InSilicoTraining
    | BackpropagationTraining
    | ReadoutTraining,
    Field(discriminator="rule"),
]


def schedules_of(training: Training) -> tuple[Schedule, ...]:
    """Return the schedules that the rule of `training` can have."""
    return schedules_of_model(type(training))


def schedules_of_model(settings: type[BaseModel]) -> tuple[Schedule, ...]:
    """Return the schedules that a rule with these `settings` can have."""
    return get_args(settings.model_fields["schedule"].annotation)


def rule_of(settings: type[BaseModel]) -> str:
    """Return the name of the rule with these `settings`."""
    (name,) = get_args(settings.model_fields["rule"].annotation)
    return str(name)
