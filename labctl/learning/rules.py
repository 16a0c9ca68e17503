"""The learning rules by the name an experiment writes."""

from labctl.config.training import PhyllTraining, ReferencePhyllTraining, Training
from labctl.learning.phyll import Phyll
from labctl.learning.readout import Readout
from labctl.learning.reference import ReferencePhyll
from labctl.learning.rule import LearningRule
from labctl.network.network import Network


def make_rule(settings: Training, network: Network, seed: int) -> LearningRule:
    """Return the rule an experiment asks for, acting on `network`; `seed` is the experiment's."""
    match settings:
        case PhyllTraining():
            return Phyll(settings, network)
        case ReferencePhyllTraining():
            return ReferencePhyll(settings, network, seed)
        case _:
            return Readout(settings, network)
