"""Concludes a finished run: baselines, model bundle, report page, and the result in a few figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from labctl.config.loading import LoadedExperiment
from labctl.contract.errors import RecordError
from labctl.orchestrator.assembly import Task
from labctl.orchestrator.disturbing import DISTURBED
from labctl.orchestrator.model import describe_model
from labctl.orchestrator.runs import continue_run, reread_layer
from labctl.orchestrator.switching import switching_s
from labctl.record.bundle import write_bundle
from labctl.record.folder import LOG_NAME, MODEL_NAME, REPORT_NAME
from labctl.record.reader import LogReader
from labctl.report.baselines import Baseline, compute_baselines
from labctl.report.digital import digital_work
from labctl.report.page import write_page


@dataclass(frozen=True)
class Conclusion:
    """A run's result: accuracies are shares from 0 to 1, `interval` is the 95 % interval over test samples.

    `replayed` names the run whose record answered in place of hardware, if one did.
    """

    accuracy: float
    interval: tuple[float, float]
    baselines: Mapping[str, float]
    passes: int
    hardware_s: float
    simulated: bool
    replayed: str | None
    macs: Mapping[str, int]
    disturbances: Sequence[Mapping[str, Any]] = ()
    """What was changed on purpose, how, and the first row that met it."""


def conclude(folder: Path, loaded: LoadedExperiment, task: Task) -> Conclusion:
    """Compute what is not yet in the run's record, write model and report, and return the result.

    Raises `RecordError` when the run has not been tested yet.
    """
    with LogReader(folder / LOG_NAME) as reader:
        kinds = {event.kind for event in reader.events()}
        if "test" not in kinds:
            raise RecordError(f"{folder.name} is not finished: go on with `labctl resume {folder}`")
        checkpoint = reader.latest_checkpoint()
        assert checkpoint is not None
        task.rule.restore(checkpoint.arrays)
        write_bundle(folder / MODEL_NAME, *describe_model(task))
        if "baselines" not in kinds:
            _record_baselines(folder, loaded, compute_baselines(loaded, task, reader))
        if loaded.experiment.report.page:
            write_page(reader, folder / REPORT_NAME)
        return summarise(reader)


def _record_baselines(folder: Path, loaded: LoadedExperiment, baselines: list[Baseline]) -> None:
    with continue_run(folder, loaded) as log:
        detail = {baseline.name: {"right": np.flatnonzero(baseline.right).tolist()} for baseline in baselines}
        log.append_event("baselines", detail)


def summarise(reader: LogReader) -> Conclusion:
    """Return the result of a run that has been tested and compared with its baselines."""
    meta, told = reader.meta(), reader.events()
    events = {event.kind: event.detail for event in told}
    test = events["test"]
    infos = [reread_layer(block) for block in meta["blocks"]]
    counts = reader.count_by_block()
    passes_s = sum(count * infos[block].nominal_pass_s for block, count in counts.items())
    return Conclusion(
        accuracy=test["accuracy"],
        interval=(test["low"], test["high"]),
        baselines={name: len(found["right"]) / test["samples"] for name, found in events["baselines"].items()},
        passes=sum(counts.values()),
        hardware_s=passes_s + switching_s(infos, reader.blocks_in_order()),
        simulated=meta["simulated"],
        replayed=meta["replayed"]["run"] if meta.get("replayed") else None,
        macs=digital_work(reader) or {},
        disturbances=[event.detail for event in told if event.kind == DISTURBED],
    )
