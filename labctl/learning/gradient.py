"""The gradient of a local loss with respect to the weights of one block."""

import numpy as np

from labctl.learning.loss import LocalLoss
from labctl.network.label import Vectors


class GoodnessGradient:
    """dL/dW for y = W z, g(y) = cos(|y|, xi) and a loss of the goodness of `candidates` labels per sample.

    With a = |y| and u(y) = sign(y) (xi - g a/|a|)/|a|, the gradient of g: dL/dW = sum_i dL/dg_i u(y_i) z_i^T. The bias
    is the weight of the constant last feature.
    """

    def __init__(self, reference: Vectors, loss: LocalLoss, candidates: int) -> None:
        self._reference = reference
        self._reference_signs = np.sign(reference)
        self._loss = loss
        self._candidates = candidates
        self.goodness: Vectors = np.empty((0, candidates), reference.dtype)

    def __call__(self, weights: Vectors, features: Vectors) -> Vectors:
        """Return dL/dW for `features` (n candidates, d), each sample's true label before its wrong ones.

        Keeps the goodness (n, candidates) it found.
        """
        y = features @ weights.T
        norm = np.sqrt(np.einsum("ij,ij->i", y, y))
        norm[norm == 0] = np.inf  # a vector of zeros points nowhere: goodness 0, gradient 0
        aligned = np.copysign(self._reference, y)
        aligned *= self._reference_signs
        g = np.einsum("ij,ij->i", y, aligned) / norm
        self.goodness = g.reshape(-1, self._candidates)
        scale = (self._loss.pull(self.goodness).ravel() / norm)[:, None]
        aligned *= scale
        y *= scale * (g / norm)[:, None]
        aligned -= y
        return aligned.T @ features

    def loss(self) -> float:
        """Return L of the features last seen."""
        return self._loss.value(self.goodness)
