"""A block: encoder, physical layer, digital skip and the digital weights after the physics.

s = f_p(enc(h))      measured, never differentiated
z = [s; h; 1]        standardised responses, skip if wanted, bias; skip `input` has what entered the network for h
y = W z              W is the only thing that is trained
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from labctl.contract.layer import ResponseValues
from labctl.network.encoder import Encoder
from labctl.network.label import Vectors
from labctl.network.standardise import Standardiser


@dataclass
class Block:
    """One physical layer with what surrounds it.

    A response is the mean of `reads` passes. `weights` is (units, n_features + 1), the last column the bias.
    """

    layer: str
    encoder: Encoder
    standardise: bool | Literal["running"]
    standardiser: Standardiser
    skip: bool | Literal["input"]
    reads: int
    weights: Vectors
    reference: Vectors

    def features(self, inputs: Vectors, responses: ResponseValues, first: Vectors) -> Vectors:
        """Return z (n, n_features + 1) for hidden `inputs` (n, width) and measured `responses` (n, n_outputs).

        `first` (n, width of the first block) is what entered the network, and is `inputs` in its first block.
        """
        n_outputs = responses.shape[1]
        z = np.empty((len(inputs), self.weights.shape[1]), dtype=self.weights.dtype)
        z[:, :n_outputs] = self.standardiser.apply(responses)
        if self.skip:
            z[:, n_outputs:-1] = first if self.skip == "input" else inputs
        z[:, -1] = 1
        return z

    def follow(self, responses: ResponseValues) -> None:
        """Let running statistics follow `responses` (..., n_outputs) that are trained on."""
        if self.standardise == "running":
            self.standardiser = self.standardiser.followed(responses)

    def outputs(self, features: Vectors) -> Vectors:
        """Return y (n, units) for z (n, n_features + 1)."""
        return features @ self.weights.T

    def arrays(self) -> Mapping[str, NDArray[np.floating]]:
        """Return everything that a later session needs to compute the same."""
        encoder = {f"encoder.{name}": array for name, array in self.encoder.arrays().items()}
        return {
            "weights": self.weights,
            "reference": self.reference,
            "response_mean": self.standardiser.mean,
            "response_gain": self.standardiser.gain,
            **encoder,
        }

    def restore(self, arrays: Mapping[str, NDArray[np.floating]]) -> None:
        """Take over arrays saved by `arrays`."""
        self.weights = arrays["weights"].copy()
        self.reference = arrays["reference"]
        self.standardiser = Standardiser(arrays["response_mean"], arrays["response_gain"], self.standardiser.scale)
        prefix = "encoder."
        self.encoder.restore({n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)})
