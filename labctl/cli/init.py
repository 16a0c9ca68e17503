"""`labctl init`: a folder to start from."""

from pathlib import Path

import click

from labctl.config.examples import copy_examples


@click.command("init")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def command(folder: Path) -> None:
    """Copy the example experiments and rigs into FOLDER."""
    files = copy_examples(folder)
    click.echo("\n".join(str(file) for file in files))
    click.echo(f"train the first with: labctl run {folder / 'experiments' / 'quickstart.yaml'}")
