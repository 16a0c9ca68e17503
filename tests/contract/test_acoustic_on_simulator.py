"""The acoustic layer of the shipped rig file, on the simulated interface it names."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from labctl_drivers.layers import acoustic
from labctl_simulators.loopback import audio

from labctl.contract.audio import AudioInterface
from labctl.contract.clock import SimulatedClock
from labctl.contract.driver import BuildContext
from labctl.contract.layer import Drives, PhysicalLayer
from labctl.testing.layer_contract import LayerContract

RIG = Path(__file__).parents[2] / "configs" / "rigs" / "sim_acoustic.yaml"
FOREVER = float("inf")

pytestmark = pytest.mark.usefixtures("at_once")


def rig_file() -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the settings of the interface and of the layer."""
    rig = yaml.safe_load(RIG.read_text(encoding="utf-8"))
    interface, layer = rig["instruments"]["interface"], rig["layers"]["cavity"]
    assert (interface.pop("driver"), layer.pop("kind")) == ("audio.simulated", "acoustic")
    return interface, layer


def build(clock: SimulatedClock | None = None, **interface_changes: Any) -> tuple[AudioInterface, PhysicalLayer]:
    interface_settings, layer_settings = rig_file()
    clock = clock or SimulatedClock(FOREVER)
    settings = audio.DRIVER.settings.model_validate(interface_settings | interface_changes)
    interface = audio.DRIVER.build(settings, BuildContext("interface", RIG.parent, clock))
    assert isinstance(interface, AudioInterface)
    context = BuildContext("cavity", RIG.parent, clock)
    return interface, acoustic.DRIVER.build(
        acoustic.DRIVER.settings.model_validate(layer_settings), {"interface": interface}, context
    )


def measured(layer: PhysicalLayer, drives: Drives, ids: list[int]) -> np.ndarray:
    chunks = layer.measure(drives, np.array(ids), stop=threading.Event())
    return np.concatenate([chunk.values for chunk in chunks])


class TestAcousticOnSimulator(LayerContract):
    @pytest.fixture
    def layer(self) -> PhysicalLayer:
        return build()[1]


def test_a_row_is_the_same_to_the_bit_alone_in_sequence_and_after_a_restart() -> None:
    drives = np.random.default_rng(1).random((70, 80), dtype=np.float32)
    layer = build()[1]
    layer.open()
    together = measured(layer, drives, list(range(70)))
    layer.close()
    resumed = build()[1]
    resumed.open()
    np.testing.assert_array_equal(measured(resumed, drives[41:], list(range(41, 70))), together[41:])
    np.testing.assert_array_equal(measured(resumed, drives[7:8], [7])[0], together[7])


def test_the_same_row_measured_again_has_fresh_noise_and_the_same_drift() -> None:
    drives = np.full((3, 80), 0.5, dtype=np.float32)
    layer = build()[1]
    layer.open()
    first, again, third = measured(layer, drives, [5, 5, 5])
    assert (first != again).all()
    assert (again != third).all()
    np.testing.assert_allclose(first, again, atol=2e-5)  # noise of -80 dBFS, 32 dB less after correlation


def test_carry_over_into_a_silent_row_is_below_50_db() -> None:
    drives = np.zeros((2, 80), dtype=np.float32)
    drives[0] = 1.0
    layer = build(noise="-200 dBFS", drift=0.0)[1]
    layer.open()
    loud, silent = measured(layer, drives, [0, 1])
    assert silent.max() < 1e-8 * loud.max()  # the cavity has rung out; what is left is noise


def test_a_longer_reverberation_does_carry_over() -> None:
    drives = np.zeros((2, 80), dtype=np.float32)
    drives[0] = 1.0
    settings, _ = rig_file()
    layer = build(noise="-200 dBFS", drift=0.0, box=settings["box"] | {"absorption": 0.03})[1]
    layer.open()
    loud, silent = measured(layer, drives, [0, 1])
    assert 20 * np.log10(silent.max() / loud.max()) > -50


def test_a_pass_takes_the_laboratory_time_that_the_layer_states() -> None:
    clock = SimulatedClock(FOREVER)
    layer = build(clock)[1]
    layer.open()
    measured(layer, np.zeros((7, 80), dtype=np.float32), list(range(7)))
    assert clock.now_s() == pytest.approx(7 * layer.info.nominal_pass_s)
    assert layer.info.nominal_pass_s == pytest.approx(0.45)


def test_repeats_drift_by_a_tenth_of_a_percent_to_one_percent_in_six_rows() -> None:
    """As an independent bench saw over six 1-s repeats."""
    drives = np.full((14, 80), 0.5, dtype=np.float32)
    spans: list[float] = []
    for seed in range(6):
        layer = build(noise="-200 dBFS", seed=seed)[1]
        layer.open()
        values = measured(layer, drives, list(range(14)))
        spans.append(float((np.ptp(values, axis=0) / values.mean(axis=0)).mean()))
    assert 0.001 < np.mean(spans) < 0.01


def test_ten_media_are_ten_different_cavities() -> None:
    drive = np.full((1, 80), 0.5, dtype=np.float32)
    responses: list[np.ndarray] = []
    states: set[str] = set()
    for seed in range(10):
        layer = build(seed=seed)[1]
        layer.open()
        responses.append(measured(layer, drive, [0])[0])
        states.add(layer.state_id)
    assert len(states) == 10
    correlations = np.corrcoef(responses)[np.triu_indices(10, 1)]
    assert correlations.max() < 0.9


def test_nothing_clips_at_full_drive_in_any_medium() -> None:
    drive = np.ones((1, 80), dtype=np.float32)
    for seed in range(10):
        layer = build(seed=seed)[1]
        layer.open()
        (chunk,) = layer.measure(drive, np.array([0]), stop=threading.Event())
        assert chunk.status.tolist() == [0]


@pytest.mark.parametrize("readout", ["amplitude", "complex"])
def test_another_window_hears_what_a_fresh_burst_with_it_would_have_to_1e_5(readout: str) -> None:
    """Of a box that has settled: with another window the same sound comes to the same tones."""
    settings, _ = rig_file()
    quiet: dict[str, Any] = {"noise": "-200 dBFS", "drift": 0.0, "box": settings["box"] | {"absorption": 0.6}}
    drives = np.random.default_rng(3).random((4, 80), dtype=np.float32)
    sender: Any = build(**quiet)[1]
    interface = build(**quiet)[0]
    other = rig_file()[1] | {"settle": "110 ms", "readout": readout}
    context = BuildContext("cavity", RIG.parent, SimulatedClock(FOREVER))
    fresh: Any = acoustic.DRIVER.build(
        acoustic.DRIVER.settings.model_validate(other), {"interface": interface}, context
    )
    sender.open()
    sender.deliver_raw(wanted=True)
    (chunk,) = sender.measure(drives, np.arange(4), stop=threading.Event())
    values, status = fresh.rereading(sender)(chunk.raw, drives)
    interface.open()
    expected = measured(fresh, drives, list(range(4)))
    assert not status.any()
    assert np.abs(values - expected).max() < 1e-5 * np.abs(expected).max()
    assert np.abs(values - expected).max() > 0.0
