"""The learning rules by the settings that an experiment writes."""

from collections.abc import Callable, Mapping
from typing import Any

from labctl.config import training
from labctl.config.training import Training
from labctl.contract.driver import Settings
from labctl.learning.backpropagation import Backpropagation
from labctl.learning.contrastive import ContrastivePhyll
from labctl.learning.feedback_alignment import FeedbackAlignment
from labctl.learning.forward_forward import ForwardForward
from labctl.learning.on_twin import DualAdaptive, InSilico, PhysicsAware
from labctl.learning.phyll import Phyll
from labctl.learning.readout import Readout
from labctl.learning.reference import ReferencePhyll
from labctl.learning.rule import LearningRule, Surroundings
from labctl.learning.spsa import Spsa
from labctl.learning.tuned import TunedPhyll
from labctl.network.network import Network

RULES: Mapping[type[Settings], Callable[[Any, Network, Surroundings], LearningRule]] = {
    training.PhyllTraining: Phyll,
    training.TunedPhyllTraining: TunedPhyll,
    training.ReferencePhyllTraining: ReferencePhyll,
    training.ContrastivePhyllTraining: ContrastivePhyll,
    training.ForwardForwardTraining: ForwardForward,
    training.FeedbackAlignmentTraining: FeedbackAlignment,
    training.SpsaTraining: Spsa,
    training.PhysicsAwareTraining: PhysicsAware,
    training.DualAdaptiveTraining: DualAdaptive,
    training.InSilicoTraining: InSilico,
    training.BackpropagationTraining: Backpropagation,
    training.ReadoutTraining: Readout,
}


def make_rule(settings: Training, network: Network, surroundings: Surroundings) -> LearningRule:
    """Return the rule an experiment asks for, acting on `network`. Raises `InputError` when it cannot be used there."""
    return RULES[type(settings)](settings, network, surroundings)
