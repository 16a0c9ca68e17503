"""The cells of a comparison of learning rules: one run for each rule, seed, number of epochs and disturbance.

A cell is an ordinary experiment: the file's own, with what differs put in place by `--set`, so that its run folder says
what it is and can be resumed, verified and evaluated like any other. Runs are recognised by what they say, not by a
list beside them that could be lost.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from labctl.config.disturbances import in_words
from labctl.config.errors import ConfigError
from labctl.config.experiment import Experiment
from labctl.config.loading import LoadedExperiment, load_experiment
from labctl.config.rivals import LABEL, RULES, require_rule, training_of
from labctl.contract.errors import InputError, LabctlError
from labctl.data.load import load_dataset
from labctl.orchestrator.assembly import build_bench, build_task
from labctl.orchestrator.disturbing import check_disturbances
from labctl.orchestrator.first_drives import check_first_drives
from labctl.orchestrator.plan import Plan, plan_run
from labctl.orchestrator.runs import reopen
from labctl.record.folder import LOG_NAME, list_runs
from labctl.record.reader import LogReader

NOT_OF_THE_MATTER = {"name", "description", "compare", "unattended", "record", "report"}
"""Sections of an experiment that change nothing in what its run gives."""

_SPLITTING = {"test_fraction", "split", "split_seed", "normalise", "train_samples"}


@dataclass(frozen=True)
class Wanted:
    """What is to be compared. `vary` are keys that are set to each of `seeds`; `epochs`, if any, are budgets."""

    experiment: Path
    overrides: tuple[str, ...]
    rig: Path | None
    rules: tuple[str, ...]
    seeds: tuple[int, ...]
    vary: tuple[str, ...] = ("seed",)
    epochs: tuple[int, ...] = ()


class Kind(NamedTuple):
    """What cells that differ in their seed alone have in common; `epochs` is None where file or rule says how many.

    `disturbance` is the one of the plan that befalls them, alone and in words; None where nothing is disturbed.
    """

    rule: str
    epochs: int | None = None
    disturbance: str | None = None

    def __str__(self) -> str:
        epochs = None if self.epochs is None else f"{self.epochs} epochs"
        return ", ".join(part for part in (self.rule, epochs, self.disturbance) if part is not None)


@dataclass(frozen=True, eq=False)
class Cell:
    """One run."""

    kind: Kind
    seed: int
    loaded: LoadedExperiment

    def __str__(self) -> str:
        return f"{self.kind}, seed {self.seed}"


@dataclass(frozen=True)
class Found:
    """The run of a cell: its folder, whether it is tested and concluded, and how many passes it has recorded."""

    folder: Path
    finished: bool
    passes: int


@dataclass(frozen=True)
class Comparison:
    """Cells by which rules are compared, the price of a run of each kind, and why other rules cannot take part."""

    wanted: Wanted
    base: LoadedExperiment
    cells: tuple[Cell, ...]
    plans: Mapping[Kind, Plan]
    refused: Mapping[str, str]

    @property
    def rules(self) -> tuple[str, ...]:
        """Rules that take part, in the order in which they were named."""
        return tuple(dict.fromkeys(cell.kind.rule for cell in self.cells))


def default_rules(experiment: Experiment) -> tuple[str, ...]:
    """Return the rules that an experiment names: the one it trains by, and those it sets for a comparison."""
    return tuple(dict.fromkeys([experiment.training.rule, *experiment.compare]))


def plan_comparison(wanted: Wanted) -> Comparison:
    """Return the cells, seed after seed, and their price; touches no hardware.

    A rule that cannot be used on the rig is refused with the reason. Raises `ConfigError` for files and settings that
    are wrong, `InputError` for rules that do not exist.
    """
    base = load_experiment(wanted.experiment, wanted.overrides, wanted.rig)
    cells: list[Cell] = []
    plans: dict[Kind, Plan] = {}
    refused: dict[str, str] = {}
    for rule in wanted.rules or default_rules(base.experiment):
        try:
            require_rule(rule)
        except ValueError as error:
            raise InputError(str(error)) from error
        try:
            of_rule = list(_cells_of(rule, wanted, base))
            plans |= {cell.kind: _plan(cell) for cell in of_rule if cell.seed == wanted.seeds[0]}
        except _Unusable as reason:
            refused[rule] = str(reason)
        else:
            cells += of_rule
    order = {seed: place for place, seed in enumerate(wanted.seeds)}
    return Comparison(wanted, base, tuple(sorted(cells, key=lambda cell: order[cell.seed])), plans, refused)


def find_runs(cells: Iterable[Cell], root: Path) -> dict[Cell, Found]:
    """Return the run of each cell that has one in `root`, a finished one where there are several.

    Raises `RecordError` for a run that cannot be read.
    """
    by_content: dict[str, Found] = {}
    for summary in list_runs(root):
        content, found = _read(summary.folder)
        if content not in by_content or not by_content[content].finished:
            by_content[content] = found
    contents = {cell: _content(cell.loaded, fingerprint) for cell, fingerprint in _fingerprints(cells)}
    return {cell: by_content[content] for cell, content in contents.items() if content in by_content}


def passes_of(folder: Path) -> int:
    """Return how many passes a run has recorded."""
    with LogReader(folder / LOG_NAME) as reader:
        return sum(reader.count_by_purpose().values())


class _Unusable(Exception):  # noqa: N818 - a state of affairs, not a defect
    """A rule cannot be used on this rig, or has not been told enough; its text is the reason."""


def _cells_of(rule: str, wanted: Wanted, base: LoadedExperiment) -> Iterator[Cell]:
    """Yield a rule's cells: undisturbed, then under each disturbance of the plan alone."""
    has_epochs = "epochs" in RULES[rule].model_fields
    plan = base.experiment.disturbances
    lasting: dict[str | None, list[object]] = {None: []}
    for place, disturbance in enumerate(plan):
        lasting[f"{place + 1}: {in_words(disturbance)}"] = [base.document.value(("disturbances", place))]
    for seed in wanted.seeds:
        draw = [f"{key}={seed}" for key in wanted.vary]
        for epochs in wanted.epochs if has_epochs and wanted.epochs else (None,):
            for disturbance, listed in lasting.items():
                disturbed = [f"disturbances={json.dumps(listed)}"] if plan else []
                overrides = (*wanted.overrides, *_overrides(rule, base, epochs), *disturbed, *draw)
                loaded = load_experiment(wanted.experiment, overrides, wanted.rig)
                yield Cell(Kind(rule, epochs, disturbance), seed, loaded)


def _overrides(rule: str, base: LoadedExperiment, epochs: int | None) -> Sequence[str]:
    """Return the arguments of `--set` that let an experiment be trained by `rule`."""
    experiment = base.experiment
    own = experiment.compare.get(rule, {})
    training = training_of(rule, experiment.training, own if epochs is None else {**own, "epochs": epochs})
    baselines = [name for name in ("linear",) if name in experiment.report.baselines]
    changes: dict[str, object] = {
        "training": training,
        "network.label": own.get(LABEL) or _label(rule, base),
        "report.baselines": baselines,
    }
    return [f"{key}={json.dumps(value)}" for key, value in changes.items()]


def _label(rule: str, base: LoadedExperiment) -> Mapping[str, object]:
    """Return the label of the network as `rule` wants it: none where it predicts the label.

    Where nothing mixes the vector that drives the first layer, zeros take the place of a label left out.
    """
    network = base.experiment.network
    label: dict[str, object] = network.label.model_dump(mode="json", exclude_unset=True)
    labelled: bool = getattr(RULES[rule], "labelled", False)
    if labelled == (network.label.kind != "none"):
        return label
    if labelled:
        raise _Unusable(
            f"rule {rule} tells positive from negative passes by their label, and the network has none; say how it "
            f"enters under `compare: {{{rule}: {{label: ...}}}}`"
        )
    pad = network.label.pad
    if network.label.kind == "one-hot" and network.blocks[0].encoder.mix == "none":
        pad += load_dataset(base.experiment.data, base.document.folder).n_classes
    return {"kind": "none", "pad": pad}


def _plan(cell: Cell) -> Plan:
    """Return the price of a cell. Raises `_Unusable` when the rig, or what it is told, does not suit the rule."""
    loaded = cell.loaded
    experiment = loaded.experiment
    try:
        bench = build_bench(loaded)
        task = build_task(loaded, bench.infos, bench.offers)
        check_first_drives(loaded, bench, task)
        check_disturbances(loaded, bench)
    except ConfigError as error:
        raise _Unusable("; ".join(problem.message for problem in error.problems)) from error
    sizes = len(task.data.train_y), len(task.data.test_y)
    every = experiment.record.checkpoint_every
    schedule = experiment.training.schedule
    return plan_run(schedule, task.rule, task.infos, *sizes, checkpoint_every=every, drift=experiment.drift)


def _read(folder: Path) -> tuple[str, Found]:
    """Return the content of a run and how far it is."""
    try:
        with LogReader(folder / LOG_NAME) as reader:
            content = _content(reopen(reader), reader.meta()["data"]["fingerprint"])
            kinds = {event.kind for event in reader.events()}
            finished = kinds >= {"test", "baselines"}
            return content, Found(folder, finished, sum(reader.count_by_purpose().values()))
    except LabctlError as error:
        error.add_note("move the folder away to measure its cell again")
        raise


def _content(loaded: LoadedExperiment, fingerprint: str) -> str:
    """Return all that decides what a run gives, as text."""
    experiment: dict[str, Any] = loaded.experiment.model_dump(mode="json", by_alias=True, exclude=NOT_OF_THE_MATTER)
    rigs = {role: rig.document.data for role, rig in loaded.rigs.items()}
    return json.dumps([experiment, rigs, fingerprint], sort_keys=True, default=str)


def _fingerprints(cells: Iterable[Cell]) -> Iterator[tuple[Cell, str]]:
    """Yield each cell with the fingerprint of its data, which are read once however they are split."""
    known: dict[str, str] = {}
    for cell in cells:
        settings, folder = cell.loaded.experiment.data, cell.loaded.document.folder
        described = settings.model_dump_json(exclude=_SPLITTING)
        if described not in known:
            known[described] = load_dataset(settings, folder).fingerprint
        yield cell, known[described]
