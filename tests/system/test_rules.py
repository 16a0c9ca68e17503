"""Learning rules as an operator meets them: refused where they cannot be used, priced, and verified from the record."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Labctl

LIGHT = """\
schema: labctl/rig/1
name: light
time_scale: instant
power_w: 40
layers:
  cavity:
    kind: simulated-optics
    modulator: {modulation: {kind: amplitude}, levels: 256}
    medium: {kind: gaussian, inputs: 16, outputs: 16, seed: 1}
    camera: {bits: 8, exposure: 0.125, noise: 0.01, max_saturated: 0.5}
    pass: 60 ms
    seed: 1
"""
BLOCK = "{layer: cavity, encoder: {kind: fitted-range, mix: orthogonal}, skip: true, units: 30}"


def experiment(desk: Path, training: str, *, blocks: int = 2, label: str = "none", rig: str = "desk.yaml") -> None:
    """Let wine.yaml learn by `training`."""
    (desk / "light.yaml").write_text(LIGHT, encoding="utf-8")
    text = f"""\
schema: labctl/experiment/1
name: wine
rig: {rig}
seed: 7
data: {{source: csv, path: wine.csv, label: cultivar, test_fraction: 0.25}}
network: {{label: {{kind: {label}}}, blocks: [{", ".join([BLOCK] * blocks)}]}}
training: {training}
report: {{baselines: [skip-only, linear-map]}}
"""
    (desk / "wine.yaml").write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("training", "label", "said"),
    [
        (
            "{rule: physics-aware, epochs: 2}",
            "none",
            "wine.yaml:7:18: rule physics-aware needs a twin of block 2; write `twin: {passes: 2000}` below it to fit "
            "one, for 2,000 passes, 0.11 h of hardware time",
        ),
        (
            "{rule: in-silico, epochs: 2}",
            "none",
            "wine.yaml:7:18: rule in-silico needs a twin of blocks 1 and 2; write `twin: {passes: 2000}` below it to "
            "fit them, for 4,000 passes, 0.22 h of hardware time",
        ),
        (
            "{rule: backpropagation, epochs: 2}",
            "none",
            "wine.yaml:7:18: rule backpropagation needs the derivative of block 2, but layer 'cavity' does not know "
            "its own, as hardware never does; expected a simulated layer that does, or the rule physics-aware, which "
            "fits a twin",
        ),
        (
            "{rule: phyll-spsa, epochs: 2}",
            "one-hot",
            "wine.yaml:7:18: rule phyll-spsa trains parameters of the hardware's own, but no layer here has any that "
            "can be set",
        ),
        (
            "{rule: forward-forward, epochs: 2}",
            "none",
            'wine.yaml:6:25: label kind is "none", but rule forward-forward tells positive from negative passes by '
            "their label; expected one-hot or field",
        ),
        (
            "{rule: spsa, epochs: 2}",
            "one-hot",
            'wine.yaml:6:25: label kind is "one-hot", but rule spsa predicts the label, so no pass may contain it; '
            "expected none",
        ),
        (
            "{rule: spsa, epochs: 2, schedule: greedy}",
            "none",
            'wine.yaml:7:45: schedule is "greedy"; expected one of: joint, cached',
        ),
        (
            "{rule: feedback-alignment, epochs: 2, augmnt: sin}",
            "none",
            'wine.yaml:7:49: unknown key "augmnt"; did you mean "augment"?',
        ),
        (
            "{rule: phyll-contrastive, epochs: 2, view_mask: 0}",
            "none",
            "wine.yaml:7:59: view_mask is 0 and view_shift is 0, so that both views are the same; expected one of them "
            "above 0",
        ),
        (
            "{rule: phyll-contrastive, epochs: 2, view_shift: 1}",
            "none",
            "these samples are no images of rows and columns",
        ),
    ],
)
def test_a_rule_that_cannot_be_used_is_refused_with_the_reason(
    labctl: "Labctl", desk: Path, training: str, label: str, said: str
) -> None:
    experiment(desk, training, label=label)
    refused = labctl.quick("validate", "wine.yaml", code=2)
    assert said in refused.err


def test_steps_in_an_encoder_stop_the_way_back(labctl: "Labctl", desk: Path) -> None:
    experiment(desk, "{rule: physics-aware, epochs: 2, twin: {passes: 100}}")
    text = (desk / "wine.yaml").read_text(encoding="utf-8").replace("kind: fitted-range", "kind: quantile")
    (desk / "wine.yaml").write_text(text, encoding="utf-8")
    refused = labctl.quick("validate", "wine.yaml", code=2)
    assert "sends the error back through the encoder of block 2, which has no derivative" in refused.err


def test_class_wise_references_on_the_cavity_learn_and_cost_what_a_hand_counts(labctl: "Labctl", desk: Path) -> None:
    experiment(desk, "{rule: phyll-reference, epochs: 20, inner_steps: 5, optimizer: {lr: 5e-3}}", blocks=1)
    planned = labctl("run", "wine.yaml", "--dry-run", "--json").json["schedules"]
    done = labctl("run", "wine.yaml", "--json").json
    n_train, n_test = planned["cached"]["training_passes"], planned["cached"]["test_passes"]
    assert n_train + n_test == 178 == done["passes"]
    assert planned["joint"]["training_passes"] == n_train + 20 * n_train
    assert done["accuracy"] > 0.85
    weights, references, mixing = 30 * (21 + 13 + 1), 3 * 30, 21 * 13
    assert done["macs"] == {
        "forward": 0,
        "update": 20 * 5 * 2 * n_train * (weights + references),
        "twin": 0,
        "scoring": n_test * (weights + references),
        "encoding": 178 * mixing,
    }
    assert done["arithmetic_j"] == pytest.approx(4.6e-12 * sum(done["macs"].values()))
    assert labctl("runs", "verify", done["run"], "--json").json["identical"]


@pytest.mark.parametrize(
    ("training", "purposes"),
    [
        ("{rule: backpropagation, epochs: 20, optimizer: {lr: 5e-3}}", {"statistics", "train", "test"}),
        (
            "{rule: in-silico, epochs: 20, optimizer: {lr: 5e-3}, twin: {passes: 300, hidden: 32, epochs: 60}}",
            {"statistics", "twin", "test"},
        ),
    ],
)
def test_rules_that_differentiate_run_and_verify_on_simulated_light(
    labctl: "Labctl", desk: Path, training: str, purposes: set[str]
) -> None:
    experiment(desk, training, rig="light.yaml")
    done = labctl("run", "wine.yaml", "--json").json
    assert done["accuracy"] > 0.7
    assert set(done["baselines"]) == {"skip-only", "linear-map"}
    assert set(labctl("runs", "show", done["run"], "--json").json["passes"]) == purposes
    assert labctl("runs", "verify", done["run"], "--json").json["identical"]
    page = (desk / done["report"]).read_text(encoding="utf-8")
    assert "multiply-accumulates" in page
    assert "at 40 W" in page


def test_weights_as_drawn_stand_beside_weights_learnt_without_labels(labctl: "Labctl", desk: Path) -> None:
    experiment(desk, "{rule: phyll-contrastive, epochs: 10, optimizer: {lr: 5e-3}}", blocks=1, rig="light.yaml")
    without_noise = "--set", "rig.layers.cavity.camera.noise=0"
    asked = "report.baselines=[untrained]"
    learnt = labctl("run", "wine.yaml", *without_noise, "--set", asked, "--json").json
    drawn = labctl("run", "wine.yaml", *without_noise, "--set", "training.epochs=0", "--json").json
    assert learnt["baselines"]["untrained"] == drawn["accuracy"] > 0.6
    assert drawn["passes"] == 178
    assert drawn["macs"]["update"] < learnt["macs"]["update"]
    assert labctl("runs", "verify", drawn["run"], "--json").json["identical"]
    of_two = labctl("run", "wine.yaml", "--set", f"network.blocks=[{BLOCK}, {BLOCK}]", "--set", asked, "--json").json
    assert not of_two["baselines"]
