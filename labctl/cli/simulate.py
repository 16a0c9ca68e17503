"""`labctl simulate`: virtual instruments where a rig has real ones, to try everything beforehand."""

import time
from copy import deepcopy
from pathlib import Path
from typing import Any

import click
import yaml

from labctl.config.document import Document
from labctl.config.examples import examples_folder
from labctl.config.loading import load_rig
from labctl.contract.capabilities import Finding
from labctl.contract.errors import InputError, InstrumentError
from labctl.contract.simulator import SettingsByName
from labctl.orchestrator.session import pinned_arithmetic
from labctl.orchestrator.stopping import stop_on_signals
from labctl.rig.doctor import examine
from labctl.rig.rig import build_rig, put_away
from labctl.rig.simulation import bench_for, simulated

HEAD = "# Written by labctl simulate: virtual instruments, no hardware."
PULSE_S = 0.1

PHYSICS = {
    "audio.simulated": "sim_acoustic.yaml",
    "microwave.simulated": "sim_microwave.yaml",
    "simulated-optics": "sim_optics.yaml",
}
"""The shipped rig file with each kind of physics."""

REHEARSALS = 5
"""Solving a large cavity may outlast the time-outs of the first."""


@click.command("simulate")
@click.argument("rig", type=click.Path(path_type=Path))
@click.option(
    "--physics",
    "--cavity",
    "own",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Rig file with the simulated cavity or optics that they measure; without it that of the shipped example.",
)
@click.option(
    "--write",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to write the copy of RIG that leads to them; without it RIG-simulated.yaml, beside RIG.",
)
def command(rig: Path, own: Path | None, write: Path | None) -> None:
    """Let virtual instruments answer in place of those of RIG until Ctrl-C.

    RIG stays as it is. A copy of it, marked as simulated, leads to the virtual instruments; started again, they are in
    the same places, so that runs can be resumed.
    """
    loaded = load_rig(rig)
    physics = load_rig(own or examples_folder() / "rigs" / PHYSICS[bench_for(loaded)])
    copy = write or rig.with_name(f"{rig.stem}-simulated.yaml")
    # One thread rounds as a computed layer does, and leaves the other processors to who measures.
    with pinned_arithmetic(), stop_on_signals() as stop, simulated(loaded, physics, _settings_of(copy)) as settings:
        for name, leading in settings.items():
            place = leading.get("address") or ", ".join(f"{key} {value}" for key, value in leading.items())
            click.echo(f"{name}: a virtual {loaded.rig.instruments[name]['driver']} at {place}")
        _write(copy, rig, loaded.document, settings)
        click.echo("making a pass on every layer, after solving the cavity if there is one ...")
        _rehearse(copy)
        click.echo(f"{copy} leads to them; Ctrl-C ends")
        while not stop.is_set():
            time.sleep(PULSE_S)


def _settings_of(copy: Path) -> SettingsByName:
    """Return the instruments' settings in the copy of an earlier time, none when there is none.

    Raises `InputError` when another file is in its place.
    """
    if not copy.exists():
        return {}
    if not copy.read_text(encoding="utf-8").startswith(HEAD):
        raise InputError(f"{copy} exists and was not written by labctl simulate; name another file with --write")
    return load_rig(copy).rig.instruments


def _rehearse(copy: Path) -> None:
    """Make a pass on every layer, so that what is slow once is over. Raises `InstrumentError`."""
    loaded = load_rig(copy)
    failures: list[Finding] = []
    for _ in range(REHEARSALS):
        rig = build_rig(loaded)
        with put_away([rig]):
            failures = [each.failure for each in examine(rig, loaded) if each.failure is not None]
        if not failures:
            return
    raise InstrumentError(copy.name, "; ".join(failure.text for failure in failures), command="a first pass")


def _write(copy: Path, rig: Path, document: Document, settings: SettingsByName) -> None:
    data: dict[Any, Any] = deepcopy(document.data)
    for name, leading in settings.items():
        data["instruments"][name] |= {**leading, "simulated": True}
    body = yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    try:
        copy.write_text(f"{HEAD} Made from {rig.name}.\n{body}", encoding="utf-8")
    except OSError as error:
        raise InputError(f"{copy} cannot be written: {error.strerror}") from error


class _Dumper(yaml.SafeDumper):
    """Quotes every text that might be read as a number by one version of YAML or another."""


def _text(_: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = '"' if not text or text[0] in "+-.0123456789" else None
    return yaml.ScalarNode("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)
