"""What layers offer a rule besides answering measurements."""

from dataclasses import dataclass

from labctl.contract.capabilities import Differentiable, ParameterSink
from labctl.contract.layer import Channel, PhysicalLayer


@dataclass(frozen=True, slots=True)
class Offer:
    """What one layer can do besides: tell its own derivative, have `parameters` of its own set."""

    differentiable: bool = False
    parameters: tuple[Channel, ...] = ()


def offer_of(layer: PhysicalLayer) -> Offer:
    """Return what `layer`, open or not, offers."""
    parameters = layer.parameters if isinstance(layer, ParameterSink) else ()
    return Offer(isinstance(layer, Differentiable), parameters)
