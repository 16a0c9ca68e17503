"""`labctl report`: write a run's page again."""

from pathlib import Path

import click

from labctl.cli import options
from labctl.config.experiment import REPLAYABLE
from labctl.contract.errors import RecordError
from labctl.record.folder import LOG_NAME, REPORT_NAME, find_run
from labctl.record.reader import LogReader
from labctl.report.page import write_page


@click.command("report")
@options.run_name
@options.runs_root
def command(run: str, root: Path) -> None:
    """Write report.html of RUN from its record; an unfinished run gets a page that says where it stands."""
    folder = find_run(root, run)
    with LogReader(folder / LOG_NAME) as reader:
        if reader.kept() not in REPLAYABLE:
            raise RecordError(f"{folder.name} keeps its {reader.kept()} alone: its report.html from before is the last")
        write_page(reader, folder / REPORT_NAME)
    click.echo(str(folder / REPORT_NAME))
