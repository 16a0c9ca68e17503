"""The benchmark of instruments' time drives real drivers on virtual instruments, at a tiny size."""

import sys

import pytest

from benchmarks import instrument_time
from benchmarks.harness import Target


def test_a_sweep_takes_longer_than_the_instrument_needs():
    row = instrument_time.sweep_row(repeats=2, sweeps=2)
    assert (row.id, row.n, row.unit) == ("vna.real_sweep_extra_ms", 2, "ms")
    assert row.value > 0
    assert row.baselines["plain socket, nothing checked"] > 0
    assert row.aim == row.held_against(Target("<=", 0.5))


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals need Linux or macOS")
def test_no_pattern_is_faster_than_its_baud_rate():
    row = instrument_time.surface_row(repeats=2, patterns=5)
    assert (row.id, row.n, row.unit) == ("metasurface.share_of_baud", 2, "share")
    assert 0 < row.value <= 1
    assert all(0 < share <= 1 for share in row.baselines.values())


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals need Linux or macOS")
def test_instruments_are_busy_a_share_of_a_trainings_time():
    row = instrument_time.duty_row(repeats=1, epochs=1)
    assert (row.id, row.n, row.unit) == ("duty.microwave", 1, "share")
    assert 0 < row.value <= 1
    assert row.aim == row.held_against(Target(">=", 0.97))
