"""The learning rules by the name an experiment writes."""

from labctl.config.training import (
    ContrastivePhyllTraining,
    FeedbackAlignmentTraining,
    ForwardForwardTraining,
    PhyllTraining,
    ReadoutTraining,
    ReferencePhyllTraining,
    SpsaTraining,
    Training,
)
from labctl.data.dataset import ImageShape
from labctl.learning.contrastive import ContrastivePhyll
from labctl.learning.feedback_alignment import FeedbackAlignment
from labctl.learning.forward_forward import ForwardForward
from labctl.learning.phyll import Phyll
from labctl.learning.readout import Readout
from labctl.learning.reference import ReferencePhyll
from labctl.learning.rule import LearningRule
from labctl.learning.spsa import Spsa
from labctl.network.network import Network


def make_rule(
    settings: Training, network: Network, *, seed: int, image_shape: ImageShape | None = None
) -> LearningRule:
    """Return the rule an experiment asks for, acting on `network`; `seed` is the experiment's.

    `image_shape` is that of the samples, if they are images. Raises `InputError` when the rule cannot be used so.
    """
    match settings:
        case PhyllTraining():
            return Phyll(settings, network)
        case ReferencePhyllTraining():
            return ReferencePhyll(settings, network, seed)
        case ContrastivePhyllTraining():
            return ContrastivePhyll(settings, network, image_shape)
        case ForwardForwardTraining():
            return ForwardForward(settings, network)
        case FeedbackAlignmentTraining():
            return FeedbackAlignment(settings, network, seed)
        case SpsaTraining():
            return Spsa(settings, network, seed)
        case ReadoutTraining():
            return Readout(settings, network)
