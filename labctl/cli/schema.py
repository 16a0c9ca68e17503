"""`labctl schema`: JSON schemas with which an editor completes and checks experiment and rig files."""

import json

import click

from labctl.config.schema import experiment_schema, rig_schema
from labctl.rig.drivers import INSTRUMENTS, LAYERS, installed, instrument_driver, layer_driver


@click.command("schema")
@click.argument("kind", type=click.Choice(["experiment", "rig"]))
def command(kind: str) -> None:
    """Print the JSON schema of experiment or rig files; a rig's contains every installed driver's settings."""
    if kind == "experiment":
        schema = experiment_schema()
    else:
        instruments = {name: instrument_driver(name).settings for name in installed(INSTRUMENTS)}
        schema = rig_schema(instruments, {name: layer_driver(name).settings for name in installed(LAYERS)})
    click.echo(json.dumps(schema, indent=2, ensure_ascii=False))
