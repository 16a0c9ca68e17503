"""Puts an experiment together: data, rigs, network and rule, checked against one another before anything is opened."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from labctl.config.experiment import Experiment
from labctl.config.loading import LoadedExperiment, resolve_path
from labctl.config.network import Block
from labctl.config.placing import errors_at
from labctl.config.unattended import Drift
from labctl.contract.capabilities import RawSignals
from labctl.contract.errors import InputError
from labctl.contract.layer import LayerInfo, PhysicalLayer
from labctl.data.load import PreparedData, load_dataset, prepare
from labctl.data.shifts import Shifts, make_shifts
from labctl.learning.offers import Offer, offer_of
from labctl.learning.rule import LearningRule, Surroundings
from labctl.learning.rules import make_rule
from labctl.network.label import Vectors
from labctl.network.network import MisfitError, build_network
from labctl.orchestrator.acquisition import Acquisition
from labctl.orchestrator.holdup import Holdup
from labctl.orchestrator.pipelined import Pipelined, why_not_pipelined
from labctl.orchestrator.schedules import Cached, Joint, Schedule
from labctl.record.bundle import read_bundle
from labctl.rig.client import hosted
from labctl.rig.rig import Rig, build_rig, find_layer


@dataclass(frozen=True)
class Task:
    """What is to be learnt by which rule: everything digital about an experiment.

    `features` (n_samples, d) holds every sample of either part by index, normalised, in the network's precision.
    """

    experiment: Experiment
    data: PreparedData
    features: Vectors
    rule: LearningRule
    infos: tuple[LayerInfo, ...]
    offers: tuple[Offer, ...]
    shifts: Shifts | None = None

    @property
    def stages(self) -> tuple[range, ...]:
        """The blocks that are trained together, stage after stage."""
        n_blocks = len(self.infos)
        if self.experiment.training.schedule == "greedy":
            return tuple(range(block, block + 1) for block in range(n_blocks))
        return (range(n_blocks),)

    @property
    def epochs(self) -> int:
        """Epochs of all stages together."""
        return self.rule.epochs * len(self.stages)

    def schedule(self, acquisition: Acquisition) -> Schedule:
        """Return the schedule the experiment asks for."""
        if self.experiment.training.schedule == "joint":
            return Joint(acquisition)
        if self.experiment.training.schedule == "pipelined":
            return Pipelined(acquisition)
        return Cached(acquisition, self.rule.network, self.features)


@dataclass(frozen=True)
class Bench:
    """The hardware of an experiment: its rigs by role, and the layer of each block.

    `replayed` says, as JSON values, which run's record answers in place of hardware, if one does; `holdup` whether it
    must rest.
    """

    rigs: Mapping[str, Rig]
    layers: tuple[PhysicalLayer, ...]
    replayed: Mapping[str, Any] | None = None
    holdup: Holdup = field(default_factory=Holdup)

    @property
    def infos(self) -> tuple[LayerInfo, ...]:
        """Return the layers' descriptions, one per block."""
        return tuple(layer.info for layer in self.layers)

    @property
    def offers(self) -> tuple[Offer, ...]:
        """Return what the layers offer besides measuring, one entry per block."""
        return tuple(offer_of(layer) for layer in self.layers)

    @property
    def raw_bytes(self) -> tuple[int, ...]:
        """Return what the raw signal of one pass takes, one entry per block: 0 of layers that have none."""
        return tuple(layer.raw_dtype.itemsize if isinstance(layer, RawSignals) else 0 for layer in self.layers)

    @property
    def simulated(self) -> bool:
        """Whether no real hardware is behind any block."""
        return all(info.simulated for info in self.infos)


def build_bench(loaded: LoadedExperiment) -> Bench:
    """Build the rigs of an experiment and find the layer of each block; touches no hardware and starts no process.

    Raises `ConfigError` at the line that is wrong.
    """
    bench = bench_of(loaded, {role: hosted(rig, build_rig(rig)) for role, rig in loaded.rigs.items()})
    if loaded.experiment.record.raw_bytes is not None:
        with errors_at(loaded.document, "record", "raw"):
            _require_raw_signals(bench)
    return bench


def bench_of(loaded: LoadedExperiment, rigs: Mapping[str, Rig], replayed: Mapping[str, Any] | None = None) -> Bench:
    """Return `rigs` as the bench of an experiment. Raises `ConfigError` at the line of it that they cannot meet."""
    layers = _find_layers(loaded, rigs)
    if loaded.experiment.training.schedule == "pipelined":
        with errors_at(loaded.document, "training", "schedule"):
            _require_pipeline(rigs, layers, loaded.experiment.drift)
    return Bench(rigs, layers, replayed)


def _find_layers(loaded: LoadedExperiment, rigs: Mapping[str, Rig]) -> tuple[PhysicalLayer, ...]:
    """Return the layer of each block. Raises `ConfigError` at one that `rigs` do not have."""
    layers: list[PhysicalLayer] = []
    for number, block in enumerate(loaded.experiment.network.blocks):
        with errors_at(loaded.document, "network", "blocks", number, "layer"):
            layers.append(find_layer(rigs, block.layer))
    return tuple(layers)


def _require_raw_signals(bench: Bench) -> None:
    without = [layer.info.name for layer in bench.layers if not isinstance(layer, RawSignals)]
    if without:
        raise InputError(f"layer '{without[0]}' has no raw signals that could be kept; leave the key \"raw\" out")


def _require_pipeline(rigs: Mapping[str, Rig], layers: Sequence[PhysicalLayer], drift: Drift | None) -> None:
    reason = why_not_pipelined(rigs.values(), layers, drift)
    if reason is not None:
        raise InputError(f'schedule is "pipelined", but {reason}; expected joint')


def build_task(
    loaded: LoadedExperiment, infos: Sequence[LayerInfo], offers: Sequence[Offer] = (), *, start: Path | None = None
) -> Task:
    """Load the data and build network and rule for layers described by `infos`, one per block.

    `offers` says, likewise, what the layers can do besides measuring; unless given, nothing.

    `start` is where the model of `training.init_from` lies, unless it is where the experiment says. Raises
    `ConfigError` at the line that is wrong.
    """
    experiment, document = loaded.experiment, loaded.document
    offers = tuple(offers) or (Offer(),) * len(infos)
    with errors_at(document, "data"):
        data = prepare(load_dataset(experiment.data, document.folder), experiment.data)
    try:
        network = build_network(
            experiment.network,
            infos,
            n_features=data.n_features,
            n_classes=data.n_classes,
            seed=experiment.seed,
            precision=experiment.training.precision,
        )
    except MisfitError as error:
        raise document.error(("network", "blocks", error.block, "encoder"), str(error)) from error
    _check_running_statistics(loaded)
    with errors_at(document, "training"):
        rule = make_rule(experiment.training, network, Surroundings(experiment.seed, infos, offers, data.image_shape))
    with errors_at(document, "training", "shifts"):
        shifts = make_shifts(getattr(experiment.training, "shifts", 0), data.image_shape)
    features = np.zeros((int(data.index[-1]) + 1, data.n_features), network.dtype)
    features[data.train_index] = data.train_x
    features[data.test_index] = data.test_x
    task = Task(experiment, data, features, rule, tuple(infos), offers, shifts)
    start = start or starting_model(loaded)
    if start is not None:
        _start_from(start, loaded, task)
    return task


def _check_running_statistics(loaded: LoadedExperiment) -> None:
    """Raise `ConfigError` where statistics are to follow what is not measured anew, or would make features unlike."""
    training = loaded.experiment.training
    for number, block in enumerate(loaded.experiment.network.blocks):
        if block.standardise != "running":
            continue
        at, expected = ("network", "blocks", number, "standardise"), "expected true or false"
        if training.adds_up:
            what = f"rule {training.rule} learns from features of all batches together, which must be alike"
            raise loaded.document.error(at, f"{what}; {expected}")
        if training.schedule not in ("joint", "pipelined"):
            what = f'schedule "{training.schedule}" learns from responses that were measured once'
            raise loaded.document.error(at, f"{what}; {expected}, or schedule: joint")


def starting_model(loaded: LoadedExperiment) -> Path | None:
    """Return the folder of the model that `training.init_from` names, if any."""
    named: str | None = getattr(loaded.experiment.training, "init_from", None)
    return None if named is None else resolve_path(loaded.document.folder, named)


def _check_skips(then: Sequence[Mapping[str, Any]], now: Sequence[Block]) -> None:
    """Raise `InputError` where weights would read, past the layer, what they were not trained on: widths may agree."""
    for number, (trained, block) in enumerate(zip(then, now, strict=False), start=1):
        if trained["skip"] and block.skip and trained["skip"] != block.skip:
            was, here = ("input" if skip == "input" else "true" for skip in (trained["skip"], block.skip))
            raise InputError(f"block {number} was trained with `skip: {was}`, and here it has `skip: {here}`")


def _start_from(start: Path, loaded: LoadedExperiment, task: Task) -> None:
    """Take over the weights of the model in the folder `start`."""
    with errors_at(loaded.document, "training", "init_from"):
        arrays, description = read_bundle(start)
        if description["rule"] != loaded.experiment.training.rule:
            raise InputError(f"the model was trained by rule '{description['rule']}'")
        _check_skips(description["network"]["blocks"], loaded.experiment.network.blocks)
        task.rule.network.restore(arrays)
