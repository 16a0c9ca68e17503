"""The benchmark of durability counts what it says, and keeps the rows that it does not measure."""

import json
import random

import pytest

from benchmarks import durability, harness, kills, wire_benches
from benchmarks.harness import Row
from labctl.contract.layer import RowStatus

OK, XRUN = int(RowStatus.OK), int(RowStatus.XRUN)


def passes(*rows):
    """Return passes of (id, repeat, status); an id's responses are its own."""
    return {(number, repeat): (1.5, status, b"d", bytes([number])) for number, repeat, status in rows}


def test_a_pass_that_is_gone_or_changed_is_lost():
    before = passes((0, 0, OK), (1, 0, OK), (2, 0, OK))
    final = passes((0, 0, OK), (1, 0, OK), (3, 0, OK))
    assert kills.lost([before], before) == 0
    assert kills.lost([before], final) == 1
    assert kills.lost([before], before | {(0, 0): (1.5, OK, b"d", b"another")}) == 1
    assert kills.lost([before, before], final) == 1


def test_a_good_pass_measured_again_is_repeated_and_a_rejected_one_is_not():
    assert kills.repeated(passes((0, 0, XRUN), (0, 1, OK), (1, 0, OK))) == 0
    assert kills.repeated(passes((0, 0, OK), (0, 1, OK), (1, 0, OK), (1, 1, XRUN))) == 2


def test_the_rows_say_how_many_died_when():
    toll = kills.Toll({"burst": 2, "commit": 1}, recorded=50, lost=1, repeated=0, runs=2, verify_failed=0)
    died, *counts = kills.rows(toll)
    assert (died.value, died.n, died.baselines) == (3, 2, {"burst": 2.0, "commit": 1.0})
    assert [(row.id, row.value, row.n) for row in counts] == [
        ("kills.lost_passes", 1, 50),
        ("kills.repeated_passes", 0, 50),
        ("kills.verify_failed", 0, 2),
    ]
    assert [row.aim is not None and row.aim.reached for row in counts] == [False, True, True]


@pytest.mark.parametrize("system", wire_benches.SYSTEMS, ids=lambda system: system.name)
def test_every_run_dies_at_every_kind_of_moment(system):
    kinds = [moment.kind for moment in kills.moments(system, random.Random(0))]
    assert set(kinds) == {system.does, "commit", "checkpoint", "export"}


def test_rows_of_other_subjects_are_kept_and_new_ones_say_their_commit(monkeypatch, tmp_path):
    monkeypatch.setattr(
        durability, "SUBJECTS", {"kills": lambda _: iter([Row("kills.lost_passes", 0, None, None, 1, "passes")])}
    )
    file = tmp_path / "durability.json"
    assert durability.rows_in(file) == []
    rows = [Row("drift.dead", 1, None, None, 1, "points"), Row("kills", 7, None, None, 1, "deaths")]
    file.write_text(harness.as_json("durability", rows, quick=True), encoding="utf-8")
    found = list(durability.measure(["kills"], durability.rows_in(file), quick=True))
    assert [row.id for row in found] == ["drift.dead", "kills.lost_passes"]
    assert found[1].commits == (harness.commit(),)
    assert json.loads(file.read_text())["rows"][0]["id"] == "drift.dead"
