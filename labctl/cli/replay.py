"""`labctl replay`: train again from what a run has recorded."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from labctl.cli import options
from labctl.cli.conduct import conclude_and_print, limited, resumable, take_to_its_end
from labctl.cli.signals import say_stopping
from labctl.orchestrator.assembly import build_task
from labctl.orchestrator.first_drives import check_first_drives
from labctl.orchestrator.replaying import (
    WITHOUT_DISTURBANCES,
    WITHOUT_DRIFT,
    Coverage,
    check_coverage,
    load_replay,
    recorded_bench,
    starting_model_of,
)
from labctl.orchestrator.runs import begin_run
from labctl.orchestrator.session import pinned_arithmetic
from labctl.orchestrator.stopping import stop_on_signals
from labctl.record.folder import LOG_NAME, find_run
from labctl.record.reader import LogReader
from labctl.rig.rig import opened


@click.command("replay")
@options.run_name
@click.option(
    "--experiment",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Train what this file describes instead of what RUN did; its rig is that of RUN.",
)
@options.overrides
@click.option(
    "--to",
    "target",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder that holds the new run; that of --runs unless given.",
)
@options.runs_root
@options.as_json
@click.option("--dry-run", is_flag=True, help="Only say how many of the rows that are needed are recorded.")
def command(
    run: str,
    file: Path | None,
    overrides: tuple[str, ...],
    target: Path | None,
    root: Path,
    as_json: bool,
    dry_run: bool,
) -> None:
    """Train again from the passes that RUN has recorded, with other settings, without hardware.

    The new run has a folder of its own. Each drive it asks for is answered by the recorded response to the same drive,
    as often as that was measured; what is not recorded is an error. Where raw signals were kept (record: raw), how a
    layer reads them out can be set, too: --set rig.layers.NAME.window=80ms.
    """
    folder = find_run(root, run)
    with pinned_arithmetic():
        with LogReader(folder / LOG_NAME) as reader:
            loaded = load_replay(reader, overrides, file)
        if WITHOUT_DRIFT in loaded.document.overrides:
            click.echo(f"drift is not watched: responses are taken as {folder.name} corrected them", err=True)
        if WITHOUT_DISTURBANCES in loaded.document.overrides:
            click.echo(f"nothing is disturbed but what was disturbed in {folder.name}", err=True)
        bench, start = recorded_bench(folder, loaded), starting_model_of(folder, loaded)
        for layer, changed in (bench.replayed or {}).get("read_anew", {}).items():
            click.echo(f"{layer}: read out of raw signals anew, with another {', '.join(changed)}", err=True)
        task = build_task(loaded, bench.infos, bench.offers, start=start)
        check_first_drives(loaded, bench, task)
        coverage = check_coverage(folder, loaded, bench, task)
        if dry_run:
            click.echo(json.dumps(asdict(coverage)) if as_json else _as_text(coverage, folder, len(bench.layers)))
            return
        with stop_on_signals(say_stopping) as stop, opened(bench.rigs.values()):
            new, log = begin_run(loaded, bench, task, target or root, start=start)
            limits = limited(loaded)
            with resumable(new, limits.notify), log:
                take_to_its_end(new, log, bench, task, stop, limits, quiet=as_json)
        conclude_and_print(new, loaded, task, as_json=as_json)


def _as_text(coverage: Coverage, folder: Path, blocks: int) -> str:
    known = f"block 1: {coverage.found:,} of {coverage.needed:,} rows that are known beforehand are in {folder.name}"
    return f"{known}; what later blocks are sent shows in training" if blocks > 1 else known
