"""Rules on small networks, and physics by formula that answers what they ask."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import TypeAdapter

from labctl.config.network import Network as NetworkSettings
from labctl.config.training import Training as TrainingSettings
from labctl.contract.layer import Channel, LayerInfo, ResponseValues
from labctl.learning.offers import Offer
from labctl.learning.requests import Measure, Requests
from labctl.learning.rule import Batch, LearningRule, Surroundings
from labctl.learning.rules import make_rule
from labctl.network.network import build_network

TRAINING: TypeAdapter[TrainingSettings] = TypeAdapter(TrainingSettings)
N_FEATURES, N_CLASSES, N_OUTPUTS = 4, 5, 6
INPUTS = tuple(Channel(f"x{i}", "1", 0.0, 1.0) for i in range(8))
OUTPUTS = tuple(Channel(f"y{i}", "1", 0.0, np.inf) for i in range(N_OUTPUTS))
LAYER = LayerInfo("it", INPUTS, OUTPUTS, 1.0, frozenset({"it"}), simulated=True)


@pytest.fixture(scope="session")
def respond() -> Callable[[Measure], ResponseValues]:
    """Answer with the modulus of a fixed linear map of the vectors, whatever the encoder makes of them."""

    def answer(request: Measure) -> ResponseValues:
        width = request.inputs.shape[-1]
        transfer = np.random.default_rng(width).standard_normal((width, N_OUTPUTS))
        # Elementwise, so that a row's bits do not depend on its neighbours as they do in a matrix product.
        return np.abs((request.inputs[..., None] * transfer).sum(axis=-2)).astype(np.float32)

    return answer


@pytest.fixture(scope="session")
def carry_out(respond: Callable[[Measure], ResponseValues]) -> Callable[[Requests[Any]], tuple[Any, list[Measure]]]:
    """Run a rule's computation to its end; return its result and what it asked for."""

    def run(requests: Requests[Any]) -> tuple[Any, list[Measure]]:
        asked: list[Measure] = []
        try:
            asked.append(next(requests))
            while True:
                asked.append(requests.send(respond(asked[-1])))
        except StopIteration as finished:
            return finished.value, asked

    return run


@pytest.fixture(scope="session")
def make_learner() -> Callable[..., LearningRule]:
    """Build a rule from its `training` settings, on one block per number of `units`."""

    def make(units: tuple[int, ...] = (7,), *, skip: bool | str = True, **training: Any) -> LearningRule:
        phyll = {"rule": "phyll", "epochs": 3, "theta": 5.0, "inner_steps": 2}
        settings = TRAINING.validate_python(training if "rule" in training else phyll | training)
        encoder = {"kind": "fitted-range", "mix": "orthogonal"}
        described = {
            "label": {"kind": "one-hot" if settings.labelled else "none"},
            "blocks": [
                {"layer": "it", "encoder": encoder, "skip": skip if i else bool(skip), "units": n}
                for i, n in enumerate(units)
            ],
        }
        network = build_network(
            NetworkSettings.model_validate(described),
            [LAYER] * len(units),
            n_features=N_FEATURES,
            n_classes=N_CLASSES,
            seed=1,
            precision=settings.precision,
        )
        surroundings = Surroundings(1, [LAYER] * len(units), [Offer(differentiable=True)] * len(units))
        return make_rule(settings, network, surroundings)

    return make


@pytest.fixture(scope="session")
def make_batch() -> Callable[..., Batch]:
    """Draw `n` samples, numbered from `first`."""

    def make(n: int, *, first: int = 0, seed: int = 0, dtype: str = "float32") -> Batch:
        generator = np.random.default_rng(seed)
        labels: NDArray[np.int64] = generator.integers(N_CLASSES, size=n)
        return Batch(generator.random((n, N_FEATURES)).astype(dtype), labels, np.arange(first, first + n))

    return make
