"""Finds a trained run and opens its hardware, for the commands that use it."""

import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import click

from labctl.cli.main import EXIT_STOPPED
from labctl.cli.signals import say_stopping
from labctl.config.loading import MAIN_RIG, LoadedExperiment, load_rig
from labctl.contract.errors import InputError
from labctl.contract.layer import Stop
from labctl.monitor.logfile import log_file
from labctl.orchestrator.assembly import Bench, Task, build_bench
from labctl.orchestrator.inference import check_fit, load_trained
from labctl.orchestrator.interlocks import interlocked
from labctl.orchestrator.runs import continue_run, reopen, reopen_task
from labctl.orchestrator.stopping import ASKED, Stopped, stop_on_signals
from labctl.orchestrator.watching import disk_guard, stop_request, watched
from labctl.record.folder import LOG_NAME, find_run
from labctl.record.reader import LogReader
from labctl.record.writer import PassLog
from labctl.rig.rig import opened


@dataclass(frozen=True)
class Trained:
    """A trained run and the bench to use it on, which is not open yet."""

    folder: Path
    loaded: LoadedExperiment
    task: Task
    bench: Bench


def find_trained(root: Path, run: str, rig: Path | None) -> Trained:
    """Return the trained run named `run` on its own rig, or with the rig file `rig` as its main rig."""
    folder = find_run(root, run)
    with LogReader(folder / LOG_NAME) as reader:
        loaded = reopen(reader)
        task = reopen_task(reader, loaded)
        load_trained(task, reader)
    if rig is not None:
        if MAIN_RIG not in loaded.rigs:
            raise InputError(f"{folder.name} has no rig of role '{MAIN_RIG}' that {rig} could replace")
        loaded = replace(loaded, rigs={**loaded.rigs, MAIN_RIG: load_rig(rig)})
    bench = build_bench(loaded)
    check_fit(task, bench)
    return Trained(folder, loaded, task, bench)


@contextmanager
def in_use(trained: Trained) -> Generator[tuple[PassLog, Stop]]:
    """Open log and hardware of a trained run, in this order: two commands never share one bench.

    Exits with `EXIT_STOPPED` when asked to stop.
    """
    least_bytes = trained.loaded.experiment.unattended.free_disk_bytes
    try:
        with (
            stop_on_signals(say_stopping) as stop,
            continue_run(trained.folder, trained.loaded) as log,
            watched(stop, [stop_request(trained.folder, stop), disk_guard(trained.folder, least_bytes)]),
            log_file(trained.folder),
            opened(trained.bench.rigs.values()),
            interlocked(trained.bench, log.append_event, stop),
        ):
            yield log, stop
    except Stopped as reason:
        why = "" if str(reason) == ASKED else f", as {reason}"
        click.echo(f"stopped{why}; the passes measured so far are recorded, the training is as it was", err=True)
        sys.exit(EXIT_STOPPED)
