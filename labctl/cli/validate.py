"""`labctl validate`: check a file without touching hardware."""

import json
from pathlib import Path

import click

from labctl.cli import options
from labctl.config.document import Document
from labctl.config.loading import load_experiment, load_rig
from labctl.config.rig import RIG_SCHEMA
from labctl.orchestrator.assembly import build_bench, build_task
from labctl.orchestrator.disturbing import check_disturbances
from labctl.orchestrator.first_drives import check_first_drives
from labctl.rig.rig import build_rig


@click.command("validate")
@click.argument("file", type=click.Path(path_type=Path))
@options.swap_rig
@options.overrides
@options.as_json
def command(file: Path, rig: Path | None, overrides: tuple[str, ...], as_json: bool) -> None:
    """Check the experiment or rig FILE, the data and everything else it names; nothing is opened or written."""
    facts = _check_rig(file, overrides) if _is_rig(file) else _check_experiment(file, rig, overrides)
    if as_json:
        click.echo(json.dumps({"valid": True, **facts}))
    else:
        click.echo("\n".join([f"{file} is valid", *(f"  {name}: {value}" for name, value in facts.items())]))


def _is_rig(file: Path) -> bool:
    return str(Document.read(file).data.get("schema", "")).startswith(RIG_SCHEMA.rsplit("/", 1)[0])


def _check_rig(file: Path, overrides: tuple[str, ...]) -> dict[str, str]:
    rig = build_rig(load_rig(file, overrides))
    return {
        f"layer {name}": f"{layer.info.n_inputs} inputs, {layer.info.n_outputs} outputs, "
        f"{layer.info.nominal_pass_s:g} s a pass, {'simulated' if layer.info.simulated else 'real hardware'}"
        for name, layer in rig.layers.items()
    }


def _check_experiment(file: Path, rig: Path | None, overrides: tuple[str, ...]) -> dict[str, str]:
    loaded = load_experiment(file, overrides, rig)
    bench = build_bench(loaded)
    task = build_task(loaded, bench.infos, bench.offers)
    check_first_drives(loaded, bench, task)
    check_disturbances(loaded, bench)
    data = task.data
    pairs = zip(bench.infos, loaded.experiment.network.blocks, strict=True)
    blocks = {
        f"block {number}": f"{info.n_inputs} drives -> {info.name} -> {info.n_outputs} responses -> {block.units} units"
        for number, (info, block) in enumerate(pairs, start=1)
    }
    if loaded.experiment.record.raw_bytes is not None:
        sizes = [f"{size / 1e3:,.1f} kB" for size in bench.raw_bytes]
        blocks["raw signal of a pass"] = ", ".join(sizes)
    counts = f"{len(data.train_y)} training and {len(data.test_y)} test samples"
    return {"data": f"{counts}, {data.n_features} features, {data.n_classes} classes", **blocks}
