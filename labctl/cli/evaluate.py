"""`labctl evaluate`: a trained run's accuracy from fresh passes."""

import json
from pathlib import Path

import click

from labctl.cli import options
from labctl.cli.trained import open_trained
from labctl.orchestrator.inference import evaluate


@click.command("evaluate")
@options.run_name
@options.swap_rig
@options.runs_root
@options.as_json
def command(run: str, rig: Path | None, root: Path, as_json: bool) -> None:
    """Measure the accuracy of RUN with fresh passes of its test samples, on its own rig or another."""
    with open_trained(root, run, rig) as trained:
        evaluation = evaluate(trained.task, trained.bench, trained.log, trained.stop)
    low, high = evaluation.interval
    if as_json:
        click.echo(json.dumps({"accuracy": evaluation.accuracy, "interval": [low, high], "right": evaluation.right}))
    else:
        click.echo(
            f"test accuracy {100 * evaluation.accuracy:.1f} %  "
            f"(95 % interval {100 * low:.1f} to {100 * high:.1f}; {evaluation.right} of {len(evaluation.labels)} right)"
        )
