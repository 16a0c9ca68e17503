"""`labctl status`: where a run stands."""

import json
from pathlib import Path

import click

from labctl.cli import options
from labctl.monitor.status import as_json as status_as_json
from labctl.monitor.status import in_words, status_of
from labctl.record.folder import find_run


@click.command("status")
@click.argument("run", metavar="RUN", default="latest")
@options.runs_root
@options.as_json
def command(run: str, root: Path, as_json: bool) -> None:
    """Say whether RUN, or else the latest, goes on, waits, has ended or was killed, and how far it has come."""
    status = status_of(find_run(root, run))
    click.echo(json.dumps(status_as_json(status)) if as_json else in_words(status))
