"""`labctl predict`: classify new samples with a trained run."""

import csv
import json
import sys
from pathlib import Path
from typing import TextIO

import click
import numpy as np

from labctl.cli import options
from labctl.cli.trained import find_trained, in_use
from labctl.config.data import CsvData
from labctl.config.experiment import Experiment
from labctl.data.samples import read_samples
from labctl.orchestrator.inference import Predictions, predict
from labctl.orchestrator.session import pinned_arithmetic


@click.command("predict")
@options.run_name
@click.argument("samples", type=click.Path(path_type=Path))
@click.option(
    "--live", "rig", type=click.Path(dir_okay=False, path_type=Path), help="Predict on the rig of this file instead."
)
@click.option("--ignore", multiple=True, metavar="COLUMN", help="A column of the file that is no feature.")
@options.runs_root
@options.as_json
def command(run: str, samples: Path, rig: Path | None, ignore: tuple[str, ...], root: Path, as_json: bool) -> None:
    """Send the samples of a .csv or .npz file through the hardware of RUN and print their classes.

    One line per sample: its number, the class, and how sure the network is of it.
    """
    with pinned_arithmetic():
        trained = find_trained(root, run, rig)
        data = trained.task.data
        known = (*ignore, *_columns_of_training(trained.task.experiment))
        features = read_samples(samples, data.n_features, data.feature_names, known)
        with in_use(trained) as (log, stop):
            predictions = predict(trained.task, trained.bench, log, stop, features)
    names: list[str] = [data.class_names[number] for number in predictions.classes.tolist()]
    if as_json:
        click.echo(json.dumps(_as_json(predictions, names)))
    else:
        _write_table(sys.stdout, predictions, names)
        click.echo(
            f"{len(names)} samples, {1e3 * predictions.wall_s:.1f} ms each "
            f"({1e3 * predictions.hardware_s:.1f} ms of hardware time)",
            err=True,
        )


def _columns_of_training(experiment: Experiment) -> tuple[str, ...]:
    """Return the columns of the training table that were no features: its label and its group."""
    data = experiment.data
    if not isinstance(data, CsvData):
        return ()
    return (data.label,) if data.group is None else (data.label, data.group)


def _write_table(file: TextIO, predictions: Predictions, names: list[str]) -> None:
    table = csv.writer(file, lineterminator="\n")
    table.writerow(["sample", "class", "confidence"])
    rows = zip(names, predictions.confidence, strict=True)
    table.writerows([index, name, f"{sure:.4f}"] for index, (name, sure) in enumerate(rows))


def _as_json(predictions: Predictions, names: list[str]) -> dict[str, object]:
    return {
        "classes": names,
        "confidence": predictions.confidence.astype(np.float64).tolist(),
        "latency_s": {"wall": predictions.wall_s, "hardware": predictions.hardware_s},
    }
