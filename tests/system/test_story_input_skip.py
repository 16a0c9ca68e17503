"""Three blocks, each of which is shown the sample again: she trains, breaks off, resumes, verifies and predicts."""

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

from labctl.record.passes import RecordedPasses
from labctl.record.reader import LogReader

if TYPE_CHECKING:
    from .conftest import Labctl

ENCODER = "encoder: {kind: fitted-range, mix: orthogonal}"
ONE = f"    - {{layer: cavity, {ENCODER}, skip: true, units: 30}}\n"
DENSE = f"    - {{layer: cavity, {ENCODER}, skip: input, units: 12}}\n"
PASSES = {"joint": 3 * 134 + 2 * 2 * 134, "cached": 3 * 134 + 3 * 134, "greedy": 3 * 134 + 3 * 134}
"""After which a run is broken off: statistics, and part of the training."""


@pytest.fixture
def deep(desk: Path) -> Path:
    text = (desk / "wine.yaml").read_text(encoding="utf-8")
    assert ONE in text
    text = text.replace(ONE, ONE + 2 * DENSE).replace("epochs: 10", "epochs: 3")
    (desk / "wine.yaml").write_text(text, encoding="utf-8")
    return desk


@pytest.mark.parametrize("schedule", PASSES)
def test_a_run_broken_off_ends_with_the_same_weights(labctl: "Labctl", deep: Path, schedule: str) -> None:
    """Whatever the schedule: the power fails, it goes on, and the record proves every weight."""
    how = ("--set", f"training.schedule={schedule}")
    whole = labctl("run", "wine.yaml", *how, "--json", "--runs", "whole").json
    labctl.quick("run", "wine.yaml", *how, "--pass-limit", str(PASSES[schedule]), code=5)
    resumed = labctl.quick("resume", "latest", "--json").json
    models = [(deep / each["run"] / "model" / "model.npz").read_bytes() for each in (whole, resumed)]
    assert models[0] == models[1]
    verified = labctl.quick("runs", "verify", resumed["run"], "--json").json
    assert verified["identical"]
    assert verified["test_identical"]
    assert resumed["accuracy"] > 0.7


def test_the_bundle_and_the_passes_give_the_predictions_without_labctl(labctl: "Labctl", deep: Path) -> None:
    """I hand the model to a colleague: bundle and responses are all there is to it."""
    baselines = {"skip-only", "linear-map", "shuffled"}
    result = labctl("run", "wine.yaml", "--json", "--set", f"report.baselines=[{', '.join(sorted(baselines))}]").json
    assert set(result["baselines"]) == baselines
    (run,) = labctl.runs()
    answer = labctl.quick("predict", run, "wine.csv", "--json").json
    described = json.loads((run / "model" / "model.json").read_text(encoding="utf-8"))["description"]
    assert [block["skip"] for block in described["network"]["blocks"]] == [True, "input", "input"]
    with np.load(run / "model" / "model.npz") as saved:
        model = {name: saved[name] for name in saved.files}
    with LogReader(run / "run.sqlite") as log:
        blocks = [log.rows(0, 10**9, block=block, purpose="predict", drives=False) for block in range(3)]
    x = (_table(deep / "wine.csv") - model["normalisation.offset"]) * model["normalisation.scale"]
    scores = np.array([[_score(model, blocks, x, sample, label) for label in range(3)] for sample in range(len(x))])
    classes = [described["class_names"][number] for number in scores.argmax(axis=1)]
    assert answer["classes"] == classes


def test_a_model_goes_on_only_with_the_skips_it_was_trained_with(labctl: "Labctl", deep: Path) -> None:
    """The shapes may well agree: then nothing but the setting tells what the weights were to see."""
    run = Path(labctl("run", "wine.yaml", "--json").json["run"])
    further = ("--set", f"training.init_from={run}/model", "--set", "training.epochs=1")
    other = labctl.quick("run", "wine.yaml", *further, "--set", "network.blocks.1.skip=true", code=2).err
    assert "block 2 was trained with `skip: input`, and here it has `skip: true`" in other
    assert labctl.quick("run", "wine.yaml", *further, "--json").json["accuracy"] > 0.7


def _table(path: Path) -> NDArray[np.float64]:
    _, *rows = csv.reader(path.read_text(encoding="utf-8").splitlines())
    return np.array([row[:-1] for row in rows], np.float64)


def _score(
    model: dict[str, NDArray[np.float64]],
    blocks: list[RecordedPasses],
    x: NDArray[np.float64],
    sample: int,
    label: int,
) -> float:
    """Return the goodness of a label, summed over the blocks, as docs/reference/model-bundle.md says."""
    entered = np.concatenate([np.eye(3)[label], x[sample]])
    score = 0.0
    for number, passes in enumerate(blocks):
        (row,) = np.flatnonzero((passes.samples == sample) & (passes.labels == label))
        standard = (passes.values[row] - model[f"block{number}.response_mean"]) * model[f"block{number}.response_gain"]
        y = model[f"block{number}.weights"] @ np.concatenate([standard, entered, [1.0]])
        score += np.abs(y) @ model[f"block{number}.reference"] / np.linalg.norm(y)
    return float(score)
