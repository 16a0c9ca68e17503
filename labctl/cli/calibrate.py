"""`labctl calibrate`: measure what a rig must know of itself, and keep it in dated files beside the rig file."""

import json
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import click

from labctl.cli import findings, options
from labctl.config.loading import load_rig
from labctl.contract.calibration import write_calibration
from labctl.contract.capabilities import Calibration
from labctl.contract.errors import InputError
from labctl.orchestrator.interlocks import require_content
from labctl.rig.calibrating import calibratable, calibrate
from labctl.rig.client import hosted
from labctl.rig.rig import build_rig, opened


@click.command("calibrate")
@click.argument("rig", type=click.Path(path_type=Path))
@click.option("--only", metavar="NAME", help="Calibrate this instrument or layer alone.")
@options.overrides
@options.as_json
def command(rig: Path, only: str | None, overrides: tuple[str, ...], as_json: bool) -> None:
    """Open RIG, let every instrument and layer that can calibrate itself do so, and write what was found.

    Each gets a file of its own, named after the day, beside RIG. The next run uses it when the setting `calibration` of
    that instrument or layer names it.
    """
    loaded = load_rig(rig, overrides)
    built = build_rig(loaded)
    parts = calibratable(built)
    if only is not None and only not in parts:
        raise InputError(f"'{only}' cannot be calibrated; what can is: {', '.join(parts) or 'nothing in this rig'}")
    if not parts:
        raise InputError(f"nothing in {rig} can be calibrated")
    written: dict[str, dict[str, object]] = {}
    served = hosted(loaded, built)
    require_content([served])
    with opened([served]):
        for name in parts if only is None else (only,):
            calibration, when = calibrate(served, name), datetime.now().astimezone()
            path = write_calibration(loaded.document.folder, built.name, name, calibration, when)
            written[name] = {"file": path.name, "findings": [asdict(each) for each in calibration.findings]}
            if not as_json:
                click.echo(_as_text(name, path, calibration))
    if as_json:
        click.echo(json.dumps({"rig": built.name, "simulated": built.simulated, "parts": written}))


def _as_text(name: str, path: Path, calibration: Calibration) -> str:
    lines = [name, *(findings.as_text(" ", finding) for finding in calibration.findings)]
    return "\n".join([*lines, f"  the next run uses it with this line in '{name}': calibration: {path.name}"])
