"""Backpropagation through a simulator's exact derivative: the upper reference for what the weights could learn."""

from labctl.config.training import BackpropagationTraining
from labctl.contract.errors import SettingError
from labctl.learning.backward import Backward
from labctl.learning.requests import Differentiate, Requests
from labctl.learning.rule import Surroundings
from labctl.network.label import Vectors
from labctl.network.network import Network


class Backpropagation(Backward):
    """The rule. Raises `SettingError` when a layer behind the first block has no derivative to offer."""

    differentiates = True

    def __init__(self, settings: BackpropagationTraining, network: Network, surroundings: Surroundings) -> None:
        for number, (block, offer) in enumerate(zip(network.blocks, surroundings.offers, strict=True), start=1):
            if number > 1 and not offer.differentiable:
                raise SettingError(
                    ("rule",),
                    f"rule backpropagation needs the derivative of block {number}, but layer '{block.layer}' does not "
                    "know its own, as hardware never does; expected a simulated layer that does, or the rule "
                    "physics-aware, which fits a twin",
                )
        super().__init__(network, settings, surroundings.seed)

    def _pull_back(self, block: int, inputs: Vectors, upstream: Vectors) -> Requests[Vectors]:
        return (yield Differentiate(block, inputs, upstream))
