"""`labctl runs`: list, show, compare, export and verify runs."""

import json
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import get_args

import click

from labctl.cli import options
from labctl.cli.main import EXIT_RECORD
from labctl.config.experiment import Keep
from labctl.contract.errors import InputError, LabctlError
from labctl.orchestrator.assembly import build_bench
from labctl.orchestrator.recovery import WAITING, count_waits
from labctl.orchestrator.runs import reopen, reopen_task
from labctl.orchestrator.session import pinned_arithmetic
from labctl.orchestrator.verification import Verification, verify
from labctl.orchestrator.wellness import UNWELL
from labctl.record.bundle import copy_bundle
from labctl.record.export import export_csv, export_hdf5
from labctl.record.folder import LOG_NAME, MODEL_NAME, RunSummary, find_run, list_runs
from labctl.record.provenance import collect, same_arithmetic
from labctl.record.pruning import COSTS, forecast, prune
from labctl.record.raw import RAW_NAME, summarise_raw
from labctl.record.reader import Event, LogReader
from labctl.report.comparison import Comparison, compare_runs
from labctl.rig.rig import opened

OTHER_MACHINE_TOLERANCE = 1e-3
"""Relative difference of weights that another processor's or library's rounding may add up to over a training."""


@click.group("runs")
def command() -> None:
    """List, show, compare, export and verify runs."""


@command.command("list")
@options.runs_root
@options.as_json
def list_command(root: Path, as_json: bool) -> None:
    """List the runs, oldest first."""
    summaries = list_runs(root)
    if as_json:
        click.echo(json.dumps([asdict(run) | {"folder": str(run.folder), **_result(run)} for run in summaries]))
    elif summaries:
        click.echo("\n".join(_line(run) for run in summaries))
    else:
        click.echo(f"there are no runs in {root}", err=True)


@command.command("show")
@options.run_name
@options.runs_root
@options.as_json
def show_command(run: str, root: Path, as_json: bool) -> None:
    """Say what RUN is, how far it has come and what happened to it."""
    folder = find_run(root, run)
    with LogReader(folder / LOG_NAME) as reader:
        meta = reader.meta()
        facts: dict[str, object] = {
            "run": str(folder),
            "state": _state(_result_of(reader), closed=reader.is_closed()),
            "created": meta["created"],
            "simulated": meta["simulated"],
            "replayed": meta.get("replayed"),
            "kept": f"{reader.kept()}: {COSTS[reader.kept()]}",
            "passes": reader.count_by_purpose(),
            "raw": None if (raw := summarise_raw(folder / RAW_NAME)) is None else asdict(raw),
            "rejected": {status.name.lower(): count for status, count in reader.rejected().items()},
            "recoveries": _recoveries(reader),
            "events": [_event(event) for event in reader.events() if event.kind != "epoch"],
            "instruments": reader.instruments(),
            "calibrations": meta.get("calibrations", {}),
            "software": {"python": meta["provenance"]["python"], **meta["provenance"]["packages"]},
            "environment": meta["provenance"]["environment"],
            "settings": meta["resolved"],
            **_result_of(reader),
        }
    click.echo(json.dumps(facts) if as_json else _show_text(facts))
    if "accuracy" not in facts:
        click.echo(f"go on with: labctl resume {folder}", err=True)


@command.command("diff")
@click.argument("first", metavar="RUN")
@click.argument("second", metavar="OTHER")
@options.runs_root
@options.as_json
def diff_command(first: str, second: str, root: Path, as_json: bool) -> None:
    """Compare two runs.

    Prints the settings that differ, both accuracies, and their paired difference.
    """
    folders = find_run(root, first), find_run(root, second)
    with LogReader(folders[0] / LOG_NAME) as one, LogReader(folders[1] / LOG_NAME) as other:
        comparison = compare_runs(one, other)
    click.echo(json.dumps(asdict(comparison)) if as_json else _diff_text(comparison))


@command.command("export")
@options.run_name
@click.argument("target", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice(["hdf5", "csv", "model"]),
    help="hdf5: one file (MATLAB: h5read); csv: a folder of tables; model: weights as npz and JSON. "
    "Unless given: hdf5 for TARGET.h5 or TARGET.hdf5.",
)
@options.runs_root
def export_command(run: str, target: Path, form: str | None, root: Path) -> None:
    """Write RUN to TARGET for other programs."""
    folder = find_run(root, run)
    if form is None and target.suffix not in (".h5", ".hdf5"):
        raise InputError(f"say what to write to {target}: --format hdf5, csv or model")
    if form == "model":
        copy_bundle(folder / MODEL_NAME, target)
    else:
        with LogReader(folder / LOG_NAME) as reader:
            (export_csv if form == "csv" else export_hdf5)(reader, target)
    click.echo(str(target))


@command.command("verify")
@options.run_name
@options.runs_root
@options.as_json
def verify_command(run: str, root: Path, as_json: bool) -> None:
    """Check that the weights of RUN follow from its record.

    They are recomputed from its settings, seed and recorded passes, and compared bit for bit.
    """
    folder = find_run(root, run)
    with pinned_arithmetic(), LogReader(folder / LOG_NAME) as reader:
        reader.check_integrity()
        loaded = reopen(reader)
        task = reopen_task(reader, loaded)
        bench = build_bench(loaded) if task.rule.differentiates else None
        with opened(bench.rigs.values()) if bench else nullcontext():
            verification = verify(task, reader, bench.layers if bench else None)
        here = collect(compiled=loaded.experiment.compiled)
        same_machine = same_arithmetic(reader.meta()["provenance"], here)
    good = verification.identical or (not same_machine and verification.largest_difference <= OTHER_MACHINE_TOLERANCE)
    if as_json:
        click.echo(json.dumps(asdict(verification) | {"same_arithmetic": same_machine, "verified": good}))
    else:
        click.echo(_verify_text(verification, same_machine=same_machine, good=good))
    sys.exit(0 if good else EXIT_RECORD)


@command.command("prune")
@click.argument("run", metavar="RUN|FOLDER")
@click.option(
    "--keep",
    type=click.Choice(get_args(Keep)),
    required=True,
    help="What is left. everything: only unused room is freed; passes: no raw signals, which `replay` needs for "
    "another window; responses: no drives either, which `replay` needs and `runs verify` does not; result: no passes.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be freed.")
@options.runs_root
@options.as_json
def prune_command(run: str, keep: Keep, root: Path, *, dry_run: bool, as_json: bool) -> None:
    """Free the disk of what a finished run can do without.

    RUN is one run, FOLDER holds several.

    What is given up does not come back. A run that is not finished, or that somebody writes, is left as it is.
    """
    of_folder = Path(run).is_dir() and not (Path(run) / LOG_NAME).is_file()
    folders = [each.folder for each in list_runs(Path(run))] if of_folder else [find_run(root, run)]
    facts: list[dict[str, object]] = []
    for folder in folders:
        try:
            pruning = (forecast if dry_run else prune)(folder, keep)
        except LabctlError as error:
            if not of_folder:
                raise
            click.echo(f"left as it is: {error}", err=True)
            continue
        facts.append({"run": str(folder), **asdict(pruning)})
        if not as_json:
            would = "would be " if dry_run else ""
            click.echo(f"{folder.name}: {would}{pruning.before / 1e6:,.2f} MB -> {pruning.after / 1e6:,.2f} MB")
    click.echo(json.dumps(facts) if as_json else f"of each that is left: {COSTS[keep]}")


def _line(run: RunSummary) -> str:
    if run.problem is not None:
        return f"{run.folder.name:<48} cannot be read: {run.problem.splitlines()[0]}"
    result = _result(run)
    accuracy = result.get("accuracy")
    tested = isinstance(accuracy, float)
    state = f"test accuracy {100 * accuracy:.1f} %" if tested else _state(result, closed=run.closed)
    rejected = f" ({run.n_rejected:,} rejected)" if run.n_rejected else ""
    notes = ", replayed" * run.replayed + f", keeps its {run.kept} alone" * (run.kept != "everything")
    return f"{run.folder.name:<48} {run.n_passes:>9,} passes{rejected}  {state}{notes}"


def _state(result: Mapping[str, object], *, closed: bool) -> str:
    """Say where a run stands; a record that nobody closed is being written, or its writer was killed."""
    if result:
        return "finished"
    return "not finished: stopped" if closed else "not finished: running or crashed"


def _result(run: RunSummary) -> dict[str, object]:
    if run.problem is not None:
        return {}
    with LogReader(run.folder / LOG_NAME) as reader:
        return _result_of(reader)


def _result_of(reader: LogReader) -> dict[str, object]:
    test = next((event.detail for event in reader.events() if event.kind == "test"), None)
    return {} if test is None else {"accuracy": test["accuracy"], "interval": [test["low"], test["high"]]}


def _recoveries(reader: LogReader) -> dict[str, int]:
    """Return how often a rig was opened again in mid-run, by the kind of failure, or because of an interlock."""
    return dict(count_waits(event.detail for event in reader.events() if event.kind == WAITING))


def _time(time_s: float) -> str:
    return datetime.fromtimestamp(time_s).astimezone().isoformat(sep=" ", timespec="seconds")


_TOLD = {
    "stopped": ("reason",),
    "failed": ("reason",),
    WAITING: ("reason",),
    UNWELL: ("layer", "subject", "text", "remedy"),
}
"""What is told of an event of a kind, beside its time."""


def _event(event: Event) -> dict[str, object]:
    told = {key: event.detail[key] for key in _TOLD.get(event.kind, ())}
    return {"time": _time(event.time_s), "kind": event.kind, **told}


def _show_text(facts: dict[str, object]) -> str:
    import yaml

    return yaml.safe_dump(facts, sort_keys=False, allow_unicode=True).rstrip()


def _diff_text(comparison: Comparison) -> str:
    lines = [f"{name}: {first} -> {second}" for name, (first, second) in comparison.settings.items()]
    shown = [f"{100 * value:.1f} %" if value is not None else "not tested" for value in comparison.accuracies]
    lines = [*(lines or ["no setting differs"]), f"test accuracy: {shown[0]} -> {shown[1]}"]
    paired = comparison.paired
    if paired is not None:
        lines.append(
            f"paired difference on the same test samples: {100 * paired.mean:+.1f} points "
            f"(95 % interval {100 * paired.low:+.1f} to {100 * paired.high:+.1f})"
        )
    elif None not in comparison.accuracies:
        lines.append("the runs tested different samples: their accuracies are not paired")
    return "\n".join(lines)


def _verify_text(verification: Verification, *, same_machine: bool, good: bool) -> str:
    part = f"{verification.epochs} of {verification.of_epochs} epochs recomputed from the pass log"
    if verification.identical:
        test = {True: ", test scores too", False: ", but the test scores differ", None: ""}[verification.test_identical]
        return f"verified: {part}; the weights are equal bit for bit{test}"
    largest = f"largest relative difference {verification.largest_difference:.2g}"
    if good:
        return f"verified within rounding: {part} on another machine than the run's; {largest}"
    where = "on the machine of the run" if same_machine else "on another machine than the run's"
    return f"NOT verified: {part} {where}; {largest}. The record, the configuration or labctl has changed since the run"
