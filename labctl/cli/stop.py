"""`labctl stop`: end a run that goes on elsewhere."""

import time
from pathlib import Path

import click

from labctl.cli import options
from labctl.contract.errors import InputError
from labctl.monitor.status import Status, in_words, status_of
from labctl.orchestrator.watching import ask_to_stop
from labctl.record.folder import find_run

LOOK_EVERY_S = 0.1


@click.command("stop")
@click.argument("run", metavar="RUN", default="latest")
@click.option("--at-once", is_flag=True, help="Do not wait for the pass under way; hardware is made safe all the same.")
@click.option("--no-wait", is_flag=True, help="Only ask; do not wait until it has ended.")
@options.runs_root
def command(run: str, at_once: bool, no_wait: bool, root: Path) -> None:
    """Ask the process that writes RUN, or else the latest, to end after the pass under way.

    It makes the hardware safe and leaves a run that `labctl resume` goes on with.
    """
    folder = find_run(root, run)
    before = status_of(folder)
    _check_goes_on(before)
    try:
        ask_to_stop(folder, at_once=at_once)
    except OSError as error:
        raise InputError(f"{folder} cannot be written, which is how a run is asked to stop: {error}") from error
    click.echo(f"asked {before.owner} to stop {folder.name}", err=True)
    if not no_wait:
        click.echo(in_words(_wait(folder)))


def _check_goes_on(status: Status) -> None:
    if status.state not in ("running", "waiting", "unknown"):
        raise InputError(f"nothing is running there: {in_words(status)}")


def _wait(folder: Path) -> Status:
    """Return the status when the run has ended; a pass may take minutes, Ctrl-C leaves it alone."""
    while (status := status_of(folder)).state in ("running", "waiting", "unknown"):
        time.sleep(LOOK_EVERY_S)
    return status
