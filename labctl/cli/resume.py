"""`labctl resume`: go on with a run that was stopped or crashed."""

from pathlib import Path

import click

from labctl.cli import options
from labctl.cli.conduct import conclude_and_print, limited, resumable, take_to_its_end
from labctl.cli.signals import say_stopping
from labctl.config.experiment import REPLAYABLE
from labctl.config.loading import LoadedExperiment
from labctl.config.unattended import Unattended
from labctl.orchestrator.assembly import Task, build_bench
from labctl.orchestrator.replaying import bench_to_go_on
from labctl.orchestrator.runs import (
    check_bench,
    check_calibrations,
    check_files,
    check_software,
    check_states,
    continue_run,
    reopen,
    reopen_task,
)
from labctl.orchestrator.session import pinned_arithmetic
from labctl.orchestrator.stopping import StopRequest, stop_on_signals
from labctl.record.folder import LOG_NAME, find_run
from labctl.record.reader import LogReader
from labctl.rig.rig import opened


@click.command("resume")
@options.run_name
@options.limits
@click.option("--own-files", is_flag=True, help="Go on with the run's own copies of files that were edited since.")
@click.option("--accept-changes", is_flag=True, help="The same, and though Python or packages have other versions.")
@options.runs_root
@options.as_json
def command(
    run: str,
    time_limit_s: float | None,
    pass_limit: int | None,
    own_files: bool,
    accept_changes: bool,
    root: Path,
    as_json: bool,
) -> None:
    """Go on with RUN where its record ends; no recorded pass is measured again."""
    folder = find_run(root, run)
    with pinned_arithmetic(), LogReader(folder / LOG_NAME) as reader:
        loaded = reopen(reader)
        limits = limited(loaded, time_limit_s=time_limit_s, pass_limit=pass_limit)
        if not (own_files or accept_changes or _is_tested(reader)):
            check_files(reader)
        task = reopen_task(reader, loaded)
        with stop_on_signals(say_stopping) as stop:
            measure_the_rest(reader, loaded, task, stop, limits, quiet=as_json, accept_changes=accept_changes)
        if _is_tested(reader) and reader.kept() not in REPLAYABLE:
            return
        conclude_and_print(folder, loaded, task, as_json=as_json)


def measure_the_rest(
    reader: LogReader,
    loaded: LoadedExperiment,
    task: Task,
    stop: StopRequest,
    limits: Unattended,
    *,
    quiet: bool,
    accept_changes: bool = False,
    again: str | None = None,
) -> None:
    """Train and test from where the record of a run ends; `again` is the command that goes on, if not resume.

    Raises `RecordError` when hardware, software or files are no longer those of the run.
    """
    folder = reader.path.parent
    if _is_tested(reader):
        click.echo(f"{folder.name} is trained and tested; nothing is left to measure", err=True)
        return
    if not accept_changes:
        check_software(reader)
    check_calibrations(reader, loaded)
    bench = bench_to_go_on(folder, loaded) or build_bench(loaded)
    check_bench(reader, bench)
    click.echo(f"resuming {folder.name}: {sum(reader.count_by_purpose().values()):,} passes are recorded", err=True)
    with resumable(folder, limits.notify, again), continue_run(folder, loaded) as log, opened(bench.rigs.values()):
        if not task.rule.tunes:
            check_states(reader, bench)
        take_to_its_end(folder, log, bench, task, stop, limits, quiet=quiet)


def _is_tested(reader: LogReader) -> bool:
    return any(event.kind == "test" for event in reader.events())
