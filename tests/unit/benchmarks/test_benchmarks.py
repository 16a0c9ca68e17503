"""The benchmarks measure what they say, at a tiny size, and write JSON of one form."""

import json
import subprocess
import sys
from argparse import Namespace
from dataclasses import replace

import numpy as np
import pytest

from benchmarks import bluesky_event, harness, overhead, quickstart, speed, torch_update
from benchmarks.harness import Row, Target, as_json, in_words, over_draws, over_repeats, table
from labctl.learning.phyll import Phyll

ROW = Row("part.figure_us", 2.0, 1.0, 3.0, 3, "us", {"rival_us": 5.0})


def run_result(accuracy, skip_only):
    return {"accuracy": accuracy, "interval": [0.9, 1.0], "baselines": {"linear": 0.95, "skip-only": skip_only}}


def test_json_has_the_form_that_all_benchmarks_share():
    result = json.loads(as_json("part", [ROW], quick=True))
    assert list(result) == ["benchmark", "commit", "quick", "rows"]
    assert result["benchmark"] == "part"
    assert result["quick"] is True
    assert result["rows"] == [
        {
            "id": "part.figure_us",
            "value": 2.0,
            "low": 1.0,
            "high": 3.0,
            "n": 3,
            "unit": "us",
            "baselines": {"rival_us": 5.0},
            "aim": None,
            "commits": [],
        }
    ]


def test_repeats_become_median_and_extremes():
    assert over_repeats("part.figure_us", [3.0, 1.0, 2.0], "us", {"rival_us": 5.0}) == ROW


def test_table_shows_every_row_and_baseline():
    lines = table([ROW]).splitlines()
    assert lines[1].split() == ["part.figure_us", "2", "1", "3", "3", "us"]
    assert lines[2].split() == ["rival_us", "5"]


def test_a_mean_over_draws_has_students_interval_and_a_single_draw_none():
    # Mean 2, s = 1, t(0.975, 2) = 4.3027, half width 4.3027/sqrt(3) = 2.4841.
    row = over_draws("part.share", [1.0, 2.0, 3.0], "share")
    assert (row.value, row.low, row.high) == pytest.approx((2.0, 2.0 - 2.4841, 2.0 + 2.4841), abs=1e-4)
    alone = over_draws("part.share", [0.5], "share")
    assert (alone.value, alone.low, alone.high, alone.n) == (0.5, None, None, 1)
    assert table([alone]).splitlines()[1].split() == ["part.share", "0.5", "1", "share"]


@pytest.mark.parametrize(
    ("relation", "value", "reached", "spread_reached"),
    [(">=", 2.0, True, False), (">=", 1.0, True, True), (">=", 2.5, False, False), (">", 2.0, False, False),
     (">", 1.0, True, False), ("<=", 2.0, True, False), ("<=", 3.0, True, True), ("<=", 1.5, False, False)],
)  # fmt: skip
def test_a_target_is_held_against_the_value_and_the_spread(relation, value, reached, spread_reached):
    aim = ROW.held_against(Target(relation, value))
    assert (aim.reached, aim.spread_reached) == (reached, spread_reached)
    assert in_words(aim) in table([replace(ROW, aim=aim)])


def test_rows_are_written_as_they_are_measured(tmp_path):
    file = tmp_path / "part.json"

    def measure(quick):
        yield ROW
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        harness.run("part", "", Namespace(quick=True, json=file), measure)
    assert [row["id"] for row in json.loads(file.read_text())["rows"]] == ["part.figure_us"]


def test_quick_is_the_default_and_full_its_opposite():
    parser = harness.parser("measures")
    assert parser.parse_args([]).quick
    assert parser.parse_args(["--quick"]).quick
    assert not parser.parse_args(["--full"]).quick
    with pytest.raises(SystemExit):
        parser.parse_args(["--quick", "--full"])


def test_run_prints_the_table_and_writes_the_file(tmp_path, capsys):
    file = tmp_path / "part.json"
    seen = []

    def measure(quick):
        seen.append(quick)
        return [ROW]

    harness.run("part", "low and high are the extremes", Namespace(quick=False, json=file), measure)
    assert seen == [False]
    assert json.loads(file.read_text()) == json.loads(as_json("part", [ROW], quick=False))
    printed = capsys.readouterr().out
    assert "low and high are the extremes" in printed
    assert table([ROW]) in printed


@pytest.mark.parametrize("rule", [overhead.Asking, Phyll])
def test_a_step_takes_time_apart_from_the_layers_own(rule):
    own_us, layer_us = overhead.step_us(rule, 20)
    assert own_us > 0
    assert layer_us > 0


def test_step_rows_name_what_they_are_compared_with():
    rows = overhead.step_rows(steps=5, repeats=2, bluesky=None)
    assert [row.id for row in rows] == [
        "overhead.step_us",
        "overhead.step_with_learning_us",
        "overhead.instant_layer_us",
    ]
    assert rows[0].baselines == {"bluesky_event_us_published": overhead.BLUESKY_EVENT_US}
    assert all(row.low <= row.value <= row.high and row.n == 2 for row in rows)


def test_recorded_rows_are_set_beside_plain_sqlite():
    row = overhead.record_row(rows=200, repeats=1)
    assert row.value > 0
    assert list(row.baselines) == ["sqlite3_commit_per_row_rows_per_s"]


def test_help_is_set_beside_python_alone():
    row = overhead.help_row(repeats=1)
    assert row.n == 1
    assert list(row.baselines) == ["python_pass_s", "python_argparse_s"]


def test_no_scratch_folder_is_left_behind():
    overhead.sqlite_rows_per_s(3)
    assert not list((harness.ROOT / "benchmarks").glob(".scratch-*"))


def test_a_failing_process_is_not_timed():
    with pytest.raises(subprocess.CalledProcessError):
        overhead.process_s(sys.executable, "-c", "raise SystemExit(1)")


def test_the_detector_for_bluesky_reads_what_it_describes():
    detector = bluesky_event.InstantDetector()
    (description,), (reading,) = detector.describe().values(), detector.read().values()
    assert description["shape"] == [len(reading["value"])]
    assert detector.trigger().done


def test_quickstart_accuracy_carries_the_runs_own_interval_and_baselines():
    accuracy = quickstart.accuracy_row(run_result(0.98, 0.96))
    assert (accuracy.value, accuracy.low, accuracy.high) == (0.98, 0.9, 1.0)
    assert accuracy.baselines == {"linear": 0.95, "skip-only": 0.96}


def test_gain_is_the_paired_difference_over_splits():
    # Differences of 1, 2 and 3 points: mean 2, s = 1, t(0.975, 2) = 4.3027, half width 4.3027/sqrt(3) = 2.4841.
    accuracy, gain = quickstart.split_rows([run_result(0.97, 0.96), run_result(0.98, 0.96), run_result(0.99, 0.96)])
    assert accuracy.value == pytest.approx(0.98)
    assert accuracy.baselines == pytest.approx({"linear": 0.95, "skip-only": 0.96})
    assert (gain.value, gain.low, gain.high) == pytest.approx((2.0, 2.0 - 2.4841, 2.0 + 2.4841), abs=1e-4)


SMALL = (8, 5, 4)


def test_both_arithmetics_of_labctl_compute_the_same_update():
    moved = []
    for arithmetic in ("numpy", "fused"):
        weights, features, reference = speed.drawn(SMALL)
        before, block = weights.copy(), speed.block_of(weights, reference)
        speed.updater(block, arithmetic).train(features, 0.0)
        moved.append(block.weights - before)
    assert np.abs(moved[0]).max() == pytest.approx(speed.LR, rel=1e-2)
    np.testing.assert_allclose(moved[0], moved[1], atol=0.01 * speed.LR)


@pytest.mark.skipif(not torch_update.INSTALLED, reason="PyTorch is installed beside labctl for the benchmark alone")
def test_pytorch_computes_the_update_it_is_timed_for():
    weights, features, reference = speed.drawn(SMALL)
    block = speed.block_of(weights.copy(), reference)
    speed.updater(block, "numpy").train(features, 0.0)
    for rival in torch_update.rivals(weights, features, reference, speed.THETA, speed.LR).values():
        rival.step()
        np.testing.assert_allclose(rival.weights(), block.weights, atol=0.01 * speed.LR)


def test_updates_are_timed_in_turns():
    calls = []
    times = speed.in_turns({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, repeats=3, block_s=0)
    assert {name: (len(each.wall), len(each.processor)) for name, each in times.items()} == {"a": (3, 3), "b": (3, 3)}
    assert "".join(calls[-6:]) == "ababab"


def test_a_second_thread_is_set_beside_one():
    row = speed.threads_row(SMALL, repeats=2, block_s=0.0)
    assert row.id == f"speed.threads.{'x'.join(map(str, SMALL))}"
    assert row.value > 0
    assert list(row.baselines) == ["one_us", "two_us"]


@pytest.mark.parametrize("name", ["microwave", "optics", "acoustic"])
def test_a_simulated_layer_is_timed_as_its_rig_describes_it(name):
    row = speed.sim_row(name, rows=3, repeats=2)
    assert row.id.startswith(f"speed.sim.{name}_")
    assert 0 < row.low <= row.value <= row.high
    assert row.baselines["per_processor_time"] > 0


@pytest.mark.skipif(sys.platform != "linux", reason="resident memory is read from /proc")
def test_memory_growth_is_that_between_epochs(monkeypatch):
    monkeypatch.setattr(speed, "COLD_EPOCHS", 1)
    monkeypatch.setattr(speed, "WARM_UP_EPOCHS", 2)
    monkeypatch.setattr(speed, "EPOCHS", 2)
    resident = iter([100.0, 130.0, 131.5])
    monkeypatch.setattr(speed, "resident_mb", lambda: next(resident))
    assert speed.memory_growth_mb("numpy") == (1.5, 30.0)
