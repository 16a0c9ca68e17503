"""`labctl init`: a folder to start from."""

from pathlib import Path

import click

from labctl.config.examples import copy_driver_template, copy_examples


@click.command("init")
@click.option("--driver", is_flag=True, help="A package with a driver of your own instead, and the tests it must pass.")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def command(folder: Path, driver: bool) -> None:
    """Copy the example experiments and rigs into FOLDER."""
    files = copy_driver_template(folder) if driver else copy_examples(folder)
    click.echo("\n".join(str(file) for file in files))
    if driver:
        click.echo(f"its tests: python -m pytest {folder}; to use it: pip install ./{folder}")
        return
    click.echo(f"train the first with: labctl run {folder / 'experiments' / 'quickstart.yaml'}")
