"""Begins runs and opens them again: from the moment it exists, a run folder alone says what the run is."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from labctl.config.document import Document
from labctl.config.loading import LoadedExperiment, LoadedRig, experiment_from_text, rig_from_text
from labctl.contract.errors import LabctlError, RecordError
from labctl.contract.layer import LayerInfo
from labctl.learning.offers import Offer
from labctl.orchestrator.assembly import Bench, Task, build_task, starting_model
from labctl.record.bundle import copy_bundle
from labctl.record.folder import LOG_NAME, create_run_folder
from labctl.record.json_text import differences
from labctl.record.provenance import calibration_files, collect, software_changes
from labctl.record.reader import LogReader
from labctl.record.schema import create_file
from labctl.record.writer import PassLog
from labctl.rig.rig import identities

RUN_SCHEMA = "labctl/run/1"
START_NAME = "start"
"""Folder in a run's own for the model it started from, which may be gone when the run is opened again."""

CHANGES_SHOWN = 5

_LAYER_INFO = TypeAdapter(LayerInfo)
_OFFER = TypeAdapter(Offer)


def begin_run(
    loaded: LoadedExperiment, bench: Bench, task: Task, root: Path, *, start: Path | None = None
) -> tuple[Path, PassLog]:
    """Create the folder of a new run in `root` and return it with its pass log, open for writing.

    `start` is where the model of `training.init_from` lies, unless it is where the experiment says. Raises `InputError`
    or `RecordError` when it cannot be kept there; nothing is left then.
    """
    texts = {"experiment.yaml": loaded.document.text}
    texts |= {f"rig-{role}.yaml": rig.document.text for role, rig in loaded.rigs.items()}
    meta, start = _describe(loaded, bench, task), start or starting_model(loaded)

    def fill(folder: Path) -> None:
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8", newline="")
        if start is not None:
            copy_bundle(start, folder / START_NAME)
        create_file(folder / LOG_NAME, meta)

    folder = create_run_folder(root, loaded.experiment.name, datetime.now().astimezone(), fill)
    return folder, continue_run(folder, loaded)


def continue_run(folder: Path, loaded: LoadedExperiment) -> PassLog:
    """Return the pass log of an existing run, open for writing."""
    record = loaded.experiment.record
    room = record.raw_bytes or 0.0
    return PassLog.open_for_append(folder / LOG_NAME, commit_every_s=record.commit_every, raw_bytes=room)


def reopen(reader: LogReader) -> LoadedExperiment:
    """Return the experiment of a run as it was when the run began.

    Raises `RecordError` when the log is not one of a run this labctl can read.
    """
    meta = reader.meta()
    if meta.get("schema") != RUN_SCHEMA:
        raise RecordError(f"{reader.path} holds {meta.get('schema')!r}; this labctl reads runs of {RUN_SCHEMA}")
    rigs = {role: _reread_rig(source) for role, source in meta["rigs"].items()}
    source = meta["experiment"]
    return experiment_from_text(source["text"], Path(source["path"]), Path(source["folder"]), source["overrides"], rigs)


def reopen_task(reader: LogReader, loaded: LoadedExperiment) -> Task:
    """Return the digital side of a run, for the layers it was recorded with.

    Raises `RecordError` when the data are no longer those of the run.
    """
    meta = reader.meta()
    start = reader.path.parent / START_NAME
    infos = [reread_layer(block) for block in meta["blocks"]]
    offers = [_OFFER.validate_python(offer) for offer in meta.get("offers", [{}] * len(infos))]
    task = build_task(loaded, infos, offers, start=start if start.is_dir() else None)
    if task.data.fingerprint != meta["data"]["fingerprint"]:
        raise RecordError(
            f"{reader.path.parent.name}: the data have changed since the run began "
            f"(fingerprint {task.data.fingerprint[:12]}, then {meta['data']['fingerprint'][:12]}); "
            "restore them, or begin a new run"
        )
    return task


def check_software(reader: LogReader) -> None:
    """Raise `RecordError` when the run was begun with other versions of Python or packages."""
    changes = software_changes(reader.meta()["provenance"], collect())
    if changes:
        raise RecordError(
            f"{reader.path.parent.name} was begun with {'; '.join(changes)}; the rest of it may round otherwise: "
            "restore them, or go on with `labctl resume --accept-changes`"
        )


def check_calibrations(reader: LogReader, loaded: LoadedExperiment) -> None:
    """Raise `RecordError` when a calibration file is another one than when the run began, or gone."""
    then: Mapping[str, Mapping[str, str]] = reader.meta().get("calibrations", {})
    now = calibration_files(loaded.rigs)
    for part, file in then.items():
        digest = now[part]["sha256"]
        if digest != file["sha256"]:
            changed = "is gone" if digest is None else f"has changed ({digest[:12]}, then {file['sha256'][:12]})"
            raise RecordError(
                f"{reader.path.parent.name}: the calibration {file['file']} of {part} {changed}; what was measured so "
                "far holds for the old one alone: put it back, or begin a new run"
            )


def describe_bench(bench: Bench) -> dict[str, Any]:
    """Return who answers on the open `bench`, by role and instrument, and the states of its layers, as JSON values."""
    rigs = bench.rigs.items()
    return {
        "instruments": {f"{role}.{name}": who for role, rig in rigs for name, who in identities(rig).items()},
        "states": {f"{role}.{name}": layer.state_id for role, rig in rigs for name, layer in rig.layers.items()},
    }


def check_files(reader: LogReader) -> None:
    """Raise `RecordError` when the files of the run's experiment and rigs set something else by now.

    One that is gone, or differs in comments alone, sets nothing else.
    """
    meta = reader.meta()
    for source in (meta["experiment"], *meta["rigs"].values()):
        path = Path(source["folder"]) / Path(source["path"]).name
        if changes := _changes(path, source["text"]):
            shown = "; ".join(changes[:CHANGES_SHOWN])
            more = f"; and {len(changes) - CHANGES_SHOWN} more" if len(changes) > CHANGES_SHOWN else ""
            raise RecordError(
                f"{reader.path.parent.name}: {path.name} is not as it was when the run began ({shown}{more}); begin a "
                "new run, or go on with the run's own copy: `labctl resume --own-files`"
            )


def _changes(path: Path, text: str) -> list[str]:
    """Return what a file says now and did not say then."""
    if not path.exists():
        return []
    try:
        now = Document.read(path).tree.data
    except LabctlError as error:
        return [str(error)]
    found = differences(Document.parse(text, path).tree.data, now)
    return [f"{name}: {first} -> {second}" for name, (first, second) in found.items()]


def check_bench(reader: LogReader, bench: Bench) -> None:
    """Raise `RecordError` when the layers of `bench`, open or not, have another form than those of the run."""
    recorded = tuple(reread_layer(block) for block in reader.meta()["blocks"])
    for number, (then, now) in enumerate(zip(recorded, bench.infos, strict=True), start=1):
        if then != now:
            changed = [name for name, value in asdict(then).items() if asdict(now)[name] != value]
            raise RecordError(f"block {number}: layer '{now.name}' now differs in {', '.join(changed)} from the run's")


def check_states(reader: LogReader, bench: Bench) -> None:
    """Raise `RecordError` when `bench`, which is open, is not in the state the run's passes were measured in.

    Which instruments answer, and how they are calibrated, is not known before.
    """
    states = {state.layer: state.state_id for state in reader.states()}
    for layer in bench.layers:
        state = states.get(layer.info.name, layer.state_id)
        if state != layer.state_id:
            raise RecordError(
                f"layer '{layer.info.name}' is in state {layer.state_id}, the run's passes were measured in {state}; "
                "restore its configuration and calibration, or begin a new run"
            )


def _describe(loaded: LoadedExperiment, bench: Bench, task: Task) -> dict[str, Any]:
    """Return what a pass log holds about its run, as JSON values."""
    data = task.data
    powers = [rig.power_w for rig in bench.rigs.values()]
    return {
        "schema": RUN_SCHEMA,
        "created": datetime.now().astimezone().isoformat(timespec="seconds"),
        "name": loaded.experiment.name,
        "experiment": _source(loaded.document),
        "rigs": {role: _source(rig.document) | {"resolved": rig.document.data} for role, rig in loaded.rigs.items()},
        "resolved": loaded.experiment.model_dump(mode="json", by_alias=True, exclude_none=True),
        "blocks": [_describe_layer(info) for info in task.infos],
        "offers": [_OFFER.dump_python(offer, mode="json") for offer in task.offers],
        "layers": {info.name: _describe_layer(info) for info in task.infos},
        "simulated": bench.simulated,
        "replayed": None if bench.replayed is None else dict(bench.replayed),
        "power_w": None if None in powers else sum(power for power in powers if power is not None),
        "data": {
            "fingerprint": data.fingerprint,
            "train": len(data.train_y),
            "test": len(data.test_y),
            "class_names": list(data.class_names),
            "feature_names": list(data.feature_names),
        },
        "calibrations": {} if bench.replayed else calibration_files(loaded.rigs),
        "provenance": collect(compiled=loaded.experiment.compiled),
    }


def _source(document: Document) -> dict[str, Any]:
    return {
        "text": document.text,
        "path": str(document.path),
        "folder": str(document.folder.resolve()),
        "overrides": list(document.overrides),
    }


def _reread_rig(source: Mapping[str, Any]) -> LoadedRig:
    return rig_from_text(source["text"], Path(source["path"]), Path(source["folder"]), source.get("overrides", ()))


def _describe_layer(info: LayerInfo) -> object:
    return _LAYER_INFO.dump_python(info, mode="json")


def reread_layer(described: object) -> LayerInfo:
    """Return the layer of a block as a run's log describes it."""
    return _LAYER_INFO.validate_python(described)
