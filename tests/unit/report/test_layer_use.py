"""What the report says of a layer, and from which passes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labctl.contract.layer import RowStatus
from labctl.record.reader import LogReader
from labctl.report.layer_use import SAMPLE_PASSES, layer_use, repeat_noise, sampled_passes

Make = Callable[..., Any]


def test_a_short_run_is_read_whole_and_without_rejected_passes(
    record: Make, make_meta: Make, make_passes: Make
) -> None:
    status = np.full(10, RowStatus.OK, dtype=np.uint8)
    status[3] = RowStatus.STALE
    folder: Path = record(make_meta(), [make_passes(0, 10, status=status)], [])
    with LogReader(folder / "run.sqlite") as reader:
        ids = np.concatenate([part.ids for part in sampled_passes(reader)])
    assert ids.tolist() == [0, 1, 2, 4, 5, 6, 7, 8, 9]


def test_of_a_long_run_a_bounded_sample_from_every_part_is_read(
    record: Make, make_meta: Make, make_passes: Make
) -> None:
    n = 5 * SAMPLE_PASSES
    folder: Path = record(make_meta(), [make_passes(0, n)], [])
    with LogReader(folder / "run.sqlite") as reader:
        ids = np.concatenate([part.ids for part in sampled_passes(reader)])
        use = layer_use(reader, make_meta()["blocks"])
    assert len(ids) == SAMPLE_PASSES == use[0].passes
    assert len(np.unique(ids)) == len(ids)
    assert np.all(np.histogram(ids, 16, (0, n))[0] > 0)
    assert use[0].noise is None


def test_ranges_and_ends_are_those_of_the_passes(record: Make, make_meta: Make, make_passes: Make) -> None:
    drives = np.array([[0, 0.25, 0.5, 1], [0, 0.75, 0.5, 1]], dtype=np.float32)
    responses = np.array([[-0.5, 0, 0.25], [-0.5, 0.5, 0.75]], dtype=np.float32)
    folder: Path = record(make_meta(), [make_passes(0, 2, drives=drives, responses=responses)], [])
    with LogReader(folder / "run.sqlite") as reader:
        use = layer_use(reader, make_meta()["blocks"])[0]
    assert (use.at_low, use.at_high) == (0.25, 0.25)
    assert use.drive_quantiles[2] == pytest.approx([0, 0.5, 0.5, 1])
    assert use.response_quantiles[2] == pytest.approx([-0.5, 0.25, 0.5])
    assert (use.peak, use.peak_channel) == (0.75, 2)


def test_noise_is_the_pooled_deviation_within_equal_drives() -> None:
    drives = np.array([[1], [2], [1], [3], [2], [1]], dtype=np.float32)
    responses = np.array([[1.0], [5.0], [2.0], [99.0], [7.0], [3.0]])
    noise = repeat_noise(drives, responses)
    assert noise is not None
    # Groups 1, 2, 3 and 5, 7: squared deviations 2 + 2 over 5 - 2 degrees of freedom.
    assert noise.noise == pytest.approx([np.sqrt(4 / 3)])
    assert (noise.groups, noise.passes) == (2, 5)
    assert noise.spread == pytest.approx([responses.std()])


def test_noise_of_complex_responses_counts_both_parts() -> None:
    noise = repeat_noise(np.ones((2, 1), dtype=np.float32), np.array([[1 + 1j], [-1 - 1j]], dtype=np.complex64))
    assert noise is not None
    assert noise.noise == pytest.approx([2.0])


def test_noise_of_unsigned_counts_does_not_wrap() -> None:
    noise = repeat_noise(np.ones((2, 1), dtype=np.float32), np.array([[3], [1]], dtype=np.uint16))
    assert noise is not None
    assert noise.noise == pytest.approx([np.sqrt(2)])


def test_repeated_drives_are_reported_on_the_page(
    record: Make, report: Make, make_meta: Make, make_passes: Make
) -> None:
    same = make_passes(0, 8).drives
    responses = np.tile(np.array([[0.1], [0.3]], dtype=np.float32), (4, 3))
    passes = [make_passes(0, 8, responses=responses), make_passes(8, 8, drives=same, responses=responses + 0.02)]
    page = report(record(make_meta(), passes, []))
    assert "0.0141 FS rms" in page.text
    assert "from 8 drives sent 16 times in all" in page.text
    assert any(figure.get("id") == "figure-noise-block-1" for figure in page.named("figure"))


def test_a_run_without_repeats_says_that_noise_is_unknown(
    record: Make, report: Make, make_meta: Make, make_passes: Make
) -> None:
    page = report(record(make_meta(), [make_passes(0, 8)], []))
    assert "unknown: no two of the passes read here had the same drive" in page.text
