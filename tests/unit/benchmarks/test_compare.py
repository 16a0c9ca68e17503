"""Comparing rules: rows and tables out of what `labctl compare --json` prints, and the command on tiny experiments."""

import json
import sys
from pathlib import Path

import pytest

from benchmarks import compare, harness
from benchmarks.compare import (
    SYSTEMS,
    System,
    gap_to_backpropagation,
    markdown,
    of_mismatch,
    of_system,
    passes_to_reach,
)

PAGE = harness.ROOT / "docs" / "explanation" / "rules-compared.md"
RESULTS = harness.ROOT / "benchmarks" / "results" / "compare.json"


def entry(rule, mean, passes, minus=None, epochs=None):
    found = {"mean": mean, "low": mean - 0.01, "high": mean + 0.01}
    minus_first = None if minus is None else {"mean": minus, "low": minus - 0.005, "high": minus + 0.01}
    prices = {"training_passes": passes, "hardware_h": 1.0, "training_macs": 2e9, "macs": 3e9, "arithmetic_j": 0.01}
    runs = [{"baselines": {"linear": 0.9}}, {"baselines": {"linear": 0.8}}]
    return {"rule": rule, "epochs": epochs, "accuracy": found, "minus_first": minus_first, "runs": runs, **prices}


RESULT = {
    "against": "phyll",
    "seeds": [1, 2],
    "rules": [entry("phyll", 0.96, 4000), entry("backpropagation", 0.97, 2000, 0.01)],
    "disturbed": [
        {
            "rule": rule,
            "disturbance": "1: bent (deformation 6) from row 4,400 on",
            "before": 0.96,
            "after_minus_before": {"mean": lost, "low": lost - 0.01, "high": lost + 0.01},
        }
        for rule, lost in (("phyll", -0.002), ("in-silico", -0.3))
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


def test_the_cheapest_budget_that_reaches_the_accuracy_counts():
    budgets = {"rules": [entry("phyll", 0.94, 1000, epochs=1), entry("phyll", 0.951, 1500, epochs=2),
                         entry("spsa", 0.5, 100, epochs=2)]}  # fmt: skip
    (row,) = passes_to_reach("digits", [{"rules": [entry("phyll", 0.96, 4000), entry("spsa", 0.6, 9000)]}, budgets])
    assert (row.id, row.value) == ("compare.passes_to_95.digits.phyll", 1500)
    assert row.baselines["accuracy"] == 0.951


def test_local_rules_are_held_against_a_point_and_twins_are_not():
    phyll, in_silico = of_mismatch(RESULT)
    assert (phyll.id, in_silico.id) == ("compare.mismatch.bend6.phyll", "compare.mismatch.bend6.in-silico")
    assert phyll.value == pytest.approx(-0.2)
    assert phyll.aim is not None
    assert (phyll.aim.reached, phyll.aim.spread_reached) == (True, False)
    assert in_silico.value == pytest.approx(-30)
    assert in_silico.aim is None


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
    assert markdown({row["id"]: row for row in rows}) in PAGE.read_text(encoding="utf-8")


def test_comparing_is_what_a_user_types(tmp_path: Path, monkeypatch):
    text = (harness.ROOT / "configs" / "experiments" / "rules_acoustic.yaml").read_text(encoding="utf-8")
    text = text.replace("source: digits", "source: wine").replace("../rigs", str(harness.ROOT / "configs" / "rigs"))
    (tmp_path / "tiny.yaml").write_text(text, encoding="utf-8")
    result = compare.compared(tmp_path / "tiny.yaml", [4], tmp_path / "runs", "--rules", "readout,feedback-alignment")
    rows = {row.id: row for row in of_system(SYSTEMS[1], result)}
    assert rows["compare.acoustic.readout"].value > 0.8
    assert rows["compare.acoustic.readout"].low is None
