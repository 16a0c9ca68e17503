"""The benchmark of depth, at a tiny size."""

import pytest

from benchmarks import depth
from benchmarks.depth import Pair


@pytest.mark.parametrize("kind", ["physics", "input"])
def test_three_blocks_are_compared_with_one_of_as_many_weights(monkeypatch: pytest.MonkeyPatch, kind: str):
    wine = Pair(
        "sim_microwave",
        ["cavity", "cavity-31", "cavity-41"],
        "{source: wine, test_fraction: 0.3}",
        "{amplitude: 1.5, pad: 4}",
        "{kind: quantile, cells: 2}",
        20,
    )
    monkeypatch.setattr(depth, "PAIRS", {"wine": wine})
    row = depth.gain_row("wine", "greedy", kind, [0, 1], epochs=1)
    assert (row.id, row.n, row.unit) == (f"depth.wine.greedy.{kind}", 2, "points")
    assert row.value == pytest.approx(row.baselines["three blocks"] - row.baselines["one block"])
    assert row.baselines["weights of one"] == pytest.approx(row.baselines["weights of three"], rel=0.02)
