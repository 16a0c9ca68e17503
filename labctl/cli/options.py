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


class Duration(click.ParamType[float]):
    """A time with its unit, as files have it."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return seconds."""
        if isinstance(value, float):
            return value
        try:
            seconds = parse_seconds(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if seconds <= 0:
            self.fail(f"'{value}' is not above zero", param, ctx)
        return seconds


CommandT = TypeVar("CommandT", bound=Callable[..., Any])


def limits(command: CommandT) -> CommandT:
    """Add the options that limit a session in place of the experiment's `unattended`."""
    time_limit = click.option(
        "--time-limit", "time_limit_s", type=Duration(), metavar="TIME", help="Stop after this time, as in 13h."
    )
    pass_limit = click.option(
        "--pass-limit", type=click.IntRange(min=1), metavar="N", help="Stop after this many passes."
    )
    return time_limit(pass_limit(command))


run_name = click.argument("run", metavar="RUN")
"""A run's folder, its name, a unique start or end of it, or `latest`."""
