"""The benchmark of durability counts what it says, and keeps the rows that it does not measure."""

import random
import shutil
import sys
from pathlib import Path

import pytest

from benchmarks import disasters, durability, harness, kills, overnight, powerloss, recording, wire_benches
from benchmarks.harness import Row
from benchmarks.powerloss import Kind
from labctl.config.loading import load_rig
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


def test_rows_of_other_subjects_are_kept_and_new_ones_say_their_commit(tmp_path):
    file = tmp_path / "durability.json"
    assert durability.rows_in(file) == []
    rows = [Row("drift.dead", 1, None, None, 1, "points"), Row("kills", 7, None, None, 1, "deaths")]
    file.write_text(harness.as_json("durability", rows, quick=True), encoding="utf-8")
    chosen = {"kills": lambda _: iter([Row("kills.lost_passes", 0, None, None, 1, "passes")])}
    found = list(durability.measure(chosen, durability.rows_in(file), quick=True))
    assert [row.id for row in found] == ["drift.dead", "kills.lost_passes"]
    assert found[1].commits == (harness.commit(),)


def test_the_subjects_are_the_words_before_the_first_point():
    assert set(durability.subjects()) == {"drift", "kills", "powerloss", "disasters", "overnight", "record"}


def test_recording_is_a_share_of_a_pass_and_says_when_qcodes_is_missing(capsys):
    row = recording.share(repeats=2, rows=20)
    assert 0 < row.low <= row.value <= row.high
    assert list(recording.measure(True, None)) == []
    assert "--qcodes" in capsys.readouterr().err


def test_a_night_is_held_against_the_quiet_one_of_its_seed():
    quiet = overnight.Night(96.0, 8.2, 0.0, {})
    nights = [(quiet, overnight.Night(95.5, 8.3, 1.0, {"failures": 4.0})),
              (quiet, overnight.Night(96.5, 8.4, 3.0, {"failures": 6.0}))]  # fmt: skip
    hours, lost, memory = overnight.night_rows(nights)
    assert (hours.value, hours.baselines) == (pytest.approx(8.35), {"failures": 5.0})
    assert lost.value == pytest.approx(0.0)
    assert (memory.low, memory.high) == (1.0, 3.0)


def test_memory_that_only_a_beginning_takes_is_no_growth():
    assert overnight.growth([10.0] * 10 + [200.0] * 90) == 0.0
    assert overnight.growth([100.0 + number for number in range(100)]) == pytest.approx(50.0, abs=1)
    assert overnight.growth([5.0]) == 0.0


def entry(kind, first=b"", second=b"", *, inode=7, offset=0):
    return powerloss.Entry(kind, inode, offset, first, second)


def found(entries, tmp_path):
    """Return what a hundred power cuts may leave of the file `log`: its content each time, None where there is none."""
    contents = []
    for seed in range(100):
        left = tmp_path / str(seed)
        left.mkdir(parents=True)
        powerloss.build(entries, Path("/watched"), left, random.Random(seed))
        contents.append((left / "log").read_bytes() if (left / "log").exists() else None)
    return contents


BEGUN = [
    entry(Kind.CREATED, b"/watched/log"),
    entry(Kind.WRITTEN, b"a" * 1024),
    entry(Kind.SYNC_BEGINS),
]


def test_what_was_synced_survives_a_power_cut_and_the_rest_may_not(tmp_path):
    begun = found(BEGUN, tmp_path / "begun")
    assert {None, b"", b"a" * 1024, b"a" * 512} <= set(begun)
    synced = [*BEGUN, entry(Kind.SYNC_ENDED)]
    assert set(found(synced, tmp_path / "synced")) == {b"a" * 1024}
    again = found([*synced, entry(Kind.WRITTEN, b"b" * 1024)], tmp_path / "again")
    assert {b"a" * 1024, b"b" * 1024, b"a" * 512 + b"b" * 512} <= set(again)


def test_what_was_written_while_a_sync_went_on_may_be_lost(tmp_path):
    late = [*BEGUN, entry(Kind.WRITTEN, b"c" * 512, offset=1024), entry(Kind.SYNC_ENDED)]
    assert {b"a" * 1024, b"a" * 1024 + b"c" * 512} <= set(found(late, tmp_path))


def test_names_are_lost_from_the_end_alone(tmp_path):
    moved = [*BEGUN, entry(Kind.SYNC_ENDED), entry(Kind.RENAMED, b"/watched/log", b"/watched/other", inode=0)]
    assert set(found(moved, tmp_path / "moved")) == {b"a" * 1024, None}
    kept = [*moved, entry(Kind.SYNC_BEGINS), entry(Kind.SYNC_ENDED)]
    assert set(found(kept, tmp_path / "kept")) == {None}


@pytest.mark.skipif(sys.platform != "linux" or shutil.which("cc") is None, reason="needs Linux and a C compiler")
def test_a_log_that_does_not_sync_loses_what_it_acknowledged(tmp_path):
    """The cut is one: a writer that is told not to sync has to lose something, and labctl's loses nothing."""
    safe = powerloss.cut(tmp_path, cuts=15, sessions=1)
    assert (safe.lost, safe.damaged, safe.cuts) == (0, 0, 15)
    assert safe.acknowledged > 0
    unsynced = [
        each for each in powerloss.read((tmp_path / "journal").read_bytes()) if each.kind is not Kind.SYNC_ENDED
    ]
    toll, marks = powerloss.Toll(), powerloss.acknowledgements(unsynced)
    for seed in range(15):
        left = tmp_path / f"unsafe-{seed}"
        left.mkdir()
        powerloss.build(unsynced, tmp_path / "watched", left, random.Random(seed))
        powerloss.look(left, marks[-1][1], toll)
    assert toll.lost > 0


@pytest.mark.parametrize("name", disasters.DISASTERS)
def test_every_disaster_has_a_bench_that_can_be_laid(name, tmp_path):
    system, _ = disasters.DISASTERS[name]
    system.lay(tmp_path)
    rig = tmp_path / "rig.yaml"
    rig.write_text(rig.read_text(encoding="utf-8") + disasters.HURRY, encoding="utf-8")
    assert system.layer in load_rig(rig).rig.layers
