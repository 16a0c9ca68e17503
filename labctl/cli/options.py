"""Options that several commands share."""

from pathlib import Path

import click

runs_root = click.option(
    "--runs",
    "root",
    type=click.Path(file_okay=False, path_type=Path),
    default="runs",
    envvar="LABCTL_RUNS",
    show_default=True,
    help="Folder that holds the runs (environment: LABCTL_RUNS).",
)

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs instead of text for people.")

overrides = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Replace one value of the file: training.epochs=3; rig.KEY=VALUE: of its rig file.",
)

swap_rig = click.option(
    "--rig",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Use this rig file instead of the one the experiment names.",
)

run_name = click.argument("run", metavar="RUN")
"""A run's folder, its name, a unique start or end of it, or `latest`."""
