"""The benchmark of blocks that measure at once, at a tiny size."""

import sys

import pytest

from benchmarks import pipelined
from benchmarks.harness import Target


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals need Linux or macOS")
def test_steps_per_hour_are_compared_with_joint_and_with_what_can_be():
    row = pipelined.speedup_row(repeats=1, samples=20)
    assert (row.id, row.n, row.unit) == ("pipelined.speedup", 1, "x")
    joint, many, most = row.baselines.values()
    assert row.value == pytest.approx(many / joint)
    assert most == 3 * 9 / (9 + 2)
    assert row.aim == row.held_against(Target(">=", 2.5))


def test_accuracies_are_paired(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pipelined, "DIGITS", pipelined.DIGITS.replace("source: digits", "source: wine"))
    row = pipelined.accuracy_row(seeds=[0, 1], epochs=1)
    assert (row.id, row.n, row.unit) == ("pipelined.accuracy_difference.digits", 2, "points")
    assert row.value == pytest.approx(row.baselines["pipelined"] - row.baselines["joint"])
