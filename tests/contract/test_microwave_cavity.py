"""The simulated microwave layer: its contract, with and without faults, and what it promises beyond that."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from labctl_simulators.loopback import microwave, microwave_cavity
from labctl_simulators.loopback.microwave import SimulatedMicrowaveLayer
from labctl_simulators.loopback.microwave_cavity import SimulatedCavity
from pydantic import ValidationError

from labctl.config.loading import load_rig
from labctl.contract.capabilities import Differentiable, ParameterSink
from labctl.contract.clock import SimulatedClock
from labctl.contract.disturbances import Bend, Disturbable, Move, Planned, TemperatureChange
from labctl.contract.driver import BuildContext
from labctl.contract.errors import DriveError, InstrumentError, SettingError
from labctl.contract.layer import Drives, LayerInfo, PhysicalLayer, RowStatus
from labctl.drift.baseline import Baseline
from labctl.drift.verdict import Kind, judge
from labctl.rig.rig import build_rig
from labctl.testing.layer_contract import LayerContract

N_ELEMENTS = 8
SMALL: dict[str, Any] = {
    "box": {"length": "0.6 m", "width": "0.45 m", "height": "20 mm", "quality": 200, "posts": 6},
    "elements": {"count": N_ELEMENTS},
    "seed": 1,
}
POINT: dict[str, Any] = {"cavity": "box", "frequencies": ["3.2 GHz", "3.3 GHz", "3.4 GHz"], "pass": "50 ms"}
QUIET: dict[str, Any] = {"vna": None, "drift": 0.0}
WARM = TemperatureChange.model_validate({"kind": "temperature", "temperature": "40 °C"})
MOVED = Move.model_validate({"kind": "moved", "distance": "3 cm"})
RIG = Path(__file__).parents[2] / "configs/rigs/sim_microwave.yaml"


def changed(settings: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return `settings` with `changes`, those of a section merged into it."""
    merged = dict(settings)
    for key, value in changes.items():
        merged[key] = (
            {**merged[key], **value} if isinstance(merged.get(key), dict) and isinstance(value, dict) else value
        )
    return merged


def build_cavity(**changes: Any) -> SimulatedCavity:
    settings = microwave_cavity.DRIVER.settings.model_validate(changed(SMALL, changes))
    context = BuildContext("box", Path(), SimulatedClock(float("inf")))
    cavity = microwave_cavity.DRIVER.build(settings, context)
    assert isinstance(cavity, SimulatedCavity)
    return cavity


def build_point(
    cavity: SimulatedCavity, clock: SimulatedClock | None = None, *, named: str = "box", **changes: Any
) -> PhysicalLayer:
    context = BuildContext("cavity", Path(), clock or SimulatedClock(float("inf")))
    settings = microwave.DRIVER.settings.model_validate({**changed(POINT, changes), "cavity": named})
    return microwave.DRIVER.build(settings, {"box": cavity}, context)


def build_any(clock: SimulatedClock | None = None, **changes: Any) -> PhysicalLayer:
    """Return an operating point of a cavity of its own; `changes` go to whichever of the two has such a setting."""
    of_point = set(POINT) | {"parameters", "readout", "faults", "driven"}
    point = {key: value for key, value in changes.items() if key in of_point}
    cavity = build_cavity(**{key: value for key, value in changes.items() if key not in of_point})
    return build_point(cavity, clock, **point)


def build(clock: SimulatedClock | None = None, **changes: Any) -> SimulatedMicrowaveLayer:
    layer = build_any(clock, **changes)
    assert isinstance(layer, SimulatedMicrowaveLayer)
    return layer


def opened(**changes: Any) -> SimulatedMicrowaveLayer:
    layer = build(**changes)
    layer.open()
    return layer


def bits(n_rows: int, n_elements: int = N_ELEMENTS) -> Drives:
    return np.random.default_rng(20).integers(0, 2, (n_rows, n_elements)).astype(np.float32)


def measured(layer: PhysicalLayer, drives: Drives, ids: list[int]) -> np.ndarray:
    chunks = layer.measure(drives, np.array(ids), stop=threading.Event())
    return np.concatenate([chunk.values for chunk in chunks])


class TestMicrowaveOneBit(LayerContract):
    @pytest.fixture
    def layer(self) -> PhysicalLayer:
        return build()

    def drives(self, info: LayerInfo, n_rows: int) -> Drives:
        return bits(n_rows, info.n_inputs)


class TestMicrowaveContinuousComplex(LayerContract):
    @pytest.fixture
    def layer(self) -> PhysicalLayer:
        return build(elements={"levels": "continuous"}, readout="complex")


class TestMicrowaveWithFaults(TestMicrowaveOneBit):
    """Faults away from the rows that the contract compares: 0 to 2."""

    @pytest.fixture
    def layer(self) -> PhysicalLayer:
        faults = [{"kind": kind, "rows": [3, 7, 90]} for kind in ("stale", "failed", "overload")]
        return build_any(faults={"list": [*faults, {"kind": "delay", "rows": [4], "delay": "2 s"}]})


class TestMicrowaveDisturbed(TestMicrowaveOneBit):
    """A medium that has changed twice is a medium like any other."""

    @pytest.fixture
    def layer(self) -> PhysicalLayer:
        cavity = build_cavity()
        cavity.disturb(Planned(0, WARM))
        cavity.disturb(Planned(0, MOVED))
        return build_point(cavity)


def test_the_rig_file_is_forty_bits_and_twenty_frequencies_at_three_operating_points() -> None:
    rig = build_rig(load_rig(RIG))
    layer = rig.layers["cavity"]
    assert rig.simulated
    assert {(each.info.n_inputs, each.info.n_outputs) for each in rig.layers.values()} == {(40, 20)}
    assert {each.info.resources for each in rig.layers.values()} == {frozenset({"box"})}
    assert len(rig.layers) == 3
    layer.open()
    values = measured(layer, bits(8, 40), list(range(8)))
    assert values.min() > 0
    assert values.max() < 1


def test_rows_are_the_same_to_the_bit_alone_and_together() -> None:
    together = measured(opened(), bits(60), list(range(60)))
    second = opened()
    for row in (59, 0, 17):
        np.testing.assert_array_equal(measured(second, bits(60)[row : row + 1], [row])[0], together[row])


def test_repeating_a_row_draws_new_noise_and_reopening_repeats_it() -> None:
    layer = opened()
    first, again = measured(layer, bits(1), [4]), measured(layer, bits(1), [4])
    assert (first != again).all()
    layer.close()
    layer.open()
    np.testing.assert_array_equal(measured(layer, bits(1), [4]), first)


def test_without_noise_it_is_exact_and_repeats() -> None:
    layer = opened(**QUIET)
    np.testing.assert_array_equal(measured(layer, bits(5), [1] * 5), layer.signals(bits(5)).astype(np.float32))


def test_noise_is_as_the_data_sheet_says() -> None:
    """A floor of -40 dB at 10 Hz grows to -30 dB at 100 Hz; a trace noise of 0.1 dB shrinks with the bandwidth."""
    rows = np.repeat(bits(1), 2000, axis=0)
    ids = list(range(2000))
    floor = {"noise_floor": "-40 dB", "trace_noise": "0 dB", "if_bandwidth": "100 Hz"}
    values = measured(opened(vna=floor, drift=0.0, readout="complex"), rows, ids)
    assert 2 * values.var(axis=0).mean() == pytest.approx(1e-3, rel=0.05)
    trace = {"noise_floor": "-300 dB", "trace_noise": "0.1 dB", "if_bandwidth": "70 kHz"}
    for bandwidth, share in (("70 kHz", 1.0), ("17.5 kHz", 0.5)):
        decibels = measured(opened(vna=trace | {"if_bandwidth": bandwidth}, drift=0.0, readout="decibel"), rows, ids)
        assert decibels.std(axis=0).mean() == pytest.approx(0.1 * share, rel=0.05)


def test_drift_is_a_slow_complex_gain_of_the_row_id_alone() -> None:
    layer = opened(drift=0.1, vna=None, readout="complex")
    truth = layer.signals(bits(1)).view(np.complex128)
    ids = list(range(0, 400_000, 200))
    gains = measured(layer, np.repeat(bits(1), len(ids), axis=0), ids).astype(np.float64).view(np.complex128) / truth
    np.testing.assert_allclose(gains, gains[:, :1].repeat(3, axis=1), atol=1e-5)
    assert np.sqrt(np.square(np.abs(gains - 1)).mean()) == pytest.approx(0.1, rel=0.15)
    neighbours = measured(layer, np.repeat(bits(1), 2, axis=0), [5000, 5001])
    assert np.abs(neighbours[0] - neighbours[1]).max() < 0.01 * np.abs(truth).max()


@pytest.mark.parametrize(("readout", "unit"), [("amplitude", "1"), ("power", "1"), ("decibel", "dB")])
def test_readouts_are_functions_of_the_same_s(readout: str, unit: str) -> None:
    s = opened(readout="complex", **QUIET).signals(bits(4)).view(np.complex128)
    layer = opened(readout=readout, **QUIET)
    expected = {"amplitude": np.abs(s), "power": np.abs(s) ** 2, "decibel": 20 * np.log10(np.abs(s))}[readout]
    np.testing.assert_allclose(layer.signals(bits(4)), expected, rtol=1e-9)
    assert {channel.unit for channel in layer.info.outputs} == {unit}


def test_outputs_are_named_by_parameter_frequency_and_part() -> None:
    info = build(readout="complex", parameters=["S21", "S11"]).info
    names = [channel.name for channel in info.outputs]
    assert names[:3] == ["S21@3.2GHz.re", "S21@3.2GHz.im", "S21@3.3GHz.re"]
    assert names[-1] == "S11@3.4GHz.im"


def test_several_parameters_are_those_read_one_by_one() -> None:
    names = ["S21", "S12", "S33", "S24"]
    together = opened(parameters=names, **QUIET).signals(bits(3))
    alone = [opened(parameters=[name], **QUIET).signals(bits(3)) for name in names]
    np.testing.assert_allclose(together, np.concatenate(alone, axis=1), rtol=1e-9)
    np.testing.assert_allclose(alone[0], alone[1], rtol=1e-9)


def test_a_sweep_is_its_frequencies() -> None:
    sweep = opened(frequencies={"start": "3.2 GHz", "stop": "3.4 GHz", "points": 3}, **QUIET)
    np.testing.assert_allclose(sweep.signals(bits(3)), opened(**QUIET).signals(bits(3)), rtol=1e-9)


@pytest.mark.parametrize("readout", ["amplitude", "complex", "power", "decibel"])
def test_the_gradient_is_that_of_finite_differences(readout: str) -> None:
    layer = opened(elements={"levels": "continuous"}, readout=readout, parameters=["S21", "S43"], **QUIET)
    assert isinstance(layer, Differentiable)
    rng = np.random.default_rng(4)
    drives = rng.uniform(0.2, 0.8, (2, N_ELEMENTS)).astype(np.float32)
    upstream = rng.standard_normal((2, layer.info.n_outputs))
    gradient = layer.differentiate(drives, upstream)
    step = np.float32(2**-10)
    for element in range(N_ELEMENTS):
        ahead, behind = drives.copy(), drives.copy()
        ahead[:, element] += step
        behind[:, element] -= step
        width = ahead[:, element].astype(np.float64) - behind[:, element]
        slope = (upstream * (layer.signals(ahead) - layer.signals(behind))).sum(axis=1) / width
        np.testing.assert_allclose(gradient[:, element], slope, atol=1e-3 * np.abs(gradient).max())


def test_on_off_elements_take_nothing_else() -> None:
    layer = opened()
    thirds = np.array([[0, 1 / 3, 2 / 3, 1, 1, 0, 1 / 3, 0]], dtype=np.float32)
    with pytest.raises(DriveError, match=r"row id 0, input element1: 0\.333333 is none of the 2 levels 0, 1$"):
        layer.measure(thirds, np.array([0]), stop=threading.Event())
    with pytest.raises(DriveError, match="none of the 2 levels"):
        layer.differentiate(thirds, np.ones((1, 3)))
    with pytest.raises(DriveError, match=r"upstream has shape \(2, 4\), not \(2, 3\)"):
        layer.differentiate(bits(2), np.ones((2, 4)))


def test_elements_with_more_levels_take_those_alone() -> None:
    layer, exact = opened(elements={"levels": 4}, **QUIET), opened(elements={"levels": "continuous"}, **QUIET)
    sent = np.array([[0, 1 / 3, 2 / 3, 1, 1, 0, 1 / 3, 2 / 3]], dtype=np.float32)
    np.testing.assert_allclose(layer.signals(sent), exact.signals(sent), rtol=1e-5)
    np.testing.assert_array_equal(measured(layer, sent, [0]), layer.signals(sent).astype(np.float32))
    np.testing.assert_array_equal(layer.signals(np.nextafter(sent, np.float32(0.5))), layer.signals(sent))
    upstream = np.ones((1, 3))
    np.testing.assert_allclose(layer.differentiate(sent, upstream), exact.differentiate(sent, upstream), rtol=1e-4)
    with pytest.raises(DriveError, match=r"none of the 4 levels 0, 0\.3333, 0\.6667, 1$"):
        layer.measure(np.full((2, N_ELEMENTS), 0.5, dtype=np.float32), np.array([7, 8]), stop=threading.Event())


def test_passes_take_their_time_and_faults_theirs() -> None:
    clock = SimulatedClock(float("inf"))
    layer = build_any(clock, faults={"list": [{"kind": "delay", "rows": [2], "delay": "3 s"}]})
    layer.open()
    measured(layer, bits(5), list(range(5)))
    assert clock.now_s() == pytest.approx(5 * 0.05 + 3.0)


def test_faults_mark_rows_and_leave_the_others_alone() -> None:
    layer = build_any(faults={"seed": 3, "list": [{"kind": "stale", "rate": 0.2}]})
    layer.open()
    chunks = list(layer.measure(bits(40), np.arange(40), stop=threading.Event()))
    status = np.concatenate([chunk.status for chunk in chunks])
    values = np.concatenate([chunk.values for chunk in chunks])
    good = status == RowStatus.OK
    assert 2 < np.count_nonzero(~good) < 20
    np.testing.assert_array_equal(values[good], measured(opened(), bits(40), list(range(40)))[good])


def test_closed_it_does_not_answer() -> None:
    with pytest.raises(InstrumentError, match="not open"):
        build().measure(bits(1), np.array([0]), stop=threading.Event())
    with pytest.raises(InstrumentError, match="not open during differentiate"):
        build().differentiate(bits(1), np.ones((1, 3)))


def test_state_names_the_physics_and_not_the_faults() -> None:
    state = build().state_id
    assert build_any(faults={"list": [{"kind": "stale", "rate": 0.1}]}).state_id == state
    assert len({state, build(seed=2).state_id, build(drift=0.0).state_id, build(elements={"levels": 4}).state_id}) == 4


def test_the_seed_draws_the_medium() -> None:
    first, second = build_cavity(seed=1).layout, build_cavity(seed=2).layout
    assert np.abs(first.antennas.points_m - second.antennas.points_m).max() > 0.01
    np.testing.assert_array_equal(first.elements.points_m, second.elements.points_m)


def test_operating_points_of_one_cavity_share_medium_elements_and_instrument() -> None:
    cavity = build_cavity(**QUIET)
    points = {name: build_point(cavity, parameters=[name]) for name in ("S21", "S31")}
    both = opened(parameters=["S21", "S31"], **QUIET)
    for point in points.values():
        point.open()
    alone = [measured(points[name], bits(3), [0, 1, 2]) for name in ("S21", "S31")]
    np.testing.assert_array_equal(np.concatenate(alone, axis=1), both.signals(bits(3)).astype(np.float32))
    assert {point.info.resources for point in points.values()} == {frozenset({"box"})}
    assert points["S21"].state_id != points["S31"].state_id
    assert cavity.solved(np.array([3.2e9, 3.3e9, 3.4e9])) is cavity.solved(np.array([3.2e9, 3.3e9, 3.4e9]))


def test_a_layer_needs_a_cavity_with_the_antennas_it_reads() -> None:
    with pytest.raises(SettingError, match=r"S51 needs more than the 4 antennas of 'box'") as caught:
        build(parameters=["S21", "S51"])
    assert caught.value.at == ("parameters", 1)
    with pytest.raises(
        SettingError, match="uses instrument 'bax', which the rig does not define; it has: box"
    ) as caught:
        build_point(build_cavity(), named="bax")
    assert caught.value.at == ("cavity",)


@pytest.mark.parametrize(
    ("changes", "at", "says"),
    [
        ({"frequencies": ["3 GHz", "0.3 GHz"]}, ("frequencies", 1), "below the box's first mode"),
        ({"frequencies": ["7.6 GHz"]}, ("frequencies", 0), "only below 7.495 GHz"),
        ({"frequencies": ["5.5 GHz"]}, ("frequencies", 0), "are no single dipoles at 5.5 GHz; up to 2.6 mm are"),
        ({"box": {"length": "9 m", "width": "8 m"}}, ("frequencies", 0), "make the box smaller"),
        ({"elements": {"count": 90}}, ("elements",), "room for 40 elements, not 90"),
        ({"elements": {"pitch": "1 mm"}}, ("elements",), "touch"),
        ({"antennas": {"radius": "80 mm"}}, ("antennas", "radius"), "touch"),
        ({"box": {"post_radius": "80 mm"}}, ("box", "post_radius"), "touch"),
        ({"box": {"posts": 500}}, ("box",), "no room for 504 posts and antennas"),
    ],
)
def test_physics_that_does_not_hold_is_one_clear_error(
    changes: dict[str, Any], at: tuple[str | int, ...], says: str
) -> None:
    with pytest.raises(SettingError) as caught:
        build(**changes)
    assert caught.value.at == at
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"elements": {"count": 0}}, "greater than or equal to 1"),
        ({"elements": {"levels": 1}}, "greater than or equal to 2"),
        ({"elements": {"quality": -5}}, "greater than 0"),
        ({"elements": {"coupling": -1}}, "greater than 0"),
        ({"elements": {"resonances": ["3 GHz", "3 GHz"]}}, "must differ"),
        ({"box": {"quality": -300}}, "greater than 1"),
        ({"box": {"posts": 10_000}}, "less than or equal to"),
        ({"parameters": ["S21", "S21"]}, "S21 is listed twice"),
        ({"parameters": ["T21"]}, "should match pattern"),
        ({"frequencies": []}, "at least one"),
        ({"frequencies": ["3 GHz", "3 GHz"]}, "listed twice"),
        ({"frequencies": {"start": "3 GHz", "stop": "2 GHz", "points": 5}}, "stop must lie above start"),
        ({"frequencies": [3.3e9]}, "has no unit"),
        ({"readout": "phase"}, "'amplitude', 'complex', 'power' or 'decibel'"),
        ({"vna": {"noise_floor": "3 dB"}}, "less than or equal to 0"),
        ({"pass": "0 s"}, "greater than 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError) as caught:
        build(**changes)
    assert says in str(caught.value)


def test_elements_that_no_drive_sets_are_parameters() -> None:
    driven, tuned = [1, 4], [element for element in range(N_ELEMENTS) if element not in (1, 4)]
    layer, whole = opened(driven=driven), opened()
    assert isinstance(layer, ParameterSink)
    assert not isinstance(whole, ParameterSink)
    assert [channel.name for channel in layer.info.inputs] == ["element1", "element4"]
    assert [channel.name for channel in layer.parameters] == [f"element{element}" for element in tuned]
    before = layer.state_id
    wanted = np.linspace(0.0, 1.0, len(tuned))
    written = layer.write_parameters(wanted)
    assert written.commanded.tolist() == wanted.tolist()
    assert written.applied.tolist() == np.rint(wanted).tolist()
    assert layer.written is written
    assert layer.state_id != before
    rows = bits(5)
    rows[:, tuned] = written.applied
    ids = list(range(5))
    np.testing.assert_array_equal(measured(layer, rows[:, driven], ids), measured(whole, rows, ids))
    upstream = np.ones((5, whole.info.n_outputs))
    slopes = whole.differentiate(rows, upstream)[:, driven]
    np.testing.assert_allclose(layer.differentiate(rows[:, driven], upstream), slopes, rtol=1e-12)
    with pytest.raises(DriveError, match=f"takes {len(tuned)} parameters from 0 to 1"):
        layer.write_parameters(wanted + 0.1)
    layer.close()
    with pytest.raises(InstrumentError, match="not open"):
        layer.write_parameters(wanted)


@pytest.mark.parametrize(("driven", "says"), [([0, N_ELEMENTS], "has elements 0 to"), ([2, 2], "listed twice")])
def test_elements_that_cannot_be_driven_are_refused(driven: list[int], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        build(driven=driven)


def test_told_to_be_disturbed_it_is_another_medium_from_that_row_on_and_for_good() -> None:
    cavity = build_cavity(**QUIET)
    layer = build_point(cavity)
    assert isinstance(cavity, Disturbable)
    layer.open()
    calm, state = measured(layer, bits(6), list(range(6))), layer.state_id
    for row, change in ((2, WARM), (4, MOVED)):
        cavity.check_disturbance(change)
        cavity.disturb(Planned(row, change))
    changed = measured(layer, bits(6), list(range(6)))
    np.testing.assert_array_equal(changed[:2], calm[:2])
    apart = np.abs(changed / calm - 1.0).mean(axis=1)
    assert 0.0 < apart[2:4].max() < apart[4:].min()
    assert layer.state_id == state
    layer.close()
    layer.open()
    np.testing.assert_array_equal(measured(layer, bits(6), list(range(6))), changed)


def test_what_cannot_befall_it_is_refused() -> None:
    for change, says in {
        Bend(kind="bent", deformation=1): "a metasurface cavity is not bent; expected temperature or moved",
        Move.model_validate({"kind": "moved", "distance": "3 m"}): "the first post has no room 3 m",
    }.items():
        with pytest.raises(SettingError, match=says):
            build_cavity().check_disturbance(change)
    with pytest.raises(SettingError, match="no post stands in the box"):
        build_cavity(box={"posts": 0}).check_disturbance(MOVED)


@pytest.mark.parametrize("change", [WARM, MOVED])
def test_the_guard_calls_it_re_mixed(change: TemperatureChange | Move) -> None:
    """Eight reference drives, read four times before and once after, as a run does with `drift`."""
    cavity = build_cavity(drift=0.0)
    layer = build_point(cavity, frequencies={"start": "3.1 GHz", "stop": "3.5 GHz", "points": 20})
    layer.open()
    references = bits(8)
    before = np.stack([measured(layer, references, list(range(8 * k, 8 * k + 8))) for k in range(5)])
    baseline = Baseline.of(before[:4], tolerance=0.005)
    assert judge(baseline, before[4]).kind == Kind.STEADY
    cavity.disturb(Planned(40, change))
    assert judge(baseline, measured(layer, references, list(range(40, 48)))).kind == Kind.REMIXED
