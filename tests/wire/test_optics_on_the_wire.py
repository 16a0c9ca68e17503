"""An optical layer on a real window, a real camera library and a real serial port, with virtual light between."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from labctl_drivers.camera.basler import BaslerSource
from labctl_drivers.layers.optical import TunableOpticalLayer
from labctl_drivers.transport.safe_step import over_serial
from labctl_simulators.faults import FaultPlan, FaultSchedule

from labctl.contract.calibration import write_calibration
from labctl.contract.capabilities import Calibration, Measured, ParameterSink
from labctl.contract.errors import DriveError, InputError, InstrumentError, SettingError
from labctl.contract.layer import Drives, PhysicalLayer, Responses, RowStatus
from labctl.testing.layer_contract import LayerContract
from tests.wire.optical_bench import OpticalBench, optical_bench

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="a virtual display needs Linux or macOS")

SEQUENTIAL: dict[str, Any] = {"overlap": False}
PHASE: dict[str, Any] = {"kind": "phase", "stroke_rad": 2 * np.pi}
SLOW_PANEL: dict[str, Any] = {"modulator": {"latency": "40 ms"}}
"""A display so late that a computer which stutters does not let an exposure meet the pattern after it."""


def measured(layer: PhysicalLayer, rows: Drives) -> Responses:
    chunks = list(layer.measure(rows, np.arange(len(rows), dtype=np.int64), stop=threading.Event()))
    return Responses(
        *(np.concatenate([getattr(chunk, name) for chunk in chunks]) for name in ("ids", "values", "status", "time_s"))
    )


@pytest.fixture
def bench() -> Iterator[OpticalBench]:
    with optical_bench() as bench:
        yield bench


class TestOpticsOnTheWire(LayerContract):
    @pytest.fixture
    def layer(self, bench: OpticalBench) -> PhysicalLayer:
        return bench.layer(**SEQUENTIAL)


def test_responses_are_those_of_the_simulated_layer_to_the_count(bench: OpticalBench) -> None:
    layer, rows = bench.layer(**SEQUENTIAL), bench.drives(60)
    layer.open()
    responses = measured(layer, rows)
    assert (responses.status == RowStatus.OK).all()
    np.testing.assert_array_equal(responses.values, measured(bench.twin, rows).values)
    assert layer.info.inputs == bench.twin.info.inputs


def test_single_pixels_are_counts_in_the_cameras_own_type() -> None:
    with optical_bench(camera={"region": {"width": 6, "height": 6}}) as bench:
        layer, rows = bench.layer(**SEQUENTIAL), bench.drives(20)
        layer.open()
        responses = measured(layer, rows)
        assert responses.values.dtype == np.uint8
        assert layer.info.outputs == bench.twin.info.outputs
        np.testing.assert_array_equal(responses.values, measured(bench.twin, rows).values)


def test_the_next_pattern_is_shown_while_a_picture_is_read() -> None:
    """Each picture is still that of its own pattern; a display's latency is longer than a picture takes to read."""
    with optical_bench(
        SLOW_PANEL, slm={"settle": "60 ms"}, camera={"exposure": "5 ms", "start_delay": "0 ms"}
    ) as bench:
        layer, rows = bench.layer(), bench.drives(25)
        layer.open()
        order: list[str] = []
        methods = (bench.slm, "show"), (bench.slm, "prepare"), (bench.camera, "expose"), (bench.camera, "read")
        for part, method in methods:
            _note(part, method, order)
        responses = measured(layer, rows)
        # Once a computer that stutters has let a picture come late, patterns wait for pictures for a while.
        assert order[:5] == ["show", "prepare", "expose", "show", "read"]
        good = responses.status == RowStatus.OK
        assert good.mean() > 0.8
        np.testing.assert_array_equal(responses.values[good], measured(bench.twin, rows).values[good])


def test_light_is_that_of_the_exposure_and_not_of_its_end() -> None:
    """pylon asks for the picture when the exposure is over, and by then the next pattern is shown."""
    with optical_bench(slm={"settle": "30 ms"}, camera={"exposure": "30 ms", "start_delay": "0 ms"}) as bench:
        layer, rows = bench.layer(), bench.drives(25)
        layer.open()
        responses = measured(layer, rows)
        good = responses.status == RowStatus.OK
        assert good.mean() > 0.8
        np.testing.assert_array_equal(responses.values[good], measured(bench.twin, rows).values[good])


def test_an_exposure_that_begins_too_late_gives_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """A trigger that is taken up late meets the pattern after its own, and nothing in the picture tells."""
    with optical_bench(slm={"settle": "30 ms"}, camera={"exposure": "30 ms", "start_delay": "0 ms"}) as bench:
        layer, rows = bench.layer(), bench.drives(12)
        layer.open()
        original, calls = BaslerSource.fire, iter(range(1000))

        def fire(source: BaslerSource) -> None:
            if next(calls) == 5:
                threading.Timer(0.15, original, (source,)).start()
            else:
                original(source)

        monkeypatch.setattr(BaslerSource, "fire", fire)
        responses = measured(layer, rows)
        assert responses.status[5] == RowStatus.FAILED
        good = responses.status == RowStatus.OK
        assert good[6:].sum() > 3, "a busy computer may be late once more, but not always"
        np.testing.assert_array_equal(responses.values[good], measured(bench.twin, rows).values[good])


def _note(part: Any, method: str, order: list[str]) -> None:
    original = getattr(part, method)

    def noting(*arguments: Any) -> Any:
        order.append(method)
        return original(*arguments)

    setattr(part, method, noting)


def test_light_is_on_while_it_measures_and_off_when_safe(bench: OpticalBench) -> None:
    layer, shutter = bench.layer(**SEQUENTIAL), bench.virtual.shutter
    assert shutter is not None
    layer.open()
    assert shutter.is_on
    layer.make_safe()
    assert not shutter.is_on
    assert measured(layer, bench.drives(2)).status.tolist() == [RowStatus.OK] * 2
    assert shutter.is_on
    layer.close()
    layer.make_safe()


def test_the_safe_plan_makes_dark_without_the_driver(bench: OpticalBench) -> None:
    shutter = bench.virtual.shutter
    assert shutter is not None
    bench.layer(**SEQUENTIAL).open()
    (step,) = bench.shutter.safe_plan()
    bench.shutter.close()
    assert shutter.is_on
    over_serial(step, 2.0)
    assert not shutter.is_on


def test_dark_pictures_are_subtracted() -> None:
    with optical_bench({"camera": {"dark_level": 20}}) as bench:
        layer, rows = bench.layer(**SEQUENTIAL, dark={"every": "1 h", "frames": 2}), bench.drives(10)
        layer.open()
        responses = measured(layer, rows)
        assert responses.values.dtype == np.float32
        np.testing.assert_array_equal(responses.values, measured(bench.twin, rows).values - 20.0)
        assert bench.virtual.shutter is not None
        assert [on for _, on in bench.virtual.shutter.changes] == [True, False, True]
        layer.close()
        layer = bench.layer(**SEQUENTIAL, dark={"every": "1 ms", "frames": 1})
        layer.open()
        measured(layer, rows)
        assert len(bench.virtual.shutter.changes) > 20


def test_a_display_that_no_longer_follows_is_told_as_itself(bench: OpticalBench) -> None:
    layer, rows = bench.layer(**SEQUENTIAL), bench.drives(30)
    layer.open()
    received: list[Responses] = []
    chunks = iter(layer.measure(rows, np.arange(30), stop=threading.Event()))
    received.append(next(chunks))
    assert bench.virtual.panel is not None
    bench.virtual.panel.frozen.set()
    with pytest.raises(InstrumentError, match="do not follow the patterns of 'slm'"):
        received.extend(chunks)
    values = np.concatenate([chunk.values for chunk in received])
    good = np.concatenate([chunk.status for chunk in received]) == RowStatus.OK
    expected = measured(bench.twin, rows).values[: len(values)]
    np.testing.assert_array_equal(values[good], expected[good])


def test_a_covered_window_is_found_out_before_anything_is_measured(bench: OpticalBench) -> None:
    assert bench.virtual.panel is not None
    bench.virtual.panel.frozen.set()
    with pytest.raises(InstrumentError, match="is the window covered"):
        bench.layer().open()
    assert bench.virtual.shutter is not None
    bench.shutter.open()
    assert not bench.virtual.shutter.is_on


def test_a_frozen_window_is_told_as_itself_and_opened_again(bench: OpticalBench, monkeypatch: Any) -> None:
    monkeypatch.setattr("labctl_drivers.slm.window.ANSWER_S", 0.5)
    bench.slm.open()
    plane = np.full(bench.slm.shape, 77, np.uint8)
    bench.slm.show(plane)
    os.kill(bench.slm.process, signal.SIGSTOP)
    with pytest.raises(InstrumentError, match="slm: the window is frozen"):
        bench.slm.show(plane)
    with pytest.raises(InstrumentError, match="not open"):
        bench.slm.show(plane)
    bench.slm.open()
    bench.slm.show(plane)


def test_a_prepared_plane_is_not_seen_before_it_is_shown(bench: OpticalBench) -> None:
    bench.slm.open()
    now, later, other = (np.full(bench.slm.shape, level, np.uint8) for level in (51, 102, 204))
    bench.slm.show(now)
    bench.slm.prepare(later)
    assert _seen_levels(bench) == {51}
    bench.slm.show(later)
    assert _seen_levels(bench) == {102}
    bench.slm.prepare(now)
    bench.slm.show(other)
    assert _seen_levels(bench) == {204}
    bench.slm.show(now)
    assert _seen_levels(bench) == {51}
    later[:] = now
    bench.slm.prepare(later)
    later[:] = other
    bench.slm.show(later)
    assert _seen_levels(bench) == {204}
    assert bench.slm.shown == 6


def _seen_levels(bench: OpticalBench) -> set[int]:
    assert bench.virtual.panel is not None
    return set(np.rint(255 * bench.virtual.panel.drives(time.monotonic())).astype(int).tolist())


def test_a_window_that_froze_over_the_next_plane_shows_nothing_any_more(bench: OpticalBench, monkeypatch: Any) -> None:
    monkeypatch.setattr("labctl_drivers.slm.window.ANSWER_S", 0.5)
    layer, rows = bench.layer(), bench.drives(2)
    layer.open()
    measured(layer, rows[:1])
    os.kill(bench.slm.process, signal.SIGSTOP)
    with pytest.raises(InstrumentError, match="slm: the window is frozen"):
        measured(layer, rows)
    with pytest.raises(InstrumentError, match="slm: the window is not open"):
        measured(layer, rows[:1])


def test_the_window_is_blank_when_its_parent_is_gone(bench: OpticalBench) -> None:
    assert bench.virtual.panel is not None
    bench.slm.open()
    bench.slm.show(np.full(bench.slm.shape, 200, np.uint8))
    assert bench.virtual.panel.drives(time.monotonic()).max() > 0
    bench.slm.close()
    assert bench.virtual.panel.drives(time.monotonic()).max() == 0


def test_a_look_up_table_is_between_levels_and_greys(tmp_path: Any) -> None:
    (tmp_path / "lut.txt").write_text("\n".join(str(255 - level) for level in range(256)), encoding="utf-8")
    with optical_bench(slm={"lut": str(tmp_path / "lut.txt")}) as bench:
        layer, rows = bench.layer(**SEQUENTIAL), bench.drives(5)
        layer.open()
        np.testing.assert_array_equal(measured(layer, rows).values, measured(bench.twin, 1 - rows).values)


def test_a_bias_adds_to_every_phase_modulo_one_wave() -> None:
    with optical_bench({"modulator": {"modulation": PHASE, "fill": 0.9}}) as bench:
        layer, rows = bench.layer(**SEQUENTIAL, modulation=PHASE, tunable_bias=True), bench.drives(5)
        assert isinstance(layer, TunableOpticalLayer)
        assert isinstance(layer, ParameterSink)
        with pytest.raises(InstrumentError, match="not open"):
            layer.write_parameters(np.zeros(36))
        layer.open()
        before = layer.state_id
        bias = bench.drives(1, seed=9)[0]
        written = layer.write_parameters(bias + 0.001)
        np.testing.assert_allclose(written.applied, bias, atol=1e-6)
        assert layer.written is written
        assert layer.state_id != before
        total = np.rint(rows * 255) + np.rint(bias * 255)
        shown = (np.where(total > 255, total - 255, total) / 255).astype(np.float32)
        np.testing.assert_array_equal(measured(layer, rows).values, measured(bench.twin, shown).values)
        for wrong in (np.zeros(35), np.full(36, 1.1), np.full(36, np.nan)):
            with pytest.raises(DriveError, match="takes 36 parameters from 0 to 1"):
                layer.write_parameters(wrong)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"inputs": {"rows": 60, "columns": 6}}, "60 x 6 blocks do not fit into 50 x 64 pixels"),
        ({"inputs": {"pixels": 10, "left": 5, "top": 0}}, r"reach to row 60, column 65; 'slm' has 50 and 64"),
        ({"outputs": {"pixels": 10, "left": 0, "top": 0}}, r"reach to row 60, column 60; 'camera' has 40 and 48"),
        ({"light": None, "dark": {"every": "1 s"}}, "without a `light`"),
        ({"tunable_bias": True}, "stroke_rad of 6.283185 alone"),
        ({"inputs": {"pixels": 3}}, "belong together"),
        ({"modulator": "camera"}, "needs instrument 'camera' to be a Modulator"),
        ({"camera": "shutter"}, "needs instrument 'shutter' to be a Camera"),
    ],
)
def test_what_does_not_fit_is_refused_at_validation(bench: OpticalBench, changes: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        bench.layer(**changes)


def test_an_exposure_shorter_than_a_refresh_is_refused_at_validation() -> None:
    with (
        optical_bench(slm={"refresh": "60 Hz"}) as bench,
        pytest.raises(SettingError, match=r"exposes for 1 ms, shorter than the 16\.67 ms in which 'slm' is refreshed"),
    ):
        bench.layer()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"slm": {"display": ":4711"}}, "no window on :4711"),
        ({"slm": {"position": [2000, 0]}}, "does not fit on monitor 0; there are monitor 0 of 84 x 60"),
        ({"slm": {"monitor": 3}}, "there is no monitor 3"),
        ({"camera": {"pixel_format": "Mono14"}}, "set PixelFormat to Mono14"),
        ({"camera": {"region": {"width": 60000}}}, "set Width"),
        ({"camera": {"trigger": {"source": "Line7"}}}, "set TriggerSource to Line7"),
        ({"camera": {"gain": "3000 dB"}}, "set Gain"),
        ({"camera": {"features": [{"NoSuchThing": 1}]}}, "NoSuchThing"),
        ({"camera": {"address": "0815-0099"}}, "there is no Basler camera 0815-0099; there are: 0815-0000"),
    ],
)
def test_what_is_not_there_is_refused_before_anything_lights_up(changes: Any, says: str) -> None:
    with optical_bench(afterwards=changes) as bench:
        layer = bench.layer()
        with pytest.raises(InstrumentError, match=says):
            layer.open()
        assert bench.virtual.shutter is not None
        assert bench.virtual.shutter.changes == []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"pixel_format": "Mono12Packed"}, "'Mono12Packed' cannot be read; expected one of Mono8, Mono10"),
        ({"pixel_format": "BayerRG8"}, "cannot be read"),
        ({"bits": 12}, "Mono8 has 8 bits, not 12"),
        ({"alignment": "left"}, "nothing to align"),
        ({"exposure": 5}, "has no unit"),
        ({"features": [{"A": 1, "B": 2}]}, "at most 1 item"),
    ],
)
def test_a_camera_that_cannot_be_read_is_refused_at_validation(changes: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says), optical_bench(afterwards={"camera": changes}):
        pass


def test_a_plane_that_does_not_fit_is_refused(bench: OpticalBench) -> None:
    bench.slm.open()
    for plane in (np.zeros((50, 63), np.uint8), np.zeros((50, 64), np.uint16)):
        with pytest.raises(InputError, match=r"a plane is 50 x 64 levels"):
            bench.slm.show(plane)


def test_settling_and_lag_are_found_and_the_next_run_uses_them(tmp_path: Path, monkeypatch: Any) -> None:
    """A display 70 ms late that turns in 10 ms, and a camera that hands over the picture before the last but one."""
    monkeypatch.setattr("labctl_drivers.layers.step_response.LONG_S", 0.3)
    late = {"modulator": {"latency": "70 ms", "settle": "10 ms"}, "camera": {"lag": 2}}
    with optical_bench(late, camera={"start_delay": "12 ms"}) as bench:
        layer, rows = bench.layer(**SEQUENTIAL), bench.drives(10)
        layer.open()
        with pytest.raises(InstrumentError, match="let labctl calibrate measure settling and lag"):
            measured(layer, rows)
        calibration = layer.calibrate()
        settle, lag = calibration.quantities["settle"], calibration.quantities["lag"]
        assert (float(lag.value), float(lag.uncertainty)) == (2, 0)
        assert abs(float(settle.value) - 0.08) < 3 * float(settle.uncertainty)
        path = write_calibration(tmp_path, "optics", "bench", calibration, datetime(2026, 1, 31, tzinfo=UTC))
        assert path.name == "2026-01-31-optics-bench.json"
        again = bench.layer(**SEQUENTIAL, calibration=str(path))
        assert again.state_id != layer.state_id
        layer.close()
        again.open()
        responses = measured(again, rows)
        good = responses.status == RowStatus.OK
        assert good.mean() > 0.5
        np.testing.assert_array_equal(responses.values[good], measured(bench.twin, rows).values[good])


def test_a_file_of_something_else_is_no_calibration(bench: OpticalBench, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="cannot be read"):
        bench.layer(calibration=str(tmp_path / "none.json"))
    other = Calibration({"gain": Measured(np.array(1.0), np.array(0.1), "1")})
    path = write_calibration(tmp_path, "other", "part", other, datetime(2026, 1, 31, tzinfo=UTC))
    with pytest.raises(SettingError, match="is not of an optical layer"):
        bench.layer(calibration=str(path))


def test_a_first_picture_that_is_broken_is_taken_again() -> None:
    plan = FaultPlan.model_validate({"seed": 5, "list": [{"kind": "failed", "rows": [1]}]})
    with optical_bench() as bench:
        assert bench.virtual.scene is not None
        bench.virtual.scene.faults = FaultSchedule(plan)
        layer, rows = bench.layer(**SEQUENTIAL), bench.drives(3)
        layer.open()
        assert bench.camera.counts["broken"] == 1
        np.testing.assert_array_equal(measured(layer, rows).values, measured(bench.twin, rows).values)


def test_no_fault_gives_a_wrong_pair() -> None:
    """Pictures that break, come late, repeat the one before or have too much light, in every order."""
    rates = {"failed": 0.06, "stale": 0.06, "overload": 0.06, "delay": 0.02}
    faults = [{"kind": kind, "rate": rate} for kind, rate in rates.items()]
    faults[-1]["delay"] = "150 ms"
    plan = FaultPlan.model_validate({"seed": 5, "list": faults})
    with optical_bench(camera={"timeout": "120 ms"}) as bench:
        layer, rows = bench.layer(**SEQUENTIAL), bench.drives(400)
        layer.open()
        assert bench.virtual.scene is not None
        bench.virtual.scene.faults = FaultSchedule(plan)
        responses = measured(layer, rows)
        seen = {RowStatus(status) for status in np.unique(responses.status).tolist()}
        assert seen == {RowStatus.OK, RowStatus.FAILED, RowStatus.STALE, RowStatus.OVERLOAD}
        good = responses.status == RowStatus.OK
        assert good.mean() > 0.5
        np.testing.assert_array_equal(responses.values[good], measured(bench.twin, rows).values[good])
        assert {"broken", "late"} <= set(bench.camera.counts)
