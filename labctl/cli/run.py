"""`labctl run`: train what an experiment file describes."""

import json
from pathlib import Path

import click

from labctl.cli import options
from labctl.cli.conduct import conclude_and_print, limited, resumable, take_to_its_end
from labctl.cli.dryrun import plans_as_json, plans_as_text
from labctl.cli.signals import say_stopping
from labctl.config.loading import LoadedExperiment, load_experiment
from labctl.config.training import schedules_of
from labctl.config.unattended import Unattended
from labctl.orchestrator.assembly import Bench, Task, build_bench, build_task
from labctl.orchestrator.disturbing import check_disturbances
from labctl.orchestrator.first_drives import check_first_drives
from labctl.orchestrator.pipelined import why_not_pipelined
from labctl.orchestrator.plan import Raw, plan_run
from labctl.orchestrator.runs import begin_run
from labctl.orchestrator.session import pinned_arithmetic
from labctl.orchestrator.stopping import StopRequest, stop_on_signals
from labctl.rig.rig import opened


@click.command("run")
@click.argument("experiment", type=click.Path(path_type=Path))
@options.swap_rig
@options.overrides
@options.limits
@options.runs_root
@options.as_json
@click.option("--dry-run", is_flag=True, help="Only say what the run would cost, under every schedule.")
def command(
    experiment: Path,
    rig: Path | None,
    overrides: tuple[str, ...],
    time_limit_s: float | None,
    pass_limit: int | None,
    root: Path,
    as_json: bool,
    dry_run: bool,
) -> None:
    """Train what the file EXPERIMENT describes, test it, and write a report.

    Ctrl-C ends after the pass under way and leaves a run that `labctl resume` goes on with; a second one ends at once.
    """
    loaded = load_experiment(experiment, overrides, rig)
    limits = limited(loaded, time_limit_s=time_limit_s, pass_limit=pass_limit)
    with pinned_arithmetic():
        bench = build_bench(loaded)
        task = build_task(loaded, bench.infos, bench.offers)
        check_first_drives(loaded, bench, task)
        check_disturbances(loaded, bench)
        if dry_run:
            sizes = len(task.data.train_y), len(task.data.test_y)
            record = loaded.experiment.record
            training = loaded.experiment.training
            drift, chosen = loaded.experiment.drift, training.schedule
            reason = why_not_pipelined(bench.rigs.values(), bench.layers, drift)
            possible = schedules_of(training)
            refused = {"pipelined": reason} if reason is not None and "pipelined" in possible else {}
            raw = None if record.raw_bytes is None else Raw(bench.raw_bytes, record.raw_bytes)
            plans = [
                plan_run(
                    schedule,
                    task.rule,
                    task.infos,
                    *sizes,
                    checkpoint_every=record.checkpoint_every,
                    drift=drift,
                    keep=record.keep,
                    raw=raw,
                )
                for schedule in possible
                if schedule not in refused
            ]
            told = plans_as_text(plans, chosen, refused, record.raw_bytes)
            click.echo(json.dumps(plans_as_json(plans, chosen, refused)) if as_json else told)
            return
        with stop_on_signals(say_stopping) as stop:
            folder = measure_anew(loaded, bench, task, root, stop, limits, quiet=as_json)
        conclude_and_print(folder, loaded, task, as_json=as_json)


def measure_anew(
    loaded: LoadedExperiment,
    bench: Bench,
    task: Task,
    root: Path,
    stop: StopRequest,
    limits: Unattended,
    *,
    quiet: bool,
    again: str | None = None,
) -> Path:
    """Train and test in a new folder in `root`, and return it; `again` is what goes on with it, if not resume."""
    with opened(bench.rigs.values()):
        folder, log = begin_run(loaded, bench, task, root)
        with resumable(folder, limits.notify, again), log:
            take_to_its_end(folder, log, bench, task, stop, limits, quiet=quiet)
    return folder
