"""`labctl evaluate`: a trained run's accuracy from fresh passes."""

import json
from pathlib import Path

import click

from labctl.cli import options
from labctl.cli.trained import find_trained, in_use
from labctl.orchestrator.inference import evaluate
from labctl.orchestrator.session import pinned_arithmetic


@click.command("evaluate")
@options.run_name
@options.swap_rig
@options.runs_root
@options.as_json
def command(run: str, rig: Path | None, root: Path, as_json: bool) -> None:
    """Measure the accuracy of RUN with fresh passes of its test samples, on its own rig or another."""
    with pinned_arithmetic():
        trained = find_trained(root, run, rig)
        with in_use(trained) as (log, stop):
            evaluation = evaluate(trained.task, trained.bench, log, stop)
    low, high = evaluation.interval
    if as_json:
        click.echo(json.dumps({"accuracy": evaluation.accuracy, "interval": [low, high], "right": evaluation.right}))
    else:
        click.echo(
            f"test accuracy {100 * evaluation.accuracy:.1f} %  "
            f"(95 % interval {100 * low:.1f} to {100 * high:.1f}; {evaluation.right} of {len(evaluation.labels)} right)"
        )
