"""Small tasks on layers without physics, and logs to record them in."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter
from threadpoolctl import threadpool_limits

from labctl.config.experiment import Experiment
from labctl.config.rig import RecoverySettings
from labctl.config.training import Training as TrainingSettings
from labctl.contract.layer import PhysicalLayer
from labctl.data.dataset import build_dataset
from labctl.data.load import prepare
from labctl.learning.offers import offer_of
from labctl.learning.rule import Surroundings
from labctl.learning.rules import make_rule
from labctl.network.network import build_network
from labctl.orchestrator.assembly import Bench, Task
from labctl.record.writer import PassLog
from labctl.rig.rig import Rig

N_INPUTS = 8
TRAINING: TypeAdapter[TrainingSettings] = TypeAdapter(TrainingSettings)


@pytest.fixture(autouse=True, scope="session")
def _one_arithmetic_thread() -> Iterator[None]:
    """Pin BLAS as a run does: rounding depends on the number of threads."""
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="session")
def make_task() -> Callable[..., Task]:
    """Build a task on `layers`, one per block: `n` samples of three overlapping classes, a quarter kept for testing."""

    def make(
        layers: Sequence[PhysicalLayer],
        *,
        n: int = 24,
        seed: int = 1,
        encoder: dict[str, Any] | None = None,
        reads: int = 1,
        skip: bool | str = True,
        **training: Any,
    ) -> Task:
        phyll = {"rule": "phyll", "epochs": 3, "batch": 7}
        settings = training if "rule" in training else phyll | training
        encoder = encoder or {"kind": "fitted-range", "mix": "orthogonal"}
        blocks = [
            {"layer": layer.info.name, "encoder": encoder, "skip": skip if i else True, "units": 6, "reads": reads}
            for i, layer in enumerate(layers)
        ]
        experiment = Experiment.model_validate(
            {
                "schema": "labctl/experiment/1",
                "name": "small",
                "rig": "none.yaml",
                "seed": seed,
                "data": {"source": "wine", "test_fraction": 0.25},
                "network": {
                    "label": {"kind": "one-hot" if TRAINING.validate_python(settings).labelled else "none"},
                    "blocks": blocks,
                },
                "training": settings,
            }
        )
        generator = np.random.default_rng(0)
        labels = np.arange(n) % 3
        samples = np.eye(3)[labels] + generator.normal(0, 0.4, (n, 3))
        dataset = build_dataset("three", samples, labels, ["a", "b", "c"], place=lambda row, column: f"{row}, {column}")
        data = prepare(dataset, experiment.data)
        infos = tuple(layer.info for layer in layers)
        network = build_network(
            experiment.network,
            infos,
            n_features=data.n_features,
            n_classes=data.n_classes,
            seed=seed,
            precision=experiment.training.precision,
        )
        features = np.zeros((n, 3), network.dtype)
        features[data.train_index], features[data.test_index] = data.train_x, data.test_x
        offers = tuple(offer_of(layer) for layer in layers)
        rule = make_rule(experiment.training, network, Surroundings(experiment.seed, infos, offers))
        return Task(experiment, data, features, rule, infos, offers)

    return make


@pytest.fixture(scope="session")
def make_bench() -> Callable[[Sequence[PhysicalLayer]], Bench]:
    """Put layers on a rig that is never opened again."""
    recovery = RecoverySettings.model_validate({"attempts": 0, "rejected": {"attempts": 0}})

    def make(layers: Sequence[PhysicalLayer]) -> Bench:
        named = {layer.info.name: layer for layer in layers}
        return Bench({"main": Rig("main", {}, named, None, recovery=recovery)}, tuple(layers))

    return make


@pytest.fixture
def log(tmp_path: Path) -> Iterator[PassLog]:
    """Open a new pass log."""
    with PassLog.create(tmp_path / "run.sqlite", {}) as created:
        yield created
