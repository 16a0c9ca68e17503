"""The benchmark of instruments reads real sweeps over real links, at a tiny size."""

import pytest

from benchmarks import instruments
from benchmarks.harness import Target


@pytest.fixture(scope="module")
def addresses():
    with instruments.served() as addresses:
        yield addresses


def test_sweep_over_a_socket_in_round_trips(addresses):
    address, port, _ = addresses
    row = instruments.socket_row(201, address, port, instruments.IN_A_ROW)
    assert (row.id, row.n, row.unit) == ("vna.socket.201", instruments.REPEATS, "raw round trips")
    assert row.value > 0
    assert {"PyVISA", "plain socket, nothing checked"} <= set(row.baselines)
    assert row.aim == row.held_against(Target("<=", 6.0))


def test_sweep_over_hislip_in_pyvisas_best_time(addresses):
    row = instruments.hislip_row(201, addresses[2], instruments.IN_A_ROW)
    assert (row.id, row.n, row.unit) == ("vna.hislip.201", instruments.REPEATS, "of PyVISA's best")
    assert 1.0 in row.baselines.values()


def test_wrong_numbers_are_not_timed():
    with pytest.raises(AssertionError):
        instruments._check({"wrong": lambda: instruments.sweep(4) + 1}, 4)
