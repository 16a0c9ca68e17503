"""She compares learning rules on one bench, overnight, on a machine that is switched off in between."""

import json
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from .conftest import passes_of

if TYPE_CHECKING:
    from .conftest import Labctl

RULES = ("phyll", "phyll-reference", "readout", "phyll-spsa")
COMPARE = ("compare", "wine.yaml", "--rules", ",".join(RULES), "--seeds", "0..1", "--set", "training.epochs=3")
FOLDER = "runs/compare-wine"
TRAINING, TEST = 134, 44


def test_a_night_that_is_broken_off_and_gone_on_with(labctl: "Labctl", desk: Path) -> None:
    """What will it cost? Then begin; the power fails; the same command goes on, at last nothing is left."""
    planned = labctl("compare", *COMPARE[1:], "--dry-run", "--json").json
    assert [(each["rule"], each["training_passes"]) for each in planned["rules"]] == [
        ("phyll", 3 * TRAINING),
        ("phyll-reference", TRAINING),
        ("readout", TRAINING),
    ]
    assert planned["total"]["passes_left"] == 2 * (3 + 1 + 1) * (TRAINING + TEST)
    assert "no layer here has any that can be set" in planned["refused"]["phyll-spsa"]
    assert not (desk / "runs").exists()

    going = labctl.start(*COMPARE)
    going.until(lambda: len(runs(desk)) == 2 and passes_of(runs(desk)[1]) > 0)
    going.send(signal.SIGKILL)
    going.process.communicate()
    (first, recorded), broken_off = (runs(desk)[0], passes_of(runs(desk)[0])), runs(desk)[1]
    assert recorded == 3 * (TRAINING + TEST)

    stopped = labctl(*COMPARE, "--pass-limit", "300", code=5)
    assert "Go on with: the same command" in stopped.err
    measured = sum(passes_of(run) for run in runs(desk)) - recorded
    assert 300 <= measured < 900, "of all runs together, though a layer may end its chunk"
    result = labctl(*COMPARE, "--json").json
    assert [run.name for run in runs(desk)[:2]] == [first.name, broken_off.name]
    assert len(runs(desk)) == 2 * 3
    assert sum(passes_of(run) for run in runs(desk)) == planned["total"]["passes_left"]
    holds_together(result)

    before = {run: (run / "run.sqlite").read_bytes() for run in runs(desk)}
    again = labctl(*COMPARE, "--json").json
    assert again == result
    assert {run: (run / "run.sqlite").read_bytes() for run in runs(desk)} == before
    page = (desk / result["report"]).read_text(encoding="utf-8")
    assert "What this cannot conclude" in page
    assert page.count('href="2') == len(before)
    assert "/report.html" not in page, "runs without a page are linked by their folders"
    assert "http" not in page.replace("http://www.w3.org", "")
    assert json.loads((desk / FOLDER / "compare.json").read_text(encoding="utf-8"))["rules"] == result["rules"]


def holds_together(result: dict[str, Any]) -> None:
    """Check a comparison against the runs it is of."""
    assert result["against"] == "phyll"
    assert list(result["refused"]) == ["phyll-spsa"]
    by_rule = {each["rule"]: each for each in result["rules"]}
    assert list(by_rule) == ["phyll", "phyll-reference", "readout"]
    for each in by_rule.values():
        accuracies = [run["accuracy"] for run in each["runs"]]
        assert each["accuracy"]["mean"] == pytest.approx(sum(accuracies) / 2)
        assert each["accuracy"]["mean"] > 0.8
    own, first = by_rule["readout"]["runs"], by_rule["phyll"]["runs"]
    differences = [mine["accuracy"] - theirs["accuracy"] for mine, theirs in zip(own, first, strict=True)]
    assert by_rule["readout"]["minus_first"]["mean"] == pytest.approx(sum(differences) / 2)
    assert by_rule["phyll"]["minus_first"] is None
    said = " ".join(result["cannot_conclude"])
    for limit in ("2 seeds give intervals", "All hardware was simulated", "phyll-reference, readout", "phyll-spsa"):
        assert limit in said


def test_settings_of_each_rule_stand_in_the_file(labctl: "Labctl", desk: Path) -> None:
    """Each rule has settings of its own; a slip in them is found where it stands, before anything is measured."""
    text = (desk / "wine.yaml").read_text(encoding="utf-8")
    own = "compare:\n  readout: {ridge: 0.1}\n  phyll-reference: {epochs: 2, theta: 20}\n"
    (desk / "wine.yaml").write_text(text + own, encoding="utf-8")
    planned = labctl.quick("compare", "wine.yaml", "--seeds", "4", "--epochs", "1,5", "--dry-run", "--json").json
    assert [(each["rule"], each["epochs"]) for each in planned["rules"]] == [
        ("phyll", 1),
        ("phyll", 5),
        ("readout", None),
        ("phyll-reference", 1),
        ("phyll-reference", 5),
    ]
    (desk / "wine.yaml").write_text(text + own.replace("theta", "tetha"), encoding="utf-8")
    refused = labctl.quick("compare", "wine.yaml", "--dry-run", code=2).err
    assert refused.startswith('wine.yaml:15:39: unknown key "tetha"; did you mean "theta"?')
    (desk / "wine.yaml").write_text(text, encoding="utf-8")
    for rules, said in (
        ("phyl", 'unknown rule "phyl"; did you mean "phyll"?'),
        ("phyll-spsa", "no rule can take part"),
    ):
        assert said in labctl.quick("compare", "wine.yaml", "--rules", rules, code=2).err


def test_before_and_after_each_disturbance(labctl: "Labctl", desk: Path) -> None:
    """Which rule suffers less when a microphone goes astray while it trains?"""
    plan = "disturbances=[{kind: offset, at: 60, spread: 0.01}, {kind: gain, at: after training, spread: 0.5}]"
    asked = ("--rules", "phyll-reference,readout", "--seeds", "3", "--set", "training.epochs=2", "--set", plan)
    result = labctl("compare", "wine.yaml", *asked, "--json").json
    assert len(result["rules"]) == 2 * 3
    assert [(each["rule"], each["disturbance"][:9]) for each in result["disturbed"]] == [
        (rule, which) for rule in ("phyll-reference", "readout") for which in ("1: offset", "2: gain (")
    ]
    runs_of = {(each["rule"], each["disturbance"]): each for each in result["rules"]}
    for each in result["disturbed"]:
        after = runs_of[each["rule"], each["disturbance"]]["accuracy"]["mean"]
        assert each["after_minus_before"]["mean"] == pytest.approx(after - each["before"])
    assert "Before and after each disturbance" in (desk / result["report"]).read_text(encoding="utf-8")


def test_zeros_take_the_place_of_a_label_that_nothing_mixes(labctl: "Labctl", desk: Path) -> None:
    """My 21 inputs carry three labels, five zeros and thirteen features, one each; every rule gets a whole vector."""
    text = (desk / "wine.yaml").read_text(encoding="utf-8").replace("amplitude: 1.0", "pad: 5")
    (desk / "wine.yaml").write_text(text.replace(", mix: orthogonal", ""), encoding="utf-8")
    rules = "phyll-reference,phyll-contrastive,feedback-alignment,spsa"
    result = labctl(
        "compare", "wine.yaml", "--rules", rules, "--seeds", "1", "--set", "training.epochs=1", "--json"
    ).json
    assert [each["rule"] for each in result["rules"]] == rules.split(",")
    assert not result["refused"]


def runs(desk: Path) -> list[Path]:
    """Return the runs of the comparison, oldest first."""
    return sorted((desk / FOLDER).glob("[0-9]*/"))
