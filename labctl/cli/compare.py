"""`labctl compare`: train the same experiment by several learning rules, and compare what they reach and cost."""

import json
import re
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import click

from labctl.cli import options
from labctl.cli.compared import budget, budget_as_text, results_as_text
from labctl.cli.conduct import limited
from labctl.cli.main import EXIT_STOPPED
from labctl.cli.resume import measure_the_rest
from labctl.cli.run import measure_anew
from labctl.cli.signals import say_stopping
from labctl.config.unattended import Unattended
from labctl.contract.errors import InputError
from labctl.orchestrator.assembly import build_bench, build_task
from labctl.orchestrator.cells import Cell, Comparison, Found, Wanted, find_runs, passes_of, plan_comparison
from labctl.orchestrator.runs import reopen, reopen_task
from labctl.orchestrator.session import pinned_arithmetic
from labctl.orchestrator.stopping import StopRequest, stop_on_signals
from labctl.record.folder import LOG_NAME
from labctl.record.reader import LogReader
from labctl.report.conclusion import conclude
from labctl.report.page import save_page
from labctl.report.rivals import Result, Standings, read_result
from labctl.report.rivals_page import as_data, rivals_page

PAGE_NAME = "compare.html"
DATA_NAME = "compare.json"
AGAIN = "the same command"


def _names(_ctx: click.Context, _param: click.Parameter, value: str | None) -> tuple[str, ...]:
    """Return names separated by commas, each once."""
    return tuple(dict.fromkeys(name.strip() for name in (value or "").split(",") if name.strip()))


def _numbers(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, ...]:
    """Return whole numbers written as 0..2, as 1,2,5, or both, each once."""
    found: list[int] = []
    for part in (value or "").split(",") if value else []:
        ends = re.fullmatch(r"\s*(\d+)(?:\.\.(\d+))?\s*", part)
        first, last = (int(end) for end in (ends[1], ends[2] or ends[1])) if ends else (1, 0)
        if last < first:
            raise click.BadParameter(f"'{part}' is no number and no range; expected 0..2 or 1,2,5", ctx, param)
        found += range(first, last + 1)
    return tuple(dict.fromkeys(found))


@click.command("compare")
@click.argument("experiment", type=click.Path(path_type=Path))
@click.option(
    "--rules",
    callback=_names,
    metavar="A,B,C",
    help="Rules to compare, the first being what the others are held against; unless given, that of the experiment and "
    "those under `compare`.",
)
@click.option(
    "--seeds", callback=_numbers, default="0..2", show_default=True, metavar="N..M", help="Draws, as 0..2 or 1,2,5."
)
@click.option(
    "--vary",
    multiple=True,
    metavar="KEY",
    default=("seed",),
    show_default=True,
    help="Key that a draw sets, as data.split_seed or rig.layers.bench.medium.seed; may be given several times.",
)
@click.option(
    "--epochs", callback=_numbers, metavar="N,M", help="Train every rule for each of these numbers of epochs."
)
@options.swap_rig
@options.overrides
@options.limits
@options.runs_root
@options.as_json
@click.option("--dry-run", is_flag=True, help="Only say what would be measured, and its price.")
def command(
    experiment: Path,
    rules: tuple[str, ...],
    seeds: tuple[int, ...],
    vary: tuple[str, ...],
    epochs: tuple[int, ...],
    rig: Path | None,
    overrides: tuple[str, ...],
    time_limit_s: float | None,
    pass_limit: int | None,
    root: Path,
    as_json: bool,
    dry_run: bool,
) -> None:
    """Train EXPERIMENT by several learning rules on the same rig, and compare what they reach and what they cost.

    Every rule and seed is a run of its own, kept in the folder compare-NAME among the runs. What is finished is never
    measured again and what was broken off is resumed: the same command goes on.
    """
    wanted = Wanted(experiment, overrides, rig, rules, seeds, vary, epochs)
    with pinned_arithmetic():
        comparison = plan_comparison(wanted)
        if not comparison.cells:
            reasons = "\n".join(f"{rule}: {reason}" for rule, reason in comparison.refused.items())
            raise InputError(f"no rule can take part\n{reasons}")
        folder = root / f"compare-{comparison.base.experiment.name}"
        found = find_runs(comparison.cells, folder)
        planned = budget(comparison, found)
        if dry_run:
            click.echo(json.dumps(planned) if as_json else budget_as_text(planned))
            return
        click.echo(budget_as_text(planned), err=True)
        results = {cell: read_result(run.folder, cell.kind, cell.seed) for cell, run in found.items() if run.finished}
        _measure(comparison, found, results, folder, time_limit_s, pass_limit, quiet=as_json)
        _report(comparison, results, folder, as_json=as_json)


def _measure(
    comparison: Comparison,
    found: Mapping[Cell, Found],
    results: dict[Cell, Result],
    folder: Path,
    time_limit_s: float | None,
    pass_limit: int | None,
    *,
    quiet: bool,
) -> None:
    """Take every cell to its end, add its result to `results`, and write the page after each."""
    missing = [cell for cell in comparison.cells if cell not in results]
    allowed = limited(comparison.base, time_limit_s=time_limit_s, pass_limit=pass_limit)
    began_s, sent = time.monotonic(), 0
    with stop_on_signals(say_stopping) as stop:
        for number, cell in enumerate(missing, start=1):
            click.echo(f"run {number} of {len(missing)}: {cell}", err=True)
            limits = _left(allowed, time.monotonic() - began_s, sent)
            run = _take_to_its_end(cell, found.get(cell), folder, stop, limits, quiet=quiet)
            sent += passes_of(run) - (found[cell].passes if cell in found else 0)
            results[cell] = read_result(run, cell.kind, cell.seed)
            _write(comparison, results, folder)


def _left(allowed: Unattended, elapsed_s: float, passes: int) -> Unattended:
    """Return what is left of limits that hold for all runs together; ends the command when nothing is."""
    left: dict[str, float] = {}
    if allowed.time_limit_s is not None:
        left["time_limit_s"] = allowed.time_limit_s - elapsed_s
    if allowed.pass_limit is not None:
        left["pass_limit"] = allowed.pass_limit - passes
    if any(each <= 0 for each in left.values()):
        click.echo(f"stopped at the limit before this run began. Go on with: {AGAIN}", err=True)
        sys.exit(EXIT_STOPPED)
    return allowed.model_copy(update=left)


def _take_to_its_end(
    cell: Cell, found: Found | None, folder: Path, stop: StopRequest, limits: Unattended, *, quiet: bool
) -> Path:
    """Return the folder of the cell's run, which is finished then."""
    if found is None:
        loaded = cell.loaded
        bench = build_bench(loaded)
        task = build_task(loaded, bench.infos, bench.offers)
        run = measure_anew(loaded, bench, task, folder, stop, limits, quiet=quiet, again=AGAIN)
        conclude(run, loaded, task)
        return run
    with LogReader(found.folder / LOG_NAME) as reader:
        loaded = reopen(reader)
        task = reopen_task(reader, loaded)
        measure_the_rest(reader, loaded, task, stop, limits, quiet=quiet, again=AGAIN)
    conclude(found.folder, loaded, task)
    return found.folder


def _write(comparison: Comparison, results: Mapping[Cell, Result], folder: Path) -> Standings:
    standings = Standings.of((results[cell] for cell in comparison.cells if cell in results), comparison.plans)
    folder.mkdir(parents=True, exist_ok=True)
    save_page(rivals_page(comparison, standings, folder), folder / PAGE_NAME)
    (folder / DATA_NAME).write_text(json.dumps(as_data(comparison, standings), indent=1) + "\n", encoding="utf-8")
    return standings


def _report(comparison: Comparison, results: Mapping[Cell, Result], folder: Path, *, as_json: bool) -> None:
    standings = _write(comparison, results, folder)
    data = as_data(comparison, standings)
    if as_json:
        click.echo(json.dumps({**data, "report": str(folder / PAGE_NAME)}))
        return
    click.echo("\n".join([*results_as_text(data), f"report: {folder / PAGE_NAME}"]))
