"""The report says what the log holds, and nothing reaches out of it."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labctl.contract.errors import RecordError
from labctl.contract.layer import RowStatus
from labctl.record.reader import LogReader
from labctl.record.writer import PassLog
from labctl.report.page import write_page

Make = Callable[..., Any]
Event = tuple[str, Any]

BASELINES = (
    "baselines",
    {"linear": {"right": [0, 1, 2, 3, 4]}, "skip-only": {"right": [0, 1]}, "shuffled": {"right": [0, 3]}},
)


@pytest.fixture(scope="module")
def finished(record: Make, make_meta: Make, make_passes: Make, make_epoch: Make, tested: Event) -> Path:
    """A run of 30 passes, three epochs, a test and baselines that a later session added."""
    passes = [
        make_passes(0, 6, purpose="statistics"),
        make_passes(6, 12),
        make_passes(18, 12, purpose="test"),
    ]
    epochs = [make_epoch(epoch, train_accuracy=0.9) for epoch in (1, 2, 3)]
    return record(make_meta(), passes, [*epochs, tested], [BASELINES])


@pytest.fixture(scope="module")
def page(finished: Path, report: Make) -> Any:
    """The report of the finished run."""
    return report(finished)


def test_the_headline_states_result_interval_and_kind_of_hardware(page: Any) -> None:
    assert "test accuracy 66.7 %" in page.text
    assert "95 % interval 30.0 to 90.3 %" in page.text
    assert "4 of 6 samples right" in page.text
    assert "simulated: no real hardware" in page.text
    assert "2026-11-22 03:40" in page.text
    assert "30 passes, 15 s of hardware time, simulated" in page.text
    assert "labctl resume" not in page.text


@pytest.mark.parametrize(
    ("simulated", "badge"),
    [((False,), "real hardware"), ((True, False), "partly simulated: block 1"), ((True, True), "no real hardware")],
)
def test_the_badge_says_which_blocks_were_simulated(
    simulated: tuple[bool, ...], badge: str, record: Make, report: Make, make_meta: Make, make_block: Make
) -> None:
    blocks = [make_block(simulated=is_so) for is_so in simulated]
    page = report(record(make_meta(blocks=blocks, simulated=all(simulated)), [], []))
    assert badge in page.text
    assert ("hardware time, simulated" in page.text) == all(simulated)


def test_baselines_are_compared_on_the_same_samples(page: Any) -> None:
    # Run right on samples 0 1 2 4; linear also on 3: d = 0 0 0 -1 0 0, s = sqrt(1/6).
    assert page.row("linear") == ["83.3 %", "−16.7 (−49.3 to +16.0)", "no clear difference"]
    # skip-only lacks 2 and 4: d = 0 0 1 0 1 0, mean 1/3, s = sqrt(4/15).
    assert page.row("skip-only") == ["33.3 %", "+33.3 (−8.0 to +74.7)", "no clear difference"]
    assert page.row("shuffled")[2] == "control"
    assert "strongest baseline, linear (83.3 %), there is no clear difference" in page.text
    assert "scores 33.3 %: no more than chance (33.3 %) explains" in page.text


def test_a_control_above_chance_is_reported_as_an_alarm(
    record: Make, report: Make, make_meta: Make, tested: Event
) -> None:
    page = report(record(make_meta(), [], [tested, ("baselines", {"shuffled": {"right": [0, 1, 2, 3, 4, 5]}})]))
    assert "Do not trust the result" in page.text


def test_a_run_without_baselines_says_so(record: Make, report: Make, make_meta: Make, tested: Event) -> None:
    page = report(record(make_meta(), [], [tested]))
    assert "No baselines are recorded for this run." in page.text


def test_the_confusion_matrix_has_class_names_and_counts(page: Any) -> None:
    (matrix,) = [rows for rows in page.tables if rows[0][0].startswith("true")]
    assert matrix[0][1:4] == ["ant", "bee", "cat"]
    assert [row[:4] for row in matrix[1:]] == [["ant", "2", "·", "·"], ["bee", "·", "1", "1"], ["cat", "·", "1", "1"]]
    assert "Commonest mistake: bee taken for cat, 1 of 2 samples." in page.text


def test_many_classes_are_reduced_to_the_commonest_mistakes(
    record: Make, report: Make, make_meta: Make, tested: Event
) -> None:
    names = [f"class {number}" for number in range(30)]
    confusion = np.diag(np.full(30, 5))
    confusion[4, 17] = 3
    detail = tested[1] | {"confusion": confusion.tolist()}
    page = report(record(make_meta(data=make_meta()["data"] | {"class_names": names}), [], [("test", detail)]))
    assert page.row("class 4") == ["class 17", "3"]


def test_the_price_is_counted_from_the_passes(record: Make, report: Make, make_meta: Make, make_passes: Make) -> None:
    passes = [make_passes(0, 4, purpose="statistics"), make_passes(4, 7196)]
    page = report(record(make_meta(power_w=20.0), passes, []))
    assert page.row("statistics")[1:] == ["4", "0.1 %"]
    assert page.row("train")[1:] == ["7,196", "99.9 %"]
    assert page.row("1: cavity") == ["7,200", "0.5 s", "1 h 0 min", "8", "6"]
    assert "20 Wh, 1 h 0 min at 20 W" in page.text


def test_energy_without_a_stated_power_is_not_invented(page: Any) -> None:
    assert "not stated in the rig file" in page.text


def test_rejected_passes_are_listed_by_status(record: Make, report: Make, make_meta: Make, make_passes: Make) -> None:
    status = np.array([RowStatus.OK, RowStatus.CLIPPED, RowStatus.XRUN, RowStatus.CLIPPED], dtype=np.uint8)
    page = report(record(make_meta(), [make_passes(0, 4, status=status), make_passes(4, 4)], []))
    assert page.row("clipped")[1:] == ["2", "25.00 %"]
    assert page.row("xrun")[1:] == ["1", "12.50 %"]
    assert page.row("together")[1:] == ["3", "37.50 %"]


def test_no_rejected_pass_is_said_in_words(page: Any) -> None:
    assert "None of 30 passes was rejected." in page.text


def test_values_clipped_by_encoders_are_a_share_of_what_was_sent(page: Any) -> None:
    assert "Encoders clipped 5 of 120 drive values sent (4.17 %)." in page.text


def test_clipped_values_of_a_resumed_run_are_those_of_one_session(
    record: Make, report: Make, make_meta: Make, make_passes: Make, tested: Event
) -> None:
    page = report(record(make_meta(), [make_passes(0, 9)], [], [tested]))
    assert "Encoders clipped 5 drive values in the session that tested." in page.text


def test_every_block_has_its_own_curves_and_layer_figures(
    record: Make, report: Make, make_meta: Make, make_block: Make, make_passes: Make, make_epoch: Make, tested: Event
) -> None:
    blocks = [make_block(), make_block("vna", outputs=make_block()["outputs"][:2], nominal_pass_s=2.0)]
    second = {"block": 1, "layer": "vna", "state_id": "v7", "responses": np.full((5, 2), 3 + 4j, dtype=np.complex64)}
    passes = [make_passes(0, 10), make_passes(10, 5, **second)]
    page = report(record(make_meta(blocks=blocks), passes, [make_epoch(1, 2), make_epoch(2, 2), tested]))
    ids = {attributes.get("id") for attributes in page.named("figure")}
    assert {"figure-goodness-block-1", "figure-goodness-block-2"} <= ids
    assert {"figure-drives-block-1", "figure-responses-block-1", "figure-responses-block-2"} <= ids
    assert page.row("1: cavity")[:3] == ["10", "0.5 s", "5 s"]
    assert page.row("2: vna")[:3] == ["5", "2 s", "10 s"]
    assert "Every pass of cavity was measured in state s0. Every pass of vna was measured in state v7." in page.text
    assert "Largest response5 FS on mic 0" in page.text
    assert "After epoch 2: block 1 loss 0.25, block 2 loss 0.25" in page.text


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (("stopped", {"reason": "asked to stop"}), "(asked to stop)"),
        (("failed", {"reason": "vna: no answer during *OPC?"}), "failed at"),
        (None, "was closed at"),
    ],
)
def test_an_unfinished_run_says_where_it_stands_and_how_to_go_on(
    event: Event | None,
    said: str,
    record: Make,
    report: Make,
    make_meta: Make,
    make_passes: Make,
    make_epoch: Make,
) -> None:
    events = [make_epoch(1), make_epoch(2), *([event] if event else [])]
    page = report(record(make_meta(), [make_passes(0, 24)], events))
    assert "not finished" in page.text
    assert said in page.text
    assert "2 of 3 epochs done, 24 passes recorded" in page.text
    assert "labctl resume 2026-11-22T03-40-12-insects" in page.text
    assert "test accuracy" not in page.text
    assert "Against baselines" not in page.text


def test_a_run_that_is_being_written_can_be_reported(
    tmp_path: Path, make_meta: Make, make_passes: Make, make_epoch: Make, report: Make
) -> None:
    with PassLog.create(tmp_path / "run.sqlite", make_meta()) as log:
        log.append(make_passes(0, 5))
        log.append_event(*make_epoch(1))
        log.flush()
        page = report(tmp_path)
    assert "is being written, or its process was killed" in page.text
    assert "1 of 3 epochs done, 5 passes recorded" in page.text


def test_a_run_without_a_single_pass_has_a_page(record: Make, report: Make, make_meta: Make) -> None:
    page = report(record(make_meta(), [], []))
    assert "0 of 3 epochs done, 0 passes recorded" in page.text
    assert "No accepted pass of this block is recorded." in page.text


def test_of_an_epoch_gone_through_twice_the_last_time_counts(
    record: Make, report: Make, make_meta: Make, make_epoch: Make
) -> None:
    first = [make_epoch(1), make_epoch(2, train_accuracy=0.111)]
    page = report(record(make_meta(), [], first, [make_epoch(2, train_accuracy=0.875)]))
    assert "After epoch 2" in page.text
    assert "training accuracy 87.5 %" in page.text


def test_a_loss_that_is_not_finite_is_shown_as_such(
    record: Make, report: Make, make_meta: Make, make_epoch: Make
) -> None:
    page = report(record(make_meta(), [], [make_epoch(1), make_epoch(2, **{"block1.loss": float("nan")})]))
    assert "block 1 loss nan" in page.text


def test_a_rule_without_curves_says_so(record: Make, report: Make, make_meta: Make, tested: Event) -> None:
    resolved = make_meta()["resolved"] | {"training": {"rule": "readout", "schedule": "joint"}}
    page = report(record(make_meta(resolved=resolved), [], [("epoch", {"epoch": 1, "samples": 20.0}), tested]))
    assert "This learning rule has no learning curve." in page.text
    assert "The score of the true label" in page.text


def test_provenance_names_seeds_data_states_and_files(page: Any) -> None:
    for fact in (
        "experiment 7, split 3",
        "f00d" * 16,
        "Digital weights only",
        "state s0",
        "name: insects",
        "name: box",
    ):
        assert fact in page.text
    assert f"numpy {np.__version__}" in page.text


def test_a_layer_that_changed_its_state_is_pointed_out(
    record: Make, report: Make, make_meta: Make, make_passes: Make
) -> None:
    page = report(record(make_meta(), [make_passes(0, 3), make_passes(3, 3, state_id="s1")], []))
    assert "Beware: cavity was measured in 2 states, s0, s1." in page.text


HOSTILE = "<script>alert('&')</script>$\\frac$"


def test_what_files_say_never_becomes_markup(
    record: Make, report: Make, make_meta: Make, make_block: Make, make_passes: Make, tested: Event
) -> None:
    channels = [{"name": HOSTILE, "unit": HOSTILE, "low": 0.0, "high": 1.0}]
    source = {"text": HOSTILE, "path": HOSTILE, "folder": HOSTILE}
    plain = make_meta()
    meta = make_meta(
        name=HOSTILE,
        experiment=source | {"overrides": [HOSTILE]},
        rigs={HOSTILE: source},
        resolved=plain["resolved"] | {"description": HOSTILE},
        blocks=[make_block(HOSTILE, inputs=channels * 4, outputs=channels * 3)],
        data=plain["data"] | {"class_names": [HOSTILE, '"', "</table>"]},
    )
    events = [tested, ("baselines", {HOSTILE: {"right": [0]}})]
    passes = [make_passes(0, 9, layer=HOSTILE, state_id=HOSTILE, purpose=HOSTILE)]
    page = report(record(meta, passes, events, name="2026-11-22T03-40-12-<script>"))
    assert not page.named("script")
    assert page.text.count(HOSTILE) > 10
    assert "<script" not in page.source


def test_the_page_is_one_file_without_references_to_others(page: Any) -> None:
    assert not re.search(r"https?:|\bsrc=|@import|url\(", page.source)
    assert not {"script", "link", "img", "iframe", "object"} & {tag for tag, _ in page.tags}
    links = [attributes[key] for _, attributes in page.tags for key in ("href", "xlink:href") if key in attributes]
    assert all(link is not None and link.startswith("#") for link in links)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {link[1:] for link in links if link} <= set(ids)


def test_the_same_log_gives_the_same_page_and_leaves_nothing_else(finished: Path, report: Make) -> None:
    before = {path.name for path in finished.iterdir()}
    first, second = report(finished), report(finished)
    assert first.source == second.source
    assert {path.name for path in finished.iterdir()} == before | {"report.html"}


def test_a_page_that_cannot_be_written_is_one_clear_error(finished: Path) -> None:
    with LogReader(finished / "run.sqlite") as reader, pytest.raises(RecordError, match="cannot be written"):
        write_page(reader, finished / "absent" / "report.html")


def test_a_log_that_is_no_run_is_refused(record: Make, report: Make, make_meta: Make) -> None:
    with pytest.raises(RecordError, match="other/1"):
        report(record(make_meta(schema="other/1"), [], []))
