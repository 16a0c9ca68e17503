"""The optical layers of the shipped rig files. The fibre needs the data: LABCTL_DATA, by default ../shared/data."""

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from labctl_simulators.loopback import optics
from labctl_simulators.loopback.optics import OpticalLayer
from pydantic import ValidationError

from labctl.contract.capabilities import Differentiable, ParameterSink
from labctl.contract.clock import SimulatedClock
from labctl.contract.disturbances import Bend, Planned
from labctl.contract.driver import BuildContext
from labctl.contract.errors import DriveError, InputError, InstrumentError, SettingError
from labctl.contract.layer import Drives, Levels, PhysicalLayer, Responses, RowStatus
from labctl.testing.layer_contract import LayerContract

pytestmark = pytest.mark.usefixtures("at_once")

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("LABCTL_DATA", ROOT.parent / "shared" / "data"))
RIGS = ROOT / "configs" / "rigs"
FIBRE_FILE = DATA / "measured" / "mmf_tm_110modes.npz"

AMPLITUDE = {"modulation": {"kind": "amplitude"}}
PHASE = {"modulation": {"kind": "phase", "stroke_rad": 2.0}}
SMALL: dict[str, Any] = {
    "modulator": AMPLITUDE,
    "medium": {"kind": "gaussian", "inputs": 30, "outputs": 40, "seed": 0},
    "camera": {"bits": 12, "noise": 0.01, "dark_level": 10},
    "seed": 0,
    "pass": "60 ms",
}


def rig_layer(rig: str, name: str) -> dict[str, Any]:
    text = (RIGS / f"{rig}.yaml").read_text(encoding="utf-8").replace("${LABCTL_DATA}", str(DATA))
    settings: dict[str, Any] = yaml.safe_load(text)["layers"][name]
    assert settings.pop("kind") == "simulated-optics"
    return settings


def build(settings: dict[str, Any], clock: SimulatedClock | None = None, **changes: Any) -> OpticalLayer:
    context = BuildContext("bench", RIGS, clock or SimulatedClock(float("inf")))
    layer = optics.DRIVER.build(optics.DRIVER.settings.model_validate(settings | changes), {}, context)
    assert isinstance(layer, OpticalLayer)
    return layer


def small(**changes: Any) -> OpticalLayer:
    layer = build(SMALL, **changes)
    layer.open()
    return layer


def bench() -> OpticalLayer:
    layer = build(rig_layer("sim_optics", "bench"))
    layer.open()
    return layer


def random_drives(layer: PhysicalLayer, n_rows: int, seed: int = 0) -> Drives:
    return shown(layer, np.random.default_rng(seed).random((n_rows, layer.info.n_inputs), dtype=np.float32))


def shown(layer: PhysicalLayer, drives: Drives) -> Drives:
    return Levels(layer.info.inputs).nearest(drives)


def chunks(layer: PhysicalLayer, drives: Drives, ids: Any) -> list[Responses]:
    return list(layer.measure(drives, np.array(ids, dtype=np.int64), stop=threading.Event()))


def measured(layer: PhysicalLayer, drives: Drives, ids: Any = None) -> np.ndarray:
    ids = range(len(drives)) if ids is None else ids
    return np.concatenate([chunk.values for chunk in chunks(layer, drives, ids)])


class TestOpticalBench(LayerContract):
    @pytest.fixture
    def layer(self) -> PhysicalLayer:
        return build(rig_layer("sim_optics", "bench"))


class TestMeasuredFibre(LayerContract):
    @pytest.fixture
    def layer(self) -> PhysicalLayer:
        return build(rig_layer("sim_fibre", "fibre"))


class TestAgeingPhasePanel(LayerContract):
    @pytest.fixture
    def layer(self) -> PhysicalLayer:
        medium = {"kind": "unitary", "modes": 40, "seed": 3, "decorrelation": {"time": "1 h"}}
        return build(SMALL, modulator=PHASE, medium=medium)


# One row, the same bits


def test_a_row_is_the_same_to_the_bit_alone_shuffled_split_and_after_a_restart() -> None:
    layer, n_rows = bench(), 150
    drives = random_drives(layer, n_rows)
    ids = np.arange(n_rows) * 7 + 3
    together = measured(layer, drives, ids)
    order = np.random.default_rng(1).permutation(n_rows)
    np.testing.assert_array_equal(measured(bench(), drives[order], ids[order]), together[order])
    split = bench()
    for rows in (slice(0, 1), slice(1, 40), slice(40, 147), slice(147, 150)):
        np.testing.assert_array_equal(measured(split, drives[rows], ids[rows]), together[rows])
    np.testing.assert_array_equal(measured(bench(), drives[64:66], ids[64:66]), together[64:66])


@pytest.mark.parametrize("modulator", [AMPLITUDE, PHASE])
def test_so_it_is_with_drift_shot_noise_and_an_ageing_medium(modulator: dict[str, Any]) -> None:
    medium = SMALL["medium"] | {"decorrelation": {"time": "10 s"}}
    camera = {"bits": 12, "full_well": 20000, "read_noise": 5}

    def fresh() -> OpticalLayer:
        return small(modulator=modulator, medium=medium, camera=camera, drift=0.02)

    drives = random_drives(fresh(), 140)
    together = measured(fresh(), drives)
    order = np.random.default_rng(2).permutation(140)
    np.testing.assert_array_equal(measured(fresh(), drives[order], order), together[order])
    np.testing.assert_array_equal(measured(fresh(), drives[77:78], [77])[0], together[77])


def test_a_row_measured_again_has_fresh_noise_and_the_numbers_do_not_depend_on_what_was_abandoned() -> None:
    drive = np.full((3, 30), 0.6, dtype=np.float32)
    layer = small()
    first, again, third = measured(layer, drive, [5, 5, 5])
    assert (first != again).any()
    assert (again != third).any()
    abandoned = small()
    rows = abandoned.measure(np.repeat(drive, 30, axis=0), np.full(90, 9), stop=threading.Event())
    next(rows)
    del rows
    np.testing.assert_array_equal(measured(abandoned, drive, [5, 5, 5]), [first, again, third])


def test_rows_that_a_stop_prevented_were_not_measured() -> None:
    drives = np.full((60, 30), 0.6, dtype=np.float32)

    class StopAfterTen:
        asked = 0

        def is_set(self) -> bool:
            self.asked += 1
            return self.asked > 11  # once for the block, once for each row

    stopped, whole = small(), small()
    received = list(stopped.measure(drives, np.arange(60), stop=StopAfterTen()))
    assert np.concatenate([chunk.ids for chunk in received]).tolist() == list(range(10))
    expected = measured(whole, drives)
    np.testing.assert_array_equal(measured(stopped, drives[10:], range(10, 60)), expected[10:])


def test_noise_of_different_rows_seeds_and_repeats_is_independent() -> None:
    drives = np.full((400, 30), 0.6, dtype=np.float32)
    layer = small(camera={"bits": 12, "noise": 0.05})
    first, repeat = measured(layer, drives).astype(float), measured(layer, drives).astype(float)
    other = measured(small(camera={"bits": 12, "noise": 0.05}, seed=1), drives).astype(float)
    far = measured(layer, drives, np.arange(400) - 2**62).astype(float)
    expected = layer.signals(drives)
    residuals = [(each - expected).ravel() for each in (first, repeat, other, far)]
    correlations = np.corrcoef([*residuals, np.roll(residuals[0], 40)])
    assert np.abs(correlations[np.triu_indices(5, 1)]).max() < 0.03


def test_a_bias_adds_to_every_phase_modulo_one_wave() -> None:
    one_wave = {"modulation": {"kind": "phase", "stroke_rad": 2 * np.pi}}
    layer, plain = small(modulator=one_wave, tunable_bias=True), small(modulator=one_wave)
    assert isinstance(layer, ParameterSink)
    assert not isinstance(plain, ParameterSink)
    drives = random_drives(layer, 20, 3)
    np.testing.assert_array_equal(measured(layer, drives), measured(plain, drives))
    before = layer.state_id
    top = (layer.parameters[0].levels or 0) - 1
    bias = np.rint(np.random.default_rng(4).random(30) * top) / top
    written = layer.write_parameters(bias)
    assert layer.written is written
    assert layer.state_id != before
    np.testing.assert_allclose(written.applied, bias, atol=1e-6)
    shown = (np.rint(drives * top) + np.rint(bias * top)) % top / top
    np.testing.assert_allclose(layer.signals(drives), plain.signals(shown.astype(np.float32)), rtol=1e-4)
    with pytest.raises(DriveError, match="takes 30 parameters from 0 to 1"):
        layer.write_parameters(bias + 0.5)


def test_a_bias_needs_phases_of_one_wave() -> None:
    with pytest.raises(ValueError, match="phases add up"):
        small(modulator={"modulation": {"kind": "amplitude"}}, tunable_bias=True)


# Physics seen through the layer


@pytest.mark.parametrize("seed", range(10))
def test_responses_are_the_speckle_of_the_medium_at_the_stated_exposure(seed: int) -> None:
    medium = {"kind": "gaussian", "inputs": 300, "outputs": 400, "seed": seed}
    layer = small(medium=medium, modulator={"modulation": PHASE["modulation"] | {"stroke_rad": 2 * np.pi}})
    signals = layer.signals(random_drives(layer, 60, seed)) - 10
    assert signals.mean() == pytest.approx(0.125 * (4095 - 10), rel=0.04)
    assert signals.std() / signals.mean() == pytest.approx(1.0, abs=0.06)
    assert (signals > 2 * signals.mean()).mean() == pytest.approx(np.exp(-2), rel=0.1)


def test_typical_drives_give_the_stated_mean() -> None:
    for rms in (0.2, 0.8):
        layer = small(modulator={"modulation": {"kind": "amplitude", "typical_drive": rms}})
        drives = np.full((1, 30), rms, dtype=np.float32)
        means = [
            small(
                modulator={"modulation": {"kind": "amplitude", "typical_drive": rms}},
                medium=SMALL["medium"] | {"seed": seed},
            )
            .signals(drives)
            .mean()
            - 10
            for seed in range(20)
        ]
        assert np.mean(means) == pytest.approx(0.125 * (4095 - 10), rel=0.1)
        assert layer.info.outputs[0].high == 4095


def test_what_is_measured_is_what_the_physics_expects_plus_the_stated_noise() -> None:
    for modulator in (AMPLITUDE, PHASE):
        layer = small(modulator=modulator | {"levels": 65536})
        drives = shown(layer, 0.7 * random_drives(layer, 2000))
        residual = measured(layer, drives) - layer.signals(drives)
        assert residual.mean() == pytest.approx(0.0, abs=0.1)
        assert residual.std() == pytest.approx(np.hypot(0.01 * 0.125 * 4085, np.sqrt(1 / 12)), rel=0.02)


def test_fields_superpose_behind_the_panel() -> None:
    """With amplitudes a and b on two inputs, I(a, b) = I_1 a² + I_2 b² + 2 a b Re(E_1* E_2): three frames fix all."""
    layer = small(modulator=AMPLITUDE | {"levels": 5}, camera={"bits": 12})
    drives = np.zeros((4, 30), dtype=np.float32)
    drives[:, 3], drives[:, 8] = [1, 0, 1, 0.5], [0, 1, 1, 0.25]
    one, two, both, mixed = layer.signals(drives)
    np.testing.assert_allclose(mixed, one / 4 + two / 16 + 0.125 * (both - one - two), atol=1e-9)


def test_a_lossless_medium_gives_back_the_power_sent_in() -> None:
    medium = {"kind": "unitary", "modes": 40, "seed": 1}
    modulator = {"modulation": {"kind": "amplitude", "typical_drive": 1.0}}
    layer = small(medium=medium, modulator=modulator, camera={"bits": 12, "exposure": 0.1})
    drives = shown(layer, 0.3 * random_drives(layer, 20))
    power = np.square(drives.astype(float)).sum(axis=1)
    np.testing.assert_allclose(layer.signals(drives).sum(axis=1), 0.1 * 4095 * power, rtol=1e-5)


def test_saturation_is_an_overload() -> None:
    layer = small(camera={"bits": 8, "exposure": 0.3, "max_saturated": 0.2})
    dim, bright = 0.2 * np.ones((1, 30), dtype=np.float32), np.ones((1, 30), dtype=np.float32)
    (chunk,) = chunks(layer, np.concatenate([dim, bright]), [0, 1])
    assert chunk.status.tolist() == [RowStatus.OK, RowStatus.OVERLOAD]
    assert (chunk.values[1] == 255).mean() > 0.2


def test_bright_images_are_no_overload_on_the_shipped_bench() -> None:
    """More pixels are lit than in the brightest handwritten digits."""
    layer = bench()
    images = (np.random.default_rng(0).random((100, 676)) < 0.45).astype(np.float32)
    assert all((chunk.status == RowStatus.OK).all() for chunk in chunks(layer, images, range(100)))


def test_the_light_drifts_slowly_and_in_all_pixels_alike() -> None:
    layer = small(drift=0.05, camera={"bits": 12, "exposure": 0.125})
    drives = np.full((2000, 30), 0.6, dtype=np.float32)
    gains = (measured(layer, drives) / layer.signals(drives)).astype(float)
    bright = layer.signals(drives)[0] > 400
    gains = gains[:, bright]
    np.testing.assert_allclose(gains, gains.mean(axis=1, keepdims=True) * np.ones(gains.shape), atol=0.005)
    assert 0.01 < gains.mean(axis=1).std() < 0.1
    assert np.abs(np.diff(gains.mean(axis=1))).max() < 0.003


@pytest.mark.parametrize("seed", range(10))
def test_an_ageing_medium_loses_correlation_as_stated(seed: int) -> None:
    """Intensities of circular Gaussian fields correlate by the square of the fields' correlation (Siegert)."""
    medium = {"kind": "gaussian", "inputs": 200, "outputs": 3000, "seed": seed, "decorrelation": {"time": "600 s"}}
    layer = small(medium=medium, camera={"bits": 12})
    drives = np.repeat(shown(layer, 0.6 * random_drives(layer, 1)), 4, axis=0)
    values = measured(layer, drives, [0, 2500, 5000, 200_000]).astype(float)
    correlations = np.corrcoef(values)[0]
    expected = np.exp(-2 * np.array([0, 150, 300, 12_000]) / 600)
    np.testing.assert_allclose(correlations, expected, atol=0.08)


def test_dead_pixels_and_the_zero_order_reach_the_camera() -> None:
    dark = np.zeros((1, 30), dtype=np.float32)
    assert measured(small(camera={"bits": 12}), dark).max() == 0
    assert measured(small(camera={"bits": 12}, modulator=AMPLITUDE | {"fill": 0.8}), dark).max() > 0
    whole, holed = small(), small(modulator=AMPLITUDE | {"dead": 0.3})
    pushed = np.eye(30, dtype=np.float32)
    assert (whole.signals(pushed).sum(axis=1) > 40 * 10).all()
    alive = holed.signals(pushed).sum(axis=1) > 40 * 10 + 1
    assert 0 < alive.sum() < 30


@pytest.mark.parametrize("modulator", [AMPLITUDE, PHASE, PHASE | {"fill": 0.9, "dead": 0.2}])
@pytest.mark.parametrize("seed", range(10))
def test_the_gradient_is_that_of_the_physics(modulator: dict[str, Any], seed: int) -> None:
    fine = modulator | {"levels": 2**15 + 1}
    layer = small(modulator=fine, medium=SMALL["medium"] | {"seed": seed}, camera={"bits": 12, "exposure": 0.02})
    assert isinstance(layer, Differentiable)
    rng = np.random.default_rng(seed)
    drives = shown(layer, rng.uniform(0.2, 0.8, size=(3, 30)).astype(np.float32))
    upstream = rng.standard_normal((3, 40))
    step = np.float32(2**-10)
    numerical = np.empty((3, 30))
    for k in range(30):
        moved = np.zeros_like(drives)
        moved[:, k] = step
        difference = layer.signals(drives + moved) - layer.signals(drives - moved)
        numerical[:, k] = (upstream * difference).sum(axis=1) / (2 * float(step))
    gradient = layer.differentiate(drives, upstream)
    np.testing.assert_allclose(gradient, numerical, rtol=0, atol=1e-4 * np.abs(numerical).max())


def test_saturated_pixels_have_no_gradient() -> None:
    layer = small(camera={"bits": 8, "exposure": 0.3})
    drives = np.full((1, 30), 0.8, dtype=np.float32)
    saturated = layer.signals(drives)[0] == 255
    assert 0 < saturated.sum() < 40
    for pixel, dull in enumerate(saturated):
        gradient = layer.differentiate(drives, np.eye(40)[pixel : pixel + 1])
        assert (gradient == 0).all() == dull


def test_a_gradient_of_the_wrong_shape_is_refused() -> None:
    with pytest.raises(DriveError, match=r"upstream has shape \(2, 30\)"):
        small().differentiate(np.zeros((2, 30), np.float32), np.zeros((2, 30)))
    with pytest.raises(DriveError, match="outside"):
        small().differentiate(np.full((2, 30), 2, np.float32), np.zeros((2, 40)))


# What the layer says and how long it takes


def test_the_layer_describes_bench_and_camera() -> None:
    info = bench().info
    assert (info.n_inputs, info.n_outputs, info.response_dtype, info.simulated) == (676, 676, "uint8", True)
    assert info.inputs[0].unit == "of full amplitude"
    assert (info.outputs[0].unit, info.outputs[0].low, info.outputs[0].high) == ("counts", 0, 255)
    assert small(modulator=PHASE).info.inputs[0].unit == "of 2 rad"
    assert small().info.response_dtype == "uint16"


def test_a_pass_takes_the_laboratory_time_that_the_layer_states() -> None:
    clock = SimulatedClock(float("inf"))
    layer = build(SMALL, clock)
    layer.open()
    received = chunks(layer, random_drives(layer, 100), range(100))
    assert clock.now_s() == pytest.approx(100 * 0.06)
    times = np.concatenate([chunk.time_s for chunk in received])
    np.testing.assert_allclose(np.diff(times), 0.06, atol=1e-5)


def test_a_closed_layer_does_not_measure() -> None:
    with pytest.raises(InstrumentError, match="not open"):
        build(SMALL).measure(np.zeros((1, 30), np.float32), np.array([0]), stop=threading.Event())


def test_anything_that_changes_the_physics_changes_the_state() -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"seed": 1},
        {"drift": 0.1},
        {"medium": SMALL["medium"] | {"seed": 1}},
        {"modulator": PHASE},
        {"camera": {"bits": 8}},
    ]
    assert len({build(SMALL, **change).state_id for change in changes}) == len(changes)
    assert build(SMALL).state_id == build(SMALL).state_id


# The measured fibre


def fibre(**medium: Any) -> OpticalLayer:
    settings = rig_layer("sim_fibre", "fibre")
    layer = build(settings, medium=settings["medium"] | medium, camera={"bits": 12, "exposure": 0.02})
    layer.open()
    return layer


def test_the_fibre_is_the_measured_one_at_every_deformation() -> None:
    """From intensities alone the matrix comes back up to a phase per output; correlations with rest are the file's."""
    with np.load(FIBRE_FILE) as archive:
        matrices = archive["tm"].astype(np.complex128)
    stated = [1, 0.987, 0.975, 0.987, 0.984, 0.850, 0.714, 0.415, 0.142]
    rest = matrices[0]
    drives = np.zeros((3, 110), dtype=np.float32)
    drives[0, 0] = drives[1, 60] = drives[2, 0] = drives[2, 60] = 1.0
    for deformation, correlation in enumerate(stated):
        matrix = matrices[deformation]
        overlap = abs(np.vdot(rest, matrix)) / (np.linalg.norm(rest) * np.linalg.norm(matrix))
        assert overlap == pytest.approx(correlation, abs=0.001)
        signals = fibre(deformation=deformation).signals(drives)
        expected = np.abs(np.array([matrix[:, 0], matrix[:, 60], matrix[:, 0] + matrix[:, 60]])) ** 2
        np.testing.assert_allclose(signals / signals.sum(), expected / expected.sum(), atol=1e-6)


def test_deformations_differ_in_their_state() -> None:
    assert len({fibre(deformation=k).state_id for k in range(9)}) == 9


def test_bent_from_a_row_on_it_is_the_fibre_of_the_other_deformation() -> None:
    """Exposed as at rest: nobody has told the camera."""
    straight, bent, other = fibre(), fibre(), fibre(deformation=6)
    change = Bend(kind="bent", deformation=6)
    bent.check_disturbance(change)
    bent.disturb(Planned(3, change))
    drives = np.random.default_rng(0).integers(0, 256, (5, 110)).astype(np.float32) / np.float32(255)
    before, after, there = (measured(layer, drives).astype(np.float64) for layer in (straight, bent, other))
    np.testing.assert_array_equal(after[:3], before[:3])
    own, others = (np.corrcoef(after[3:].ravel(), rival[3:].ravel())[0, 1] for rival in (before, there))
    assert others > 0.99 > own
    assert bent.state_id == straight.state_id
    with pytest.raises(SettingError, match="holds 9 deformations and there is no number 9"):
        bent.check_disturbance(Bend(kind="bent", deformation=9))
    with pytest.raises(SettingError, match="knows no change of its medium of kind bent"):
        small().check_disturbance(change)


def test_the_same_matrix_in_another_folder_is_the_same_state(tmp_path: Path) -> None:
    copy = tmp_path / "copy.npz"
    copy.write_bytes(FIBRE_FILE.read_bytes())
    assert fibre(path=copy).state_id == fibre().state_id


# Bad input


def from_file(tmp_path: Path, matrix: np.ndarray, **medium: Any) -> OpticalLayer:
    np.savez(tmp_path / "medium.npz", tm=matrix)
    return build(SMALL, medium={"kind": "measured", "path": tmp_path / "medium.npz"} | medium)


def with_nan() -> np.ndarray:
    matrix = np.ones((4, 4), dtype=np.complex64)
    matrix[2, 1] = np.nan
    return matrix


@pytest.mark.parametrize(
    ("matrix", "medium", "message"),
    [
        (with_nan(), {}, "not a finite number at output 2, input 1"),
        (np.ones((3, 2, 2)), {"deformation": 3}, r"holds 3 deformations and there is no number 3; write .* 0` to 2"),
        (np.ones((3, 2, 2)), {"deformation": -1}, "there is no number -1"),
        (np.ones((3, 2, 2)), {}, "none is chosen"),
        (np.ones((2, 2)), {"deformation": 0}, "single matrix; leave out"),
        (np.ones(5), {}, r"must be a matrix .* not float64 of shape \(5,\)"),
        (np.zeros((0, 5)), {}, r"of shape \(0, 5\)"),
        (np.array([["a"]]), {}, "must be a matrix"),
        (np.zeros((4, 4)), {}, "zero everywhere"),
        (np.ones((2, 2)), {"key": "matrix"}, "no array 'matrix'; the file holds tm"),
        (np.eye(3) * 0.9, {"declared": ["unitary"]}, "declared unitary, but .* is 0.19, more than 0.01"),
        (np.eye(3) * 1.2, {"declared": ["passive"]}, "declared passive, but its largest singular value is 1.2,"),
        (np.triu(np.ones((3, 3))), {"declared": ["reciprocal"]}, "declared reciprocal, but .* is 1, more"),
        (np.ones((2, 3)), {"declared": ["reciprocal"]}, "declared reciprocal, but it is not even square"),
    ],
)
def test_a_matrix_that_cannot_be_used_is_refused_when_built(
    tmp_path: Path, matrix: np.ndarray, medium: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message) as refusal:
        from_file(tmp_path, matrix, **medium)
    assert isinstance(refusal.value, SettingError)
    assert refusal.value.at[0] == "medium"
    assert "medium.npz" in str(refusal.value)


def test_a_true_declaration_is_accepted(tmp_path: Path) -> None:
    swap = np.array([[0, 1j], [1j, 0]])
    layer = from_file(tmp_path, swap, declared=["passive", "reciprocal", "unitary"])
    assert (layer.info.n_inputs, layer.info.n_outputs) == (2, 2)


def test_the_fibre_declared_what_it_is_not_is_refused() -> None:
    for wrong in ("unitary", "reciprocal"):
        with pytest.raises(InputError, match=f"declared {wrong}"):
            fibre(declared=[wrong])


def test_a_missing_or_broken_file_is_refused(tmp_path: Path) -> None:
    broken = tmp_path / "broken.npz"
    broken.write_bytes(FIBRE_FILE.read_bytes()[:5000])
    for path, message in (
        (tmp_path / "none.npz", "no such file"),
        (broken, "not a readable"),
        (tmp_path, "not a read"),
    ):
        with pytest.raises(InputError, match=message):
            build(SMALL, medium={"kind": "measured", "path": path})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"camera": {"bits": 9}}, "8, 10 or 12"),
        ({"camera": {"read_noise": 3}}, "state the full_well"),
        ({"camera": {"gain": 2}}, "state the full_well"),
        ({"camera": {"bits": 8, "dark_level": 200}}, "leaves too little"),
        ({"camera": {"exposure": 0.5}}, "saturates 13.5% of a speckle pattern"),
        ({"modulator": {"modulation": {"kind": "phase", "stroke_rad": 20}}}, "less than or equal"),
        ({"modulator": AMPLITUDE | {"levels": 1}}, "greater than or equal to 2"),
        ({"medium": {"kind": "measured", "path": "x", "decorrelation": {"time": "1 h"}}}, "Extra inputs"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        build(SMALL, **changes)


def test_drives_beyond_the_panel_are_refused_and_not_clipped() -> None:
    layer = small()
    drives = np.full((2, 30), 0.6, dtype=np.float32)
    drives[1, 4] = 1.01
    with pytest.raises(DriveError, match=r"row id 8, input x4: 1\.01 is outside 0 to 1"):
        layer.measure(drives, np.array([7, 8]), stop=threading.Event())


def test_drives_between_levels_are_refused_and_bytes_are_levels() -> None:
    layer = small()
    images = (np.arange(30 * 256).reshape(256, 30) % 256).astype(np.uint8)
    for scaled in (images / 255, images.astype(np.float32) / 255, images.astype(np.float32) * np.float32(1 / 255)):
        assert measured(layer, scaled.astype(np.float32)).shape == (256, 40)
    between = np.full((1, 30), 0.5, dtype=np.float32)
    with pytest.raises(DriveError, match=r"input x0: 0\.5 is none of the 256 levels 0, 0\.003922, .*, \.\.\.$"):
        layer.measure(between, np.array([7]), stop=threading.Event())
