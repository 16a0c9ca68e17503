"""The update of one PhyLL block as a user of PyTorch writes it: autograd on the published loss, torch.optim.Adam.

Every way of saying so that PyTorch offers is a rival of its own: the bias as a parameter or as the weight of a constant
feature, Adam as it comes, over lists of tensors (`foreach`) and in one kernel (`fused`).
"""

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

INSTALLED = find_spec("torch") is not None

_ADAM: Mapping[str, Mapping[str, bool]] = {"adam": {}, "adam_foreach": {"foreach": True}, "adam_fused": {"fused": True}}


class TorchUpdate:
    """One block's weights and their update; `features` (n 2, d) end with the constant, positive passes before negative.

    Weights are (units, d), their last column the bias, which is a parameter of its own if `bias_apart`.
    """

    def __init__(
        self,
        weights: NDArray[np.float32],
        features: NDArray[np.float32],
        reference: NDArray[np.float32],
        *,
        theta: float,
        lr: float,
        bias_apart: bool,
        adam: Mapping[str, bool],
    ) -> None:
        self._torch: Any = import_module("torch")
        self._torch.set_num_threads(1)
        inputs = features.shape[1] - 1 if bias_apart else features.shape[1]
        self._features = self._tensor(features[:, :inputs])
        self._reference = self._tensor(reference)
        self._theta = theta
        self._matrix = self._tensor(weights[:, :inputs]).requires_grad_()
        self._bias = self._tensor(weights[:, -1]).requires_grad_() if bias_apart else None
        parameters = [self._matrix] if self._bias is None else [self._matrix, self._bias]
        self._optimizer = self._torch.optim.Adam(parameters, lr=lr, **adam)
        self._linear, self._softplus = self._torch.nn.functional.linear, self._torch.nn.functional.softplus

    def step(self) -> None:
        """Update the weights once."""
        self._optimizer.zero_grad()
        size = self._linear(self._features, self._matrix, self._bias).abs()
        goodness = (size @ self._reference / size.norm(dim=1)).view(-1, 2)
        self._softplus(-self._theta * (goodness[:, 0] - goodness[:, 1])).mean().backward()
        self._optimizer.step()

    def weights(self) -> NDArray[np.float32]:
        """Return the weights (units, d) as they are now."""
        parts = [self._matrix.detach().numpy()]
        return np.hstack(parts if self._bias is None else [*parts, self._bias.detach().numpy()[:, None]])

    def _tensor(self, array: NDArray[np.float32]) -> Any:
        return self._torch.from_numpy(array.copy())


def rivals(
    weights: NDArray[np.float32], features: NDArray[np.float32], reference: NDArray[np.float32], theta: float, lr: float
) -> dict[str, TorchUpdate]:
    """Return an update of the same block for every way of saying it."""
    return {
        f"{name}_{'bias_apart' if apart else 'bias_as_feature'}": TorchUpdate(
            weights, features, reference, theta=theta, lr=lr, bias_apart=apart, adam=options
        )
        for name, options in _ADAM.items()
        for apart in (True, False)
    }
