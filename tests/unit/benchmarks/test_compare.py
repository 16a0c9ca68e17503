"""Comparing rules: rows and tables out of what `labctl compare --json` prints, and the command on tiny experiments."""

import json
import sys
from pathlib import Path

import pytest

from benchmarks import compare, harness
from benchmarks.compare import (
    SYSTEMS,
    TITLES,
    System,
    gap_to_backpropagation,
    of_mismatch,
    of_system,
)
from benchmarks.compare_tables import markdown

PAGE = harness.ROOT / "docs" / "explanation" / "rules-compared.md"
RESULTS = harness.ROOT / "benchmarks" / "results" / "compare.json"


def entry(rule, mean, passes, minus=None, disturbance=None):
    found = {"mean": mean, "low": mean - 0.01, "high": mean + 0.01}
    minus_first = None if minus is None else {"mean": minus, "low": minus - 0.005, "high": minus + 0.01}
    prices = {"training_passes": passes, "hardware_h": 1.0, "training_macs": 2e9, "macs": 3e9, "arithmetic_j": 0.01}
    runs = [
        {"seed": seed, "accuracy": mean + off, "baselines": {"linear": linear}}
        for seed, off, linear in ((1, 0.001, 0.9), (2, -0.001, 0.8))
    ]
    kind = {"rule": rule, "epochs": None, "disturbance": disturbance}
    return {**kind, "accuracy": found, "minus_first": minus_first, "runs": runs, **prices}


RESULT = {
    "against": "phyll",
    "seeds": [1, 2],
    "rules": [entry("phyll", 0.96, 4000), entry("backpropagation", 0.97, 2000, 0.01)],
}
BENDS = [f"{number}: bent (deformation 6) from row {row} on" for number, row in ((1, "4,400"), (2, "0"))]
LOSSES = {"phyll": (-0.002, -0.003), "in-silico": (-0.3, -0.02)}
"""By rule, against the fibre at rest: bent after the twins were fitted, and before."""
BENT = {
    "rules": [
        entry(rule, 0.96 + lost, 4000, disturbance=bend)
        for rule, losses in LOSSES.items()
        for bend, lost in ((None, 0.0), *zip(BENDS, losses, strict=True))
    ],
    "disturbed": [
        {
            "rule": rule,
            "disturbance": bend,
            "before": 0.96,
            "after_minus_before": {"mean": lost, "low": lost - 0.01, "high": lost + 0.01},
        }
        for rule, losses in LOSSES.items()
        for bend, lost in zip(BENDS, losses, strict=True)
    ],
}


def test_rows_of_a_system_and_the_gap_to_backpropagation():
    rows = {row.id: row for row in of_system(SYSTEMS[0], RESULT)}
    assert (rows["compare.optics.phyll"].value, rows["compare.optics.phyll"].n) == (0.96, 2)
    assert rows["compare.optics.phyll"].baselines["linear"] == pytest.approx(0.85)
    minus = rows["compare.optics.backpropagation.minus_phyll"]
    assert (minus.value, minus.low, minus.high) == pytest.approx((1.0, 0.5, 2.0))
    assert rows["compare.optics.phyll.training_passes"].value == 4000
    (gap,) = gap_to_backpropagation(RESULT)
    assert (gap.value, gap.low, gap.high) == pytest.approx((-1.0, -2.0, -0.5))
    assert gap.aim is not None
    assert (gap.aim.reached, gap.aim.spread_reached) == (gap.value >= -1, False)


def test_the_smallest_budget_that_reaches_the_accuracy_counts(monkeypatch, tmp_path):
    asked = []

    def compared(experiment, seeds, runs, *more):
        asked.append(more)
        reached = 0.951 if "--epochs" in more else 0.94
        return {"rules": [entry("phyll", reached, 1500), entry("spsa", 0.5, 900)][len(asked) == 3 :]}

    monkeypatch.setattr(compare, "compared", compared)
    monkeypatch.setattr(compare, "BUDGETS", {"digits": ("optics", [(100, None), (100, 2), (None, 2)])})
    phyll, spsa = compare.passes_to_reach("digits", [1, 2], tmp_path)
    assert asked == [
        ("--set", "data.train_samples=100"),
        ("--rules", "phyll,spsa", "--epochs", "2", "--set", "data.train_samples=100"),
        ("--rules", "spsa", "--epochs", "2"),
    ]
    assert (phyll.id, phyll.value) == ("compare.passes_to_95.digits.phyll", 1500)
    assert phyll.baselines["accuracy"] == 0.951
    assert (spsa.id, spsa.value, spsa.baselines) == ("compare.short_of_95.digits.spsa", 0.5, {"training passes": 900})


def test_local_rules_are_held_against_a_point_and_twins_are_not():
    rows = {row.id.removeprefix("compare.mismatch.bend6."): row for row in of_mismatch(BENT)}
    assert list(rows) == ["phyll", "phyll.stale", "in-silico", "in-silico.stale"]
    phyll, stale = rows["phyll"], rows["phyll.stale"]
    assert phyll.value == pytest.approx(-0.2)
    assert phyll.baselines == {"before": 0.96, "bent from the first row on": pytest.approx(0.957)}
    assert phyll.aim is not None
    assert (phyll.aim.reached, phyll.aim.spread_reached) == (True, False)
    assert (stale.value, stale.low, stale.n) == pytest.approx((0.1, 0.1, 2))
    assert stale.aim is not None
    assert rows["in-silico"].value == pytest.approx(-30)
    assert rows["in-silico.stale"].value == pytest.approx(-28)
    assert rows["in-silico"].aim is rows["in-silico.stale"].aim is None


def test_the_command_compares_and_keeps_rows_of_other_parts(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(compare, "SYSTEMS", (System("optics", "A fibre"), System("acoustic", "A box")))
    asked = []

    def compared(experiment, seeds, runs, *more):
        asked.append((experiment.stem, list(seeds)))
        return RESULT

    monkeypatch.setattr(compare, "compared", compared)
    file = tmp_path / "compare.json"
    for rows in (["compare.optics", "compare.acoustic"], ["compare.acoustic"]):
        monkeypatch.setattr(sys, "argv", ["compare", "--full", "--json", str(file), "--rows", *rows])
        compare.main()
    assert asked == [("rules_optics", [1, 2, 3]), ("rules_acoustic", [1, 2, 3]), ("rules_acoustic", [1, 2, 3])]
    rows = {row["id"]: row for row in json.loads(file.read_text())["rows"]}
    assert "compare.gap_to_bp" in rows
    assert len([name for name in rows if name.startswith("compare.optics.")]) == 2 * 6 + 1
    capsys.readouterr()
    monkeypatch.setattr(sys, "argv", ["compare", "--markdown", str(file)])
    compare.main()
    tables = capsys.readouterr().out
    assert "| `backpropagation` | 97.0 (96.0 to 98.0) | +1.0 (+0.5 to +2.0) | 2,000 | 1 | 2e+09 | 0.01 |" in tables
    assert "A linear model on the raw data: 85.0 %." in tables


@pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: system.name)
def test_every_system_has_an_experiment(system):
    assert system.experiment.is_file()


def test_the_tables_of_the_page_are_those_of_the_committed_results():
    rows = json.loads(RESULTS.read_text(encoding="utf-8"))["rows"]
    assert markdown(TITLES, {row["id"]: row for row in rows}) in PAGE.read_text(encoding="utf-8")


def test_comparing_is_what_a_user_types(tmp_path: Path, monkeypatch):
    text = (harness.ROOT / "configs" / "experiments" / "rules_acoustic.yaml").read_text(encoding="utf-8")
    text = text.replace("source: digits", "source: wine").replace("../rigs", str(harness.ROOT / "configs" / "rigs"))
    (tmp_path / "tiny.yaml").write_text(text, encoding="utf-8")
    result = compare.compared(tmp_path / "tiny.yaml", [4], tmp_path / "runs", "--rules", "readout,feedback-alignment")
    rows = {row.id: row for row in of_system(SYSTEMS[1], result)}
    assert rows["compare.acoustic.readout"].value > 0.8
    assert rows["compare.acoustic.readout"].low is None
