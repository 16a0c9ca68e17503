"""The learning rules by the name an experiment writes."""

from labctl.config.experiment import PhyllTraining, Training
from labctl.learning.phyll import Phyll
from labctl.learning.readout import Readout
from labctl.learning.rule import LearningRule
from labctl.network.network import Network


def make_rule(settings: Training, network: Network) -> LearningRule:
    """Return the rule an experiment asks for, acting on `network`."""
    if isinstance(settings, PhyllTraining):
        return Phyll(settings, network)
    return Readout(settings, network)
