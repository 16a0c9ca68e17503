"""A trained model as a portable bundle: everything but the physics."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labctl.data.normalise import Normalisation
from labctl.orchestrator.assembly import Task

_ONLY_TO_TRAIN = ("adam", "negatives", "work")


def describe_model(task: Task) -> tuple[Mapping[str, NDArray[Any]], Mapping[str, object]]:
    """Return arrays and description of a trained model.

    Arrays: `block0.weights` (units, n_features + 1; last column the bias), `block0.reference` (xi),
    `block0.response_mean` and `response_gain`, encoders, and `normalisation.*`. The description says how they are
    put together, in the words of the experiment file.
    """
    learnt = {name: array for name, array in task.rule.arrays().items() if not name.startswith(_ONLY_TO_TRAIN)}
    scaling = {f"normalisation.{name}": array for name, array in task.data.normalisation.to_arrays().items()}
    experiment = task.experiment
    description = {
        "name": experiment.name,
        "rule": experiment.training.rule,
        "training": experiment.training.model_dump(mode="json"),
        "network": experiment.network.model_dump(mode="json"),
        "layers": [
            {"name": info.name, "n_inputs": info.n_inputs, "n_outputs": info.n_outputs, "simulated": info.simulated}
            for info in task.infos
        ],
        "class_names": list(task.data.class_names),
        "feature_names": list(task.data.feature_names),
    }
    return {**learnt, **scaling}, description


def normalisation_of(arrays: Mapping[str, NDArray[Any]]) -> Normalisation:
    """Return the feature scaling saved in a bundle."""
    prefix = "normalisation."
    own = {name.removeprefix(prefix): np.asarray(array) for name, array in arrays.items() if name.startswith(prefix)}
    return Normalisation.from_arrays(own)
