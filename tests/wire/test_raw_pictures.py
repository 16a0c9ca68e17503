"""Pictures that an optical layer hands over, and what is read out of them with other settings."""

import signal
import threading
from typing import Any

import numpy as np
import pytest
from labctl_drivers.layers.optical import OpticalLayer
from labctl_simulators.faults import FaultPlan, FaultSchedule

from labctl.contract.errors import SettingError
from labctl.contract.layer import Drives, RawSignal, Responses, RowStatus
from labctl.testing.layers import InstantLayer
from tests.wire.optical_bench import SIDE, OpticalBench, optical_bench

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="a virtual display needs Linux or macOS")

PICTURE_BYTES = 48 * 40
DARK = {"every": "1 h", "frames": 3}
COARSE = {"outputs": {"rows": 3, "columns": 2}}
CORNER = {"outputs": {"rows": 4, "columns": 5, "pixels": 2, "left": 31, "top": 7}}
PIXELS = {"outputs": {"rows": 6, "columns": 8, "pixels": 1, "left": 10, "top": 20}}


def bench_layer(bench: OpticalBench, **changes: Any) -> OpticalLayer:
    return bench.layer(overlap=False, **changes)


def measured(layer: OpticalLayer, rows: Drives) -> tuple[Responses, RawSignal]:
    """Return the rows with their raw signals, measured by a layer that is opened for it and closed again."""
    layer.open()
    layer.deliver_raw(wanted=True)
    chunks = list(layer.measure(rows, np.arange(len(rows), dtype=np.int64), stop=threading.Event()))
    layer.close()
    joined = [np.concatenate([getattr(chunk, name) for chunk in chunks]) for name in ("ids", "values", "status")]
    raw = np.concatenate([chunk.raw for chunk in chunks if chunk.raw is not None])
    return Responses(*joined, time_s=np.zeros(len(rows))), raw


@pytest.mark.parametrize("dark", [{}, {"dark": DARK}], ids=["light", "dark"])
@pytest.mark.parametrize("blocks", [COARSE, CORNER, PIXELS], ids=["coarse", "corner", "pixels"])
def test_other_blocks_are_what_the_bench_would_have_measured(dark: dict[str, Any], blocks: dict[str, Any]) -> None:
    with optical_bench({"camera": {"dark_level": 20}}) as bench:
        rows = bench.drives(8)
        sender, fresh = bench_layer(bench, **dark), bench_layer(bench, **dark)
        first, raw = measured(sender, rows)
        again, status = fresh.rereading(sender)(raw, rows)
        np.testing.assert_array_equal(again, first.values)
        other = bench_layer(bench, **dark, **blocks)
        values, status = other.rereading(sender)(raw, rows)
        expected, _ = measured(other, rows)
    assert not status.any()
    assert values.dtype == expected.values.dtype == other.info.response_dtype
    np.testing.assert_array_equal(values, expected.values)


def test_without_what_was_seen_in_the_dark() -> None:
    with optical_bench({"camera": {"dark_level": 20}}) as bench:
        rows = bench.drives(5)
        sender, plain = bench_layer(bench, dark=DARK), bench_layer(bench)
        assert sender.raw_dtype.itemsize == 3 * PICTURE_BYTES + 1, "three pictures of 8 bits add up to no more than 16"
        assert plain.raw_dtype.itemsize == PICTURE_BYTES + 1
        first, raw = measured(sender, rows)
        values, _ = plain.rereading(sender)(raw, rows)
        expected, plain_raw = measured(plain, rows)
        np.testing.assert_array_equal(values, expected.values)
        np.testing.assert_array_equal(values, first.values + 20.0)
        np.testing.assert_array_equal(raw["picture"], plain_raw["picture"])


def test_another_limit_of_what_is_saturated() -> None:
    with optical_bench({"camera": {"exposure": 0.25}}) as bench:
        rows = bench.drives(30)
        sender, strict = bench_layer(bench), bench_layer(bench, max_saturated=0.0)
        _, raw = measured(sender, rows)
        _, status = strict.rereading(sender)(raw, rows)
        expected, _ = measured(strict, rows)
    np.testing.assert_array_equal(status, expected.status)
    assert set(status.tolist()) == {RowStatus.OK, RowStatus.OVERLOAD}


def test_a_picture_that_was_bad_stays_bad() -> None:
    """Lost, stale, with too much light: whatever is made of such a row is what was made of it then."""
    faults = [{"kind": kind, "rate": 0.08} for kind in ("failed", "stale", "overload")]
    with optical_bench() as bench:
        sender, rows = bench_layer(bench), bench.drives(120)
        sender.open()
        assert bench.virtual.scene is not None
        bench.virtual.scene.faults = FaultSchedule(FaultPlan.model_validate({"seed": 5, "list": faults}))
        first, raw = measured(sender, rows)
        values, status = sender.rereading(sender)(raw, rows)
        _, of_corner = bench_layer(bench, **CORNER).rereading(sender)(raw, rows)
    assert {RowStatus.OK, RowStatus.FAILED, RowStatus.STALE, RowStatus.OVERLOAD} == set(first.status.tolist())
    np.testing.assert_array_equal(status, first.status)
    np.testing.assert_array_equal(values, first.values)
    for fault in (RowStatus.FAILED, RowStatus.STALE):
        assert (of_corner[first.status == fault] == fault).all()


@pytest.mark.parametrize(
    ("then", "now", "at", "what"),
    [
        ({}, {"inputs": {"rows": SIDE, "columns": 5}}, "inputs", "it decides what is sent"),
        ({}, {"background": 7}, "background", "that was sent with 0: measure anew"),
        ({}, {"light": None}, "light", "that was sent with shutter"),
        ({}, {"dark": DARK}, "dark", "of dark pictures none were taken"),
        ({"dark": DARK}, {"dark": DARK | {"frames": 2}}, "dark", "3 every 3600 s were taken; expected those or none"),
    ],
)
def test_what_a_picture_does_not_say_is_refused(then: dict[str, Any], now: dict[str, Any], at: str, what: str) -> None:
    with optical_bench() as bench, pytest.raises(SettingError, match=what) as refused:
        bench_layer(bench, **now).rereading(bench_layer(bench, **then))
    assert refused.value.at == (at,)


def test_pictures_of_another_kind_of_layer_are_none() -> None:
    with optical_bench() as bench, pytest.raises(SettingError, match="of a layer of another kind"):
        bench_layer(bench).rereading(InstantLayer(3, 3))
