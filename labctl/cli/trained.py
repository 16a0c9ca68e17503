"""Opens a trained run together with its hardware, for the commands that use it."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from labctl.config.loading import MAIN_RIG, load_rig
from labctl.contract.errors import InputError
from labctl.contract.layer import Stop
from labctl.monitor.logfile import log_file
from labctl.orchestrator.assembly import Bench, Task, build_bench
from labctl.orchestrator.inference import check_fit, load_trained
from labctl.orchestrator.runs import continue_run, reopen, reopen_task
from labctl.orchestrator.session import pinned_arithmetic
from labctl.orchestrator.stopping import stop_on_signals
from labctl.record.folder import LOG_NAME, find_run
from labctl.record.reader import LogReader
from labctl.record.writer import PassLog
from labctl.rig.rig import opened


@dataclass(frozen=True)
class Trained:
    """A trained run on an open bench, its log open for the passes to come."""

    folder: Path
    task: Task
    bench: Bench
    log: PassLog
    stop: Stop


@contextmanager
def open_trained(root: Path, run: str, rig: Path | None) -> Generator[Trained]:
    """Open the run named `run` on its own rig, or with the rig file `rig` as its main rig."""
    folder = find_run(root, run)
    with pinned_arithmetic(), LogReader(folder / LOG_NAME) as reader:
        loaded = reopen(reader)
        task = reopen_task(reader, loaded)
        load_trained(task, reader)
        if rig is not None:
            if MAIN_RIG not in loaded.rigs:
                raise InputError(f"{folder.name} has no rig of role '{MAIN_RIG}' that {rig} could replace")
            loaded = replace(loaded, rigs={**loaded.rigs, MAIN_RIG: load_rig(rig)})
        bench = build_bench(loaded)
        check_fit(task, bench)
        with (
            stop_on_signals() as stop,
            opened(bench.rigs.values()),
            continue_run(folder, loaded) as log,
            log_file(folder),
        ):
            yield Trained(folder, task, bench, log, stop)
