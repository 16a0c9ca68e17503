"""Trains again from a run's record: what may be asked of it, and the bench that answers in place of its rigs."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from labctl.config.document import Document
from labctl.config.experiment import REPLAYABLE, Experiment
from labctl.config.loading import LoadedExperiment, LoadedRig, experiment_from_text
from labctl.contract.errors import InputError, RecordError
from labctl.contract.layer import Drives, LayerInfo, PhysicalLayer, ResponseValues, RowStatus
from labctl.drift.correction import single
from labctl.learning.requests import Purpose
from labctl.orchestrator.assembly import Bench, Task, bench_of
from labctl.orchestrator.first_drives import first_drives, fit_first_encoder
from labctl.orchestrator.recorded_layer import Answer, RecordedDrives, RecordedLayer
from labctl.orchestrator.references import DriftGuard
from labctl.orchestrator.rereading import Address, check_overrides, rereadings
from labctl.orchestrator.runs import START_NAME, reopen, reread_layer
from labctl.record.folder import LOG_NAME
from labctl.record.json_text import differences
from labctl.record.passes import RecordedPasses, take
from labctl.record.reader import LogReader
from labctl.rig.rig import Rig

NOT_LEARNT_FROM: tuple[Purpose, ...] = ("evaluate", "predict", "baseline", "reference")
"""Rows that answer no replay: looks at the layer itself, and those that may have been measured on another rig."""

WITHOUT_DRIFT = "drift=null"
"""The override of an experiment that watches for drift: a record cannot be looked at, and is corrected already."""

WITHOUT_DISTURBANCES = "disturbances=[]"
"""The override of an experiment that disturbs: what was recorded is disturbed already."""

DECIDING = ("seed", "data", "network", "training")
"""The parts of an experiment that decide what is sent."""


@dataclass(frozen=True)
class Coverage:
    """How many of the first block's rows that are known beforehand are recorded: `found` of `needed`."""

    needed: int
    found: int


def load_replay(reader: LogReader, overrides: Sequence[str], file: Path | None) -> LoadedExperiment:
    """Return the experiment of a run, or the one in `file`, with `overrides`, on the rigs of the run.

    Of a rig, `overrides` may change settings of layers alone (see `rereadings`). Layers cannot be looked at, and their
    responses are disturbed already: `drift` and `disturbances` are taken out. Raises `ConfigError`.
    """
    check_overrides(overrides)
    then = reopen(reader)
    if file is None:
        source: Mapping[str, Any] = reader.meta()["experiment"]
        text, path, folder = source["text"], Path(source["path"]), Path(source["folder"])
        overrides = [*source["overrides"], *overrides]
    else:
        text, path, folder = Document.read(file).text, file, file.parent

    def loaded(all_overrides: Sequence[str]) -> LoadedExperiment:
        return experiment_from_text(text, path, folder, all_overrides, then.rigs)

    asked = loaded(overrides)
    without = [WITHOUT_DRIFT] if asked.experiment.drift is not None else []
    without += [WITHOUT_DISTURBANCES] if asked.experiment.disturbances else []
    return loaded([*overrides, *without]) if without else asked


def starting_model_of(folder: Path, loaded: LoadedExperiment) -> Path | None:
    """Return the model that the run in `folder` started from, where `loaded` asks for the same one."""
    with LogReader(folder / LOG_NAME) as reader:
        then = reopen(reader)
    named = [getattr(each.experiment.training, "init_from", None) for each in (then, loaded)]
    start = folder / START_NAME
    return start if named[0] == named[1] and start.is_dir() else None


def recorded_bench(folder: Path, loaded: LoadedExperiment) -> Bench:
    """Return the run in `folder` as a bench for `loaded`: its layers answer from its record.

    Raises `RecordError` when the record is damaged or no layer can be told from it, `ConfigError` for a block whose
    layer the run has not measured.
    """
    with LogReader(folder / LOG_NAME) as reader:
        reader.check_integrity()
        if reader.kept() not in REPLAYABLE:
            raise RecordError(f"{folder.name} keeps its {reader.kept()} alone (`runs prune`): it cannot be replayed")
        meta, then = reader.meta(), reopen(reader)
        infos = [reread_layer(block) for block in meta["blocks"]]
        as_recorded, valid_from = _drift_undone(reader, then.experiment, infos)
        by_layer = _blocks_by_layer(then)
        anew = rereadings(folder, then, loaded, by_layer)
        rigs: dict[str, Rig] = {}
        for (role, name), blocks in by_layer.items():
            info = _free_of_charge(infos[blocks[0]], watched=then.experiment.drift is not None)
            rows = _learnt_from(reader, blocks, valid_from)
            rereading = anew.get((role, name))
            drives = RecordedDrives(info, rows if rereading is None else rereading.require_all(rows))
            state_id, answer = _only_state(folder, name, drives.states), as_recorded
            if rereading is not None:
                info = replace(info, outputs=rereading.info.outputs, response_dtype=rereading.info.response_dtype)
                state_id, answer = rereading.state_id, rereading.answer
            what = f"{_numbered(loaded, role, name)} (layer '{name}')"
            layer = RecordedLayer(info, state_id, reader.path, drives, what, answer)
            rig = rigs.get(role) or Rig(then.rigs[role].rig.name, {}, {}, None)
            rigs[role] = replace(rig, layers={**rig.layers, name: layer})
        passes = sum(reader.count_by_purpose().values())
    measured = meta["replayed"]["measured_by"] if meta.get("replayed") else folder.resolve().name
    origin = {
        "run": folder.resolve().name,
        "folder": str(folder.resolve()),
        "created": meta["created"],
        "passes": passes,
        "measured_by": measured,
        "read_anew": {f"{role}.{name}": list(each.changed) for (role, name), each in anew.items()},
    }
    return bench_of(loaded, rigs, origin)


def bench_to_go_on(folder: Path, loaded: LoadedExperiment) -> Bench | None:
    """Return the bench of the replay in `folder`, with what it has used up; None for a run that is no replay.

    Raises `RecordError` when the run that it replays is gone or another one by now.
    """
    with LogReader(folder / LOG_NAME) as reader:
        origin = reader.meta().get("replayed")
        if origin is None:
            return None
        places = (Path(origin["folder"]), folder.resolve().parent / origin["run"])
        source = next((place for place in places if (place / LOG_NAME).is_file()), None)
        if source is None:
            raise RecordError(f"{folder.name} replays {places[0]}, which is gone: put it back, or replay another run")
        bench = recorded_bench(source, loaded)
        for block, layer in enumerate(bench.layers):
            if any(_recorded(layer).pass_over(part.drives) for part in _learnt_from(reader, [block])):
                raise RecordError(f"{source} is not the run that {folder.name} was begun with: replay it anew")
    return bench


def check_coverage(folder: Path, loaded: LoadedExperiment, bench: Bench, task: Task) -> Coverage:
    """Return how many of the rows that are known before training are recorded. Raises `InputError` unless all are.

    Known are those of the first block: of test samples under every label, and of training samples where the schedule
    measures each once. Later blocks are sent what the ones before have learnt, which is known to be something else when
    a setting differs that they learn by.
    """
    with LogReader(folder / LOG_NAME) as reader:
        then = reopen(reader).experiment
    changed = changed_settings(then, loaded.experiment)
    _check_later_blocks(folder, len(task.infos), [*changed, *_read_anew_before_the_last(loaded, bench)])
    layer, block = bench.layers[0], task.rule.network.blocks[0]
    data, label = task.data, task.rule.network.label
    kept = loaded.experiment.training.schedule not in ("joint", "pipelined") and task.rule.demand(0).kept
    samples = np.concatenate([data.train_index if kept else data.train_index[:0], data.test_index])
    needed = len(samples) * len(label.candidates) * block.reads
    fit_first_encoder(task)

    def requests() -> Iterator[Drives]:
        for drives in first_drives(task, samples):
            yield from [drives] * block.reads

    missing = _recorded(layer).missing(requests())
    if missing:
        because = f"other drives follow from {_listed(changed)}" if changed else "the data or the record have changed"
        raise InputError(
            f"block 1 asks for {needed:,} rows that are known beforehand; {missing:,} of them are not in the record of "
            f"{folder.name}: {because}. A replay can change what is made of responses (optimiser, loss, epochs, "
            "units, another rule on the same drives), not what is sent; measure with `labctl run`"
        )
    return Coverage(needed, needed - missing)


def changed_settings(then: Experiment, now: Experiment) -> dict[str, tuple[object, object]]:
    """Return the settings that decide what is sent or learnt and differ, as (then, now) by dotted name."""
    dumps = [each.model_dump(mode="json", by_alias=True, include=set(DECIDING)) for each in (then, now)]
    return differences(*dumps)


def _read_anew_before_the_last(loaded: LoadedExperiment, bench: Bench) -> list[str]:
    """Return the settings with which layers of other blocks than the last are read out anew."""
    read_anew: Mapping[str, Sequence[str]] = (bench.replayed or {}).get("read_anew", {})
    others = {".".join(_address(loaded.rigs, block.layer)) for block in loaded.experiment.network.blocks[:-1]}
    return [f"{layer}.{key}" for layer, keys in read_anew.items() if layer in others for key in keys]


def _check_later_blocks(folder: Path, n_blocks: int, changed: Sequence[str]) -> None:
    last = f"network.blocks.{n_blocks - 1}."
    deciding = [name for name in changed if not name.startswith(last)]
    if n_blocks > 1 and deciding:
        raise InputError(
            f"block 2's drives are what block 1 has learnt, and {_listed(deciding)} changes that: none of them is in "
            f"the record of {folder.name}. Of several blocks a replay can change the last one's own settings alone; "
            "for anything else measure with `labctl run`"
        )


def _recorded(layer: PhysicalLayer) -> RecordedLayer:
    if not isinstance(layer, RecordedLayer):
        raise TypeError(f"layer '{layer.info.name}' does not answer from a record")
    return layer


def _listed(names: Mapping[str, object] | Sequence[str]) -> str:
    shown = list(names)[:4]
    more = f" and {len(names) - len(shown)} others" if len(names) > len(shown) else ""
    return ", ".join(shown) + more


def _blocks_by_layer(then: LoadedExperiment) -> dict[Address, list[int]]:
    """Return which blocks were measured on the layer of each role and name."""
    blocks: dict[tuple[str, str], list[int]] = {}
    for number, block in enumerate(then.experiment.network.blocks):
        blocks.setdefault(_address(then.rigs, block.layer), []).append(number)
    return blocks


def _address(rigs: Mapping[str, LoadedRig], written: str) -> tuple[str, str]:
    """Return role and name of the layer that a block names."""
    return next(
        (role, name) for role, rig in rigs.items() for name in rig.rig.layers if written in (name, f"{role}.{name}")
    )


def _numbered(loaded: LoadedExperiment, role: str, name: str) -> str:
    numbers = [
        str(number)
        for number, block in enumerate(loaded.experiment.network.blocks, start=1)
        if block.layer in (name, f"{role}.{name}")
    ]
    return f"block{'s' * (len(numbers) > 1)} {' and '.join(numbers)}"


def _free_of_charge(info: LayerInfo, *, watched: bool) -> LayerInfo:
    """Describe a layer that takes no time. What was corrected for drift is in single precision."""
    dtype = str(single(np.empty(0, info.response_dtype)).dtype) if watched else info.response_dtype
    return replace(info, nominal_pass_s=0.0, switch_s=0.0, response_dtype=dtype)


def _learnt_from(reader: LogReader, blocks: Sequence[int], first_id: int = 0) -> Iterator[RecordedPasses]:
    """Yield the accepted rows of blocks that were learnt from or tested with."""
    for part in reader.passes(first_id, status=RowStatus.OK):
        chosen = np.isin(part.blocks, blocks) & np.isin(part.purposes, NOT_LEARNT_FROM, invert=True)
        if chosen.any():
            yield take(part, chosen)


def _only_state(folder: Path, name: str, states: Collection[str]) -> str:
    if len(states) > 1:
        raise InputError(
            f"layer '{name}' was measured in {len(states)} states in {folder.name}, as its parameters were set during "
            "the run: a replay has no hardware to set, and cannot tell which response a drive would get"
        )
    if not states:
        raise InputError(f"{folder.name} has recorded no rows of layer '{name}': there is nothing to replay")
    return next(iter(states))


def _drift_undone(reader: LogReader, then: Experiment, infos: Sequence[LayerInfo]) -> tuple[Answer, int]:
    """Return what rows are answered by, corrected as they were learnt from, and the first id whose medium holds."""
    if then.drift is None:
        return (lambda rows: rows.values), 0
    guard = DriftGuard(then.drift, infos)
    guard.remember(reader, reader.next_free_id())

    def undone(rows: RecordedPasses) -> ResponseValues:
        values = single(rows.values)
        for block in np.unique(rows.blocks).tolist():
            own = rows.blocks == block
            values[own] = guard.corrected_then(block, rows.ids[own], rows.values[own])
        return values

    return undone, guard.valid_from
