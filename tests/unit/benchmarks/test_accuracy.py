"""Accuracy over draws: the real command on a tiny experiment, pairing, targets, results kept, the README's tables."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import accuracy, harness
from benchmarks.accuracy import CASES, Case, Kept, case_rows, markdown, measure, untrained
from benchmarks.harness import Target
from labctl.config.loading import load_experiment

README = harness.ROOT / "README.md"
RESULTS = harness.ROOT / "benchmarks" / "results" / "accuracy.json"

RIG = """\
schema: labctl/rig/1
name: tiny
time_scale: instant
instruments:
  interface:
    driver: audio.simulated
    samplerate: 4 kHz
    speakers: {north: {max_level: -12 dBFS}, east: {max_level: -12 dBFS}}
    microphones: [mic-a, mic-b]
    box: {length: 1.2 m, width: 0.9 m, height: 0.7 m, absorption: 0.5, temperature: 20 °C}
    seed: 1
layers:
  cavity:
    kind: acoustic
    interface: interface
    tones: [200 Hz, 300 Hz, 400 Hz, 500 Hz, 600 Hz, 700 Hz, 800 Hz, 900 Hz]
    settle: 50 ms
    window: 50 ms
    gap: 50 ms
"""

EXPERIMENT = """\
schema: labctl/experiment/1
name: tiny
rig: rig.yaml
seed: 3
data: {source: wine, test_fraction: 0.25}
network:
  label: {kind: one-hot}
  blocks:
    - {layer: cavity, encoder: fitted-range, skip: true, units: 20}
training: {rule: phyll, epochs: 3, batch: 20, inner_steps: 1}
report: {baselines: [linear, skip-only]}
"""


def result(own, linear, skip_only, untrained=0.5):
    baselines = {"linear": linear, "skip-only": skip_only, "untrained": untrained}
    return {
        "accuracy": own,
        "baselines": baselines,
        "training_passes": 3600,
        "passes": 4000,
        "hardware_s": 1800.0,
        "commit": "abc",
    }


CASE = Case("part", "a part", Path("part.yaml"), ("seed",), range(3), "seeds", {"accuracy": Target(">=", 0.97)})
RESULTS_OF_CASE = [result(0.97, 0.96, 0.95), result(0.98, 0.95, 0.96), result(0.99, 0.97, 0.97)]


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    (tmp_path / "rig.yaml").write_text(RIG, encoding="utf-8")
    (tmp_path / "tiny.yaml").write_text(EXPERIMENT, encoding="utf-8")
    return tmp_path / "tiny.yaml"


def test_the_command_measures_each_run_once_and_prints_tables(experiment, tmp_path, monkeypatch, capsys):
    varied = ("data.split_seed", "rig.instruments.interface.seed")
    case = Case(
        "tiny", "wine", experiment, varied, range(4, 9), "splits", {"minus_linear": Target(">=", -90)}, quick=True
    )
    monkeypatch.setattr(accuracy, "CASES", (case, replace(case, id="tiny.gain", figure="minus_linear")))
    file = tmp_path / "accuracy.json"
    monkeypatch.setattr(sys, "argv", ["accuracy", "--json", str(file), "--keep", str(tmp_path / "kept"), "--jobs", "2"])
    accuracy.main()
    rows = {row["id"]: row for row in json.loads(file.read_text())["rows"]}
    figures = ["minus_linear", "minus_skip_only", "training_passes", "hardware_hours"]
    assert list(rows) == ["tiny", *(f"tiny.{figure}" for figure in figures), "tiny.gain"]
    assert 0.4 < rows["tiny"]["value"] <= 1
    assert list(rows["tiny"]["baselines"]) == ["linear", "skip-only", "untrained"]
    assert rows["tiny"]["baselines"]["untrained"] > 0.6
    assert rows["tiny.training_passes"]["value"] == 3 * 134
    assert rows["tiny.hardware_hours"]["value"] == pytest.approx(3 * 178 * 0.15 / 3600)
    gain = 100 * (rows["tiny"]["value"] - rows["tiny"]["baselines"]["linear"])
    assert rows["tiny.gain"]["value"] == rows["tiny.minus_linear"]["value"] == pytest.approx(gain)
    assert rows["tiny.gain"]["aim"]["reached"]

    kept = [json.loads(line) for line in (tmp_path / "kept" / "runs.jsonl").read_text().splitlines()]
    draw = ["data.split_seed=4", "rig.instruments.interface.seed=4"]
    assert sorted(line["overrides"] for line in kept) == sorted([draw, [*untrained(experiment), *draw]])
    monkeypatch.setattr(accuracy, "run_experiment", None)
    accuracy.main()
    assert "to reach: >= -90, reached" in capsys.readouterr().out

    monkeypatch.setattr(sys, "argv", ["accuracy", "--markdown", str(file)])
    accuracy.main()
    assert f"| wine | 1 splits | {100 * rows['tiny']['value']:.1f} |" in capsys.readouterr().out


def test_a_changed_file_is_another_run(experiment, monkeypatch, tmp_path):
    made = []

    def run(experiment, overrides):
        made.append(list(overrides))
        return {"accuracy": len(made), "seconds": 0.0}

    monkeypatch.setattr(accuracy, "_run", run)
    first = Kept(tmp_path / "kept")
    assert first.result(experiment, ["seed=1"])["accuracy"] == first.result(experiment, ["seed=1"])["accuracy"] == 1
    assert first.result(experiment, ["seed=2"])["accuracy"] == 2
    again = Kept(tmp_path / "kept")
    assert again.result(experiment, ["seed=2"])["accuracy"] == 2
    (tmp_path / "rig.yaml").write_text(RIG.replace("seed: 1", "seed: 2"), encoding="utf-8")
    assert again.result(experiment, ["seed=2"])["accuracy"] == 3
    assert made == [["seed=1"], ["seed=2"], ["seed=2"]]


def test_a_linear_model_is_fitted_once_where_the_draws_leave_the_data_alone(experiment, monkeypatch, tmp_path):
    made = []

    def run(experiment, overrides):
        made.append([key for key in overrides if key.startswith("report")])
        return {**result(0.9, 0.8, 0.8), "seconds": 0.0}

    monkeypatch.setattr(accuracy, "_run", run)
    kept = Kept(tmp_path / "kept")
    case = Case("tiny", "wine", experiment, ("seed",), range(3), "seeds", every=("skip-only",))
    assert next(measure([case], kept, 1, quick=False)).n == 3
    first, later = "untrained, skip-only, linear-map, linear-map-modulus, shuffled", "skip-only"
    asked = [report for report in made if report != ["report.baselines=[]"]]
    assert asked == [[f"report.baselines=[{names}]"] for names in (first, later, later)]
    lines = [json.loads(line) for line in (tmp_path / "kept" / "runs.jsonl").read_text().splitlines()]
    (accuracy_alone,) = [line["result"]["accuracy"] for line in lines if line["key"].startswith("linear ")]
    assert 0.9 < accuracy_alone <= 1
    assert Kept(tmp_path / "kept").linear(experiment) == accuracy_alone


def test_rows_not_asked_for_stay_in_the_file(monkeypatch, tmp_path):
    monkeypatch.setattr(accuracy, "untrained", lambda _: ["untrained"])
    monkeypatch.setattr(Kept, "linear", lambda self, experiment: 0.8)
    accuracies = {"part": 0.9, "other": 0.7}
    monkeypatch.setattr(Kept, "result", lambda self, experiment, _: result(accuracies[experiment.stem], 0.6, 0.6))
    other = replace(CASE, id="other", experiment=Path("other.yaml"))
    monkeypatch.setattr(accuracy, "CASES", (CASE, other))
    file = tmp_path / "accuracy.json"
    for rows in ([], ["--rows", "other"]):
        monkeypatch.setattr(sys, "argv", ["accuracy", "--full", "--json", str(file), *rows])
        accuracy.main()
        accuracies = {"part": 0.1, "other": 0.99}
    found = accuracy.rows_of(file)
    assert (found["part"].value, found["other"].value) == pytest.approx((0.9, 0.99))
    assert found["part"].aim == harness.Aim(">=", 0.97, reached=False, spread_reached=False)
    assert len(found) == 10


def test_zeros_take_the_place_of_a_label_that_nothing_mixes(experiment):
    assert "network.label={kind: none, pad: 3}" in untrained(experiment)
    text = EXPERIMENT.replace("encoder: fitted-range", "encoder: {kind: fitted-range, mix: orthogonal}")
    experiment.write_text(text, encoding="utf-8")
    assert "network.label={kind: none, pad: 0}" in untrained(experiment)


def test_a_rule_with_a_readout_keeps_it_before_weights_as_drawn(experiment):
    training = "{rule: phyll-contrastive, epochs: 2}"
    text = "\n".join(
        f"training: {training}" if line.startswith("training:") else line for line in EXPERIMENT.splitlines()
    )
    experiment.write_text(text.replace("kind: one-hot", "kind: none"), encoding="utf-8")
    assert untrained(experiment) == ["training.epochs=0", "report.baselines=[]"]


def test_differences_are_paired_draw_by_draw():
    # Above linear by 1, 3 and 2 points: mean 2, s = 1, half width 4.3027/sqrt(3) = 2.4841; above skip only by 2 each.
    rows = {row.id: row for row in case_rows(CASE, RESULTS_OF_CASE)}
    linear, skip_only = rows["part.minus_linear"], rows["part.minus_skip_only"]
    assert (linear.value, linear.low, linear.high) == pytest.approx((2.0, -0.4841, 4.4841), abs=1e-4)
    assert (skip_only.value, skip_only.low, skip_only.high) == pytest.approx((2.0, 2.0, 2.0))
    assert rows["part"].baselines == pytest.approx({"linear": 0.96, "skip-only": 0.96, "untrained": 0.5})
    assert rows["part.hardware_hours"].value == 0.5
    assert rows["part"].commits == ("abc",)


def test_the_mean_may_reach_a_target_that_its_interval_does_not():
    row = case_rows(CASE, RESULTS_OF_CASE)[0]
    assert row.aim is not None
    assert (row.aim.reached, row.aim.spread_reached) == (True, False)


def test_rows_come_case_by_case(monkeypatch, tmp_path):
    monkeypatch.setattr(accuracy, "untrained", lambda _: ["untrained"])
    monkeypatch.setattr(Kept, "linear", lambda self, experiment: 0.8)
    monkeypatch.setattr(Kept, "result", lambda self, experiment, overrides: result(0.9, 0.8, 0.8))
    rows = measure([CASE, replace(CASE, id="other")], Kept(tmp_path), 1, quick=False)
    assert next(rows).n == 3
    assert [row.id.partition(".")[0] for row in rows] == ["part"] * 4 + ["other"] * 5


def test_cases_have_distinct_ids_and_targets_for_figures_there_are():
    assert len({case.id for case in CASES}) == len(CASES)
    for case in CASES:
        figures = {row.id for row in case_rows(case, RESULTS_OF_CASE)}
        assert {case.row_id(figure) for figure in case.targets} <= figures


def test_a_baseline_of_the_first_draw_alone_is_shown_but_not_paired():
    first, second = result(0.9, 0.8, 0.7), result(0.8, 0.8, 0.7)
    del second["baselines"]["skip-only"]
    rows = {row.id: row for row in case_rows(CASE, [first, second])}
    assert rows["part"].baselines["skip-only"] == 0.7
    assert "part.minus_linear" in rows
    assert "part.minus_skip_only" not in rows


@pytest.mark.parametrize("case", [case for case in CASES if case.experiment.exists()], ids=lambda case: case.id)
def test_every_draw_sets_a_seed_that_the_files_have(case, monkeypatch):
    monkeypatch.setenv("LABCTL_DATA", "data")
    loaded = load_experiment(case.experiment, case.draw(3))
    assert all(seed == 3 for seed in seeds_of(loaded, case.varied))
    assert all(isinstance(seed, int) for seed in seeds_of(load_experiment(case.experiment), case.varied))


def seeds_of(loaded, keys):
    """Return the values at the dotted `keys`, with defaults of the experiment; a rig must say it itself."""
    resolved = loaded.experiment.model_dump(mode="json", by_alias=True)
    for key in keys:
        value = {**resolved, "rig": loaded.rigs["main"].document.data}
        for part in key.split("."):
            value = value[part]
        yield value


def test_the_tables_of_the_readme_are_those_of_the_committed_results():
    readme = README.read_text(encoding="utf-8")
    if not RESULTS.exists():
        assert "above skip only, points" not in readme, "a table without the file it comes from"
        return
    rows = json.loads(RESULTS.read_text(encoding="utf-8"))["rows"]
    assert markdown({row["id"]: row for row in rows}) in readme
