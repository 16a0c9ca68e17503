"""Checks before a run is begun what can be known by then: the drives of its first block."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from labctl.config.errors import ConfigError
from labctl.config.loading import LoadedExperiment
from labctl.contract.capabilities import DomainLimited
from labctl.contract.layer import Drives, Misfit, find_misfit
from labctl.learning.requests import Measure
from labctl.learning.rule import Batch
from labctl.orchestrator.assembly import Bench, Task
from labctl.orchestrator.training import statistics

CHUNK_ROWS = 8192


def check_first_drives(loaded: LoadedExperiment, bench: Bench, task: Task) -> None:
    """Raise `ConfigError` when the first block's layer would refuse a sample under one of the labels it is sent with.

    The vectors of later blocks depend on what is measured: their drives are checked when they are known.
    """
    layer, encoder = bench.layers[0], task.rule.network.blocks[0].encoder
    limited = layer if isinstance(layer, DomainLimited) else None
    if encoder.bounded and limited is None:
        return
    fit_first_encoder(task)
    candidates, samples, row = task.rule.network.label.candidates, task.data.index, 0
    for drives in first_drives(task, samples):
        misfit = find_misfit(layer.info, drives) or (limited.misfit(drives) if limited is not None else None)
        if misfit is not None:
            place, column = divmod(row + misfit.row, len(candidates))
            raise _placed(loaded, task, misfit, int(samples[place]), int(candidates[column]))
        row += len(drives)


def first_drives(task: Task, samples: NDArray[np.int64]) -> Iterator[Drives]:
    """Yield the drives of the first block, whose encoder is fitted, for `samples` (n,) under every candidate label."""
    network = task.rule.network
    label, encoder = network.label, network.blocks[0].encoder
    n_samples = max(1, CHUNK_ROWS // len(label.candidates))
    for first in range(0, len(samples), n_samples):
        features = task.features[samples[first : first + n_samples]]
        labels = label.candidates[None, :].repeat(len(features), axis=0)
        yield encoder.encode(label.embed(features, labels).reshape(labels.size, -1)).drives


def fit_first_encoder(task: Task) -> None:
    """Fit the first block's encoder as the run will."""
    data = task.data
    batch = Batch(task.features[data.train_index], data.train_y, data.train_index)
    requests = statistics(task.rule, batch, task.experiment.seed, 0, task.stages[0])
    next(request for request in requests if isinstance(request, Measure))


def _placed(loaded: LoadedExperiment, task: Task, misfit: Misfit, sample: int, label: int) -> ConfigError:
    """Return the error at what the value comes from: the label's amplitude, or the encoder."""
    experiment, data = task.experiment, task.data
    block = experiment.network.blocks[0]
    part = "test" if sample in data.test_index else "training"
    where = f"block 1 on layer '{block.layer}': {part} sample {sample}"
    where += f" under label {data.class_names[label]!r}" if label >= 0 else ""
    message = f"{where}, {misfit.what}"
    if block.encoder.kind != "direct" or block.encoder.mix != "none" or misfit.column is None:
        hint = "choose an encoder, label amplitude and normalisation whose drives stay within"
        return loaded.document.error(("network", "blocks", 0, "encoder"), f"{message}; {hint}")
    feature = misfit.column - task.rule.network.label.label_width
    if feature < 0:
        hint = "write a `label: amplitude` that the input takes"
        return loaded.document.error(("network", "label", "amplitude"), f"{message}; {hint}")
    levels = task.infos[0].inputs[misfit.column].levels
    if levels == 2:
        hint = "write `encoder: two-bit`, which sends cells"
    elif levels is not None:
        hint = "write `encoder: fitted-range`, which sends the nearest level"
    else:
        hint = "write `encoder: fitted-range`, which fills the range and clips what lies beyond"
        if experiment.data.normalise in ("none", "standard"):
            hint = f"scale the features by `normalise: min-max`, or {hint}"
    name = repr(data.feature_names[feature]) if data.feature_names else str(feature)
    return loaded.document.error(("network", "blocks", 0, "encoder"), f"{message} (feature {name}); {hint}")
