"""`labctl queue`: experiments one after another."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import click

from labctl.cli import options
from labctl.cli.main import EXIT_INPUT, EXIT_STOPPED
from labctl.config.loading import load_experiment
from labctl.contract.errors import LabctlError
from labctl.monitor.service import Service
from labctl.monitor.status import status_of
from labctl.orchestrator.queue import Content, Entry, Queue
from labctl.orchestrator.stopping import StopRequest, stop_on_signals
from labctl.record.folder import list_runs

LOOK_EVERY_S = 0.2


@click.group("queue")
def command() -> None:
    """Run experiments one after another; nothing starts before `labctl queue run`."""


@command.command("add")
@click.argument("experiment", type=click.Path(path_type=Path))
@options.swap_rig
@options.overrides
@options.runs_root
def add_command(experiment: Path, rig: Path | None, overrides: tuple[str, ...], root: Path) -> None:
    """Queue the file EXPERIMENT, which is checked now and read again when its turn comes."""
    load_experiment(experiment, overrides, rig)
    entry = Queue(root).add(experiment, rig, overrides)
    click.echo(f"queued as number {entry.number}; `labctl queue run` works the queue off")


@command.command("list")
@options.runs_root
@options.as_json
def list_command(root: Path, as_json: bool) -> None:
    """List what is queued and what became of it."""
    content = Queue(root).read()
    if as_json:
        click.echo(json.dumps(asdict(content)))
        return
    if content.paused is not None:
        click.echo(f"paused: {content.paused}; `labctl queue run` goes on")
    if not content.entries:
        click.echo("the queue is empty", err=True)
    for entry in content.entries:
        click.echo(_line(entry))


@command.command("remove")
@click.argument("number", type=int)
@options.runs_root
def remove_command(number: int, root: Path) -> None:
    """Take entry NUMBER out of the queue; its run stays."""
    Queue(root).remove(number)


@command.command("pause")
@options.runs_root
def pause_command(root: Path) -> None:
    """Let the run that goes on end, and none begin after it."""
    Queue(root).pause("asked to pause")


@command.command("run")
@options.runs_root
def run_command(root: Path) -> None:
    """Work the queue off, first to last; what was broken off is resumed.

    Every run is a process of its own. A failed instrument or record pauses the queue, as the next run would meet it,
    too; an experiment that cannot be read is passed over.
    """
    queue = Queue(root)
    service = Service()
    with stop_on_signals() as stop, queue.worked_off():
        queue.pause(None)
        service.ready()
        while not stop.is_set() and (content := queue.read()).paused is None and (entry := content.next()) is not None:
            _take_on(queue, entry, stop, service)
        service.stopping()
    content = queue.read()
    if content.next() is not None:
        click.echo(f"the queue is paused: {content.paused or 'stopped'}; `labctl queue run` goes on", err=True)
        sys.exit(EXIT_STOPPED)
    click.echo("the queue is worked off", err=True)


def _take_on(queue: Queue, entry: Entry, stop: StopRequest, service: Service) -> None:
    arguments = _arguments(entry, queue.root)
    service.says(f"{entry.number}: labctl {' '.join(arguments)}")
    click.echo(f"{entry.number}: labctl {' '.join(arguments)}", err=True)
    child = [sys.executable, "-m", "labctl.cli", *arguments]
    # In a session of its own a Ctrl-C here does not reach it twice.
    with subprocess.Popen(child, start_new_session=True) as process:  # noqa: S603 - labctl itself
        entry = replace(entry, state="running", reason=None)
        queue.change(lambda content: content.with_entry(entry))
        told = False
        while process.poll() is None:
            if entry.run is None and (run := _run_of(process.pid, queue.root)) is not None:
                entry = replace(entry, run=str(run))
                queue.change(lambda content, now=entry: content.with_entry(now))
            service.alive()
            if stop.is_set() and not told:
                told = True
                process.send_signal(signal.SIGTERM)
            time.sleep(LOOK_EVERY_S)
    run = entry.run or _run_of(process.pid, queue.root)
    ended = replace(entry, run=None if run is None else str(run), **_became(process.returncode))
    queue.change(lambda content: _after(content, ended, process.returncode))


def _arguments(entry: Entry, root: Path) -> list[str]:
    if entry.run is not None and Path(entry.run).is_dir():
        return ["resume", entry.run, "--own-files", "--runs", str(root)]
    rig = [] if entry.rig is None else ["--rig", entry.rig]
    overrides = [argument for override in entry.overrides for argument in ("--set", override)]
    return ["run", entry.experiment, *rig, *overrides, "--runs", str(root)]


def _run_of(pid: int, root: Path) -> Path | None:
    """Return the folder of the run that process `pid` writes or wrote last."""
    for summary in reversed(list_runs(root)[-3:]):
        try:
            owner = status_of(summary.folder).owner
        except LabctlError:
            continue
        if owner is not None and owner.pid == pid:
            return summary.folder
    return None


def _became(code: int) -> dict[str, str | None]:
    if code == 0:
        return {"state": "done", "reason": None}
    if code in (EXIT_STOPPED, 130) or code < 0:
        return {"state": "stopped", "reason": f"ended with code {code}"}
    return {"state": "failed" if code == EXIT_INPUT else "stopped", "reason": f"ended with code {code}"}


def _after(content: Content, entry: Entry, code: int) -> Content:
    content = content.with_entry(entry)
    if code in (0, EXIT_INPUT):
        return content
    return replace(content, paused=content.paused or f"number {entry.number} {entry.reason}")


def _line(entry: Entry) -> str:
    name = Path(entry.run).name if entry.run else os.path.relpath(entry.experiment)
    reason = f" ({entry.reason})" if entry.reason else ""
    return f"{entry.number:>3}  {entry.state:<8} {name}{''.join(f' --set {each}' for each in entry.overrides)}{reason}"
