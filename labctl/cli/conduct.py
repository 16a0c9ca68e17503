"""What `run` and `resume` share: from an open pass log to the result on the screen."""

import json
import logging
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import click

from labctl.cli.main import EXIT_INTERRUPTED, EXIT_STOPPED
from labctl.config.loading import LoadedExperiment
from labctl.config.unattended import Notify, Unattended
from labctl.contract.errors import InstrumentError, RecordError
from labctl.learning.rule import Metrics
from labctl.monitor.live import LiveMonitor
from labctl.monitor.logfile import log_file
from labctl.monitor.notify import facts_of, notify
from labctl.monitor.progress import PlainMonitor, Progress
from labctl.monitor.status import session_facts
from labctl.monitor.waits import Waits
from labctl.orchestrator.assembly import Bench, Task
from labctl.orchestrator.counters import Counters
from labctl.orchestrator.interlocks import interlocked
from labctl.orchestrator.plan import plan_run
from labctl.orchestrator.runs import describe_bench
from labctl.orchestrator.session import Monitor, train_and_test
from labctl.orchestrator.stopping import ASKED, Stopped, StopRequest
from labctl.orchestrator.watching import PassLimit, Watch, disk_guard, stop_request, time_limit, watched
from labctl.record.folder import LOG_NAME, REPORT_NAME
from labctl.record.pruning import COSTS, prune
from labctl.record.reader import LogReader
from labctl.record.writer import PassLog
from labctl.report.conclusion import Conclusion, conclude
from labctl.report.digital import arithmetic_j

PLAIN_LINE_EVERY_S = 30.0

_log = logging.getLogger(__name__)


def take_to_its_end(
    folder: Path,
    log: PassLog,
    bench: Bench,
    task: Task,
    stop: StopRequest,
    limits: Unattended,
    *,
    quiet: bool,
) -> None:
    """Train and test within `limits`, showing how far it is. Raises `Stopped` when asked to stop."""
    progress = _progress(folder, task)
    log.append_event("session", {**session_facts(progress), **describe_bench(bench)})
    with (
        log_file(folder) as passes,
        _shown(progress, quiet=quiet) as monitor,
        watched(stop, _watches(folder, stop, limits)),
        interlocked(bench, log.append_event, stop),
        Waits(folder.name, limits.notify, stop) as waits,
    ):
        _log.info("%s: %s", "resuming" if progress.recorded else "starting", folder.name)
        listeners: list[RowListener] = [passes, waits]
        if limits.pass_limit is not None:
            listeners.append(PassLimit(stop, limits.pass_limit))
        train_and_test(task, bench, log, Together(monitor, listeners), stop, waits.hearing(log.append_event))


def _watches(folder: Path, stop: StopRequest, limits: Unattended) -> list[Watch]:
    watches = [stop_request(folder, stop), disk_guard(folder, limits.free_disk_bytes)]
    if limits.time_limit_s is not None:
        watches.append(time_limit(limits.time_limit_s))
    return watches


def limited(loaded: LoadedExperiment, **given: float | None) -> Unattended:
    """Return what the experiment says about unattended runs, with the limits `given` on the command line, if any."""
    return loaded.experiment.unattended.model_copy(update={key: limit for key, limit in given.items() if limit})


@contextmanager
def resumable(folder: Path, to: Notify | None, again: str | None = None) -> Generator[None]:
    """Say how to go on when the body, which closes the log, ends before the run in `folder` does; notify `to`.

    `again` is the command that goes on, unless it is `labctl resume`.
    """
    command = again or f"labctl resume {folder}"
    try:
        yield
    except Stopped as reason:
        notify(to, facts_of(folder.name, "stopped", str(reason)))
        why = "" if str(reason) == ASKED else f", as {reason}"
        click.echo(f"stopped{why}; every pass is recorded. Go on with: {command}", err=True)
        sys.exit(EXIT_STOPPED)
    except KeyboardInterrupt:
        click.echo(f"stopped at once; what is recorded is whole. Go on with: {command}", err=True)
        sys.exit(EXIT_INTERRUPTED)
    except (InstrumentError, RecordError) as error:
        notify(to, facts_of(folder.name, "failed", str(error)))
        error.add_note(f"go on afterwards with: {command}")
        raise


def conclude_and_print(folder: Path, loaded: LoadedExperiment, task: Task, *, as_json: bool) -> None:
    """Compute baselines, write model and report, and print the result."""
    report = loaded.experiment.report
    steps = [*(["computing baselines"] if report.baselines else []), *(["writing the report"] if report.page else [])]
    if steps and not as_json:
        click.echo(f"{' and '.join(steps)} ...")
    conclusion = conclude(folder, loaded, task)
    if (keep := loaded.experiment.record.keep) != "everything":
        prune(folder, keep)
        click.echo(f"{folder.name} keeps its {keep} (record: keep): {COSTS[keep]}", err=True)
    notify(loaded.experiment.unattended.notify, facts_of(folder.name, "finished", None, accuracy=conclusion.accuracy))
    click.echo(json.dumps(_as_json(folder, conclusion)) if as_json else _as_text(folder, conclusion))


class RowListener(Protocol):
    """Wants to know how many rows are measured."""

    def rows_done(self, counters: Counters) -> None:
        """Called after every chunk of measured rows."""
        ...


class Together:
    """A monitor that also tells others which pass it is at."""

    def __init__(self, monitor: Monitor, listeners: Sequence[RowListener]) -> None:
        self._monitor = monitor
        self._listeners = listeners

    def rows_done(self, counters: Counters) -> None:
        """Tell all."""
        for listener in self._listeners:
            listener.rows_done(counters)
        self._monitor.rows_done(counters)

    def epoch_done(self, epoch: int, metrics: Metrics) -> None:
        """Tell the monitor, and the log file in words."""
        _log.info("epoch %d done: %s", epoch, ", ".join(f"{name} {value:.4g}" for name, value in metrics.items()))
        self._monitor.epoch_done(epoch, metrics)

    def test_begins(self) -> None:
        """Tell the monitor."""
        self._monitor.test_begins()


def _progress(folder: Path, task: Task) -> Progress:
    data = task.data
    experiment, sizes = task.experiment, (len(data.train_y), len(data.test_y))
    plan = plan_run(experiment.training.schedule, task.rule, task.infos, *sizes, drift=experiment.drift)
    with LogReader(folder / LOG_NAME) as reader:
        recorded = sum(reader.count_by_purpose().values())
        checkpoint = reader.latest_checkpoint()
    return Progress(plan, task.epochs, recorded, epoch=checkpoint.epoch if checkpoint else 0)


@contextmanager
def _shown(progress: Progress, *, quiet: bool) -> Generator[Monitor]:
    """Show a bar on a terminal, lines elsewhere, nothing when `quiet`."""
    if quiet:
        yield PlainMonitor(progress, lambda _: None, time.monotonic, float("inf"))
    elif sys.stderr.isatty():
        from rich.console import Console

        with LiveMonitor(progress, Console(stderr=True)) as monitor:
            yield monitor
    else:
        yield PlainMonitor(progress, lambda line: click.echo(line, err=True), time.monotonic, PLAIN_LINE_EVERY_S)


def _report(folder: Path) -> str | None:
    """Return the path of the run's page, if it has one."""
    page = folder / REPORT_NAME
    return str(page) if page.exists() else None


def _as_text(folder: Path, conclusion: Conclusion) -> str:
    lines = [f"  {name:<20} {100 * accuracy:5.1f} %" for name, accuracy in conclusion.baselines.items()]
    if lines:
        lines = ["baselines on the same test samples:", *lines]
    lines += [
        f"disturbed on purpose: {each['what']}; {each['how']}, first in row {each['first_id']:,}"
        for each in conclusion.disturbances
    ]
    low, high = conclusion.interval
    simulated = "simulated hardware, " if conclusion.simulated else ""
    source = conclusion.replayed
    passes = f"{conclusion.passes:,} passes, {conclusion.hardware_s / 3600:.2f} h of hardware time"
    spent = passes if source is None else f"{conclusion.passes:,} rows from the record of {source}, no fresh pass"
    return "\n".join(
        [
            *lines,
            f"test accuracy {100 * conclusion.accuracy:.1f} %  (95 % interval {100 * low:.1f} to {100 * high:.1f}; "
            f"{simulated}{spent})",
            f"report: {_report(folder) or f'none yet; labctl report {folder.name} writes it'}",
        ]
    )


def _as_json(folder: Path, conclusion: Conclusion) -> dict[str, object]:
    return {
        "run": str(folder),
        "report": _report(folder),
        "accuracy": conclusion.accuracy,
        "interval": list(conclusion.interval),
        "baselines": dict(conclusion.baselines),
        "passes": conclusion.passes,
        "hardware_s": conclusion.hardware_s,
        "simulated": conclusion.simulated,
        "replayed": conclusion.replayed,
        "macs": dict(conclusion.macs),
        "disturbances": [dict(each) for each in conclusion.disturbances],
        "arithmetic_j": arithmetic_j(conclusion.macs),
    }
