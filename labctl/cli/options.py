"""Options that several commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from labctl.contract.units import parse_seconds

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


def _seconds(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Return a time written with its unit in seconds."""
    if value is None:
        return None
    try:
        seconds = parse_seconds(value)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from error
    if seconds <= 0:
        raise click.BadParameter(f"'{value}' is not above zero", ctx, param)
    return seconds


CommandT = TypeVar("CommandT", bound=Callable[..., Any])


def limits(command: CommandT) -> CommandT:
    """Add the options that limit a session in place of the experiment's `unattended`."""
    time_limit = click.option(
        "--time-limit", "time_limit_s", callback=_seconds, metavar="TIME", help="Stop after this time, as in 13h."
    )
    pass_limit = click.option(
        "--pass-limit", type=click.IntRange(min=1), metavar="N", help="Stop after this many passes."
    )
    return time_limit(pass_limit(command))


run_name = click.argument("run", metavar="RUN")
"""A run's folder, its name, a unique start or end of it, or `latest`."""
