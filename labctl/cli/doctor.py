"""`labctl doctor`: look after a rig's instruments and layers, and say what to do about what is not well."""

import json
import sys
from pathlib import Path

import click

from labctl.cli import findings, options
from labctl.cli.main import EXIT_INSTRUMENT
from labctl.config.loading import load_rig
from labctl.orchestrator.interlocks import require_content
from labctl.rig.client import hosted
from labctl.rig.doctor import examine
from labctl.rig.examined import Examined, examined_as_json
from labctl.rig.rig import build_rig, put_away


@click.command("doctor")
@click.argument("rig", type=click.Path(path_type=Path))
@options.overrides
@options.as_json
def command(rig: Path, overrides: tuple[str, ...], as_json: bool) -> None:
    """Open every instrument of RIG, ask how it is, and let every layer make one pass.

    Power is on during that pass, within the limits of the rig file. All that is found is told, not only what is wrong
    first; the code is 3 when something does not work.
    """
    loaded = load_rig(rig, overrides)
    built = hosted(loaded, build_rig(loaded))
    report: list[Examined] = []
    require_content([built])
    with put_away([built]):
        for examined in examine(built, loaded):
            report.append(examined)
            if not as_json:
                click.echo(_as_text(examined))
    failed = [examined.name for examined in report if examined.failure is not None]
    if as_json:
        parts = [examined_as_json(examined) for examined in report]
        click.echo(json.dumps({"rig": built.name, "well": not failed, "simulated": built.simulated, "parts": parts}))
    else:
        click.echo(f"not well: {', '.join(failed)}" if failed else f"all is well with {rig}")
    if failed:
        sys.exit(EXIT_INSTRUMENT)


def _as_text(examined: Examined) -> str:
    lines = [f"{examined.kind} {examined.name}", *(findings.as_text(" ", finding) for finding in examined.findings)]
    if examined.failure is not None:
        lines.append(findings.as_text("!", examined.failure))
    return "\n".join(lines)
