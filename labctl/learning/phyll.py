"""PhyLL, physical local learning: a second forward pass instead of a backward one.

    g(y) = cos(|y|, xi),  D = g(y+) - g(y-),  L = mean log(1 + exp(-theta D))

The positive pass carries the true label, the negative a wrong one. Each block descends its own L by its own digital
weights, with the measured responses held fixed; nothing is propagated back. Source: Momeni et al., Science 382:1297
(2023) and the authors' public code (MomeniAli/PhyLL). More than one wrong label, wrong labels that look right, and a
softmax over the labels measured are this project's options.
"""

import numpy as np
from numpy.typing import NDArray

from labctl.config.training import PhyllOptions
from labctl.learning.labelled import LabelledPasses
from labctl.learning.loss import make_loss
from labctl.learning.negatives import Negatives
from labctl.learning.rule import Surroundings
from labctl.learning.update import make_update
from labctl.network.goodness import goodness
from labctl.network.label import Vectors
from labctl.network.network import Network


class Phyll(LabelledPasses):
    """The rule with its options; by default as published: one uniform wrong label, `inner_steps` Adam steps on it."""

    def __init__(self, settings: PhyllOptions, network: Network, _: Surroundings) -> None:
        negatives = Negatives(network.label.n_classes, settings.negatives, sharpness=settings.hardness * settings.theta)
        super().__init__(
            network,
            epochs=settings.epochs,
            batch=settings.batch,
            theta=settings.theta,
            inner_steps=settings.inner_steps,
            loss=make_loss(settings),
            negatives=negatives,
            updates=[make_update(settings, block, 1 + negatives.count) for block in network.blocks],
        )

    def _goodness(self, block: int, outputs: Vectors) -> NDArray[np.floating]:
        return goodness(outputs, self.network.blocks[block].reference)
