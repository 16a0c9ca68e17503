"""Rules that send the error back through the physics, by a derivative they get from somewhere.

    dL/dy_L = R^T e,  dL/dy_(b-1) = J_enc^T J_f^T (gain ⊙ dL/ds) + dL/dh of the skip,  [dL/ds ; dL/dh] = W_b^T dL/dy_b

J_f is the derivative of the physics of block b; the rules differ in it. The first block's is never needed: no weight
lies before it.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence

from labctl.config.training import Gradual
from labctl.contract.errors import InputError
from labctl.learning.end_to_end import Course, Signalled
from labctl.learning.requests import Requests
from labctl.learning.rule import Part
from labctl.network.label import Vectors
from labctl.network.network import Network


class Backward(Signalled):
    """The way back through all blocks but the first. Raises `InputError` for encoders that have no derivative."""

    def __init__(
        self,
        network: Network,
        settings: Gradual,
        seed: int,
        parts: Mapping[str, Part] | None = None,
    ) -> None:
        for number, block in enumerate(network.blocks[1:], start=2):
            if not block.encoder.smooth:
                raise InputError(
                    f"the rule sends the error back through the encoder of block {number}, which has no derivative; "
                    "expected direct, fitted-range or unit-energy there, or a rule that needs none"
                )
        super().__init__(network, settings, seed, parts)

    def _signals(self, course: Course, error: Vectors) -> Requests[Sequence[Vectors]]:
        signal: Vectors = error @ self._head.weights[:, :-1]
        self.work.update += error.size * signal.shape[1]
        signals: list[Vectors] = [signal]
        for index in reversed(range(1, len(self.network.blocks))):
            block, inputs = self.network.blocks[index], course.inputs[index]
            n_outputs = len(block.standardiser.gain)
            # Nothing that learns lies before the network's input.
            slopes = signal @ block.weights[:, : n_outputs if block.skip == "input" else -1]
            self.work.update += signal.size * slopes.shape[1]
            upstream = slopes[:, :n_outputs] * block.standardiser.gain
            drives = yield from self._pull_back(index, inputs, upstream)
            signal = block.encoder.pull_back(inputs, drives).astype(self.network.dtype)
            if block.skip is True:
                signal += slopes[:, n_outputs:]
            signals.append(signal)
        return signals[::-1]

    @abstractmethod
    def _pull_back(self, block: int, inputs: Vectors, upstream: Vectors) -> Requests[Vectors]:
        """Return the gradient (n, n_inputs) of sum(upstream * response) with respect to the drives of `inputs`."""
