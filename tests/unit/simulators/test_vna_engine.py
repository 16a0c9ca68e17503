"""Ports, trigger and time of the virtual analysers, and what hangs on their ports."""

import threading

import numpy as np
import pytest
from labctl_simulators.instruments.vna.dut import PatternedCavity, Resonator
from labctl_simulators.instruments.vna.engine import Engine, Hardware
from labctl_simulators.loopback.microwave_cavity import SimulatedCavity
from labctl_simulators.loopback.microwave_settings import SimulatedCavitySettings
from labctl_simulators.physics.analyser import AnalyserNoise
from labctl_simulators.physics.metasurface import check_frequency

CAVITY = {
    "box": {"length": "300 mm", "width": "200 mm", "height": "15 mm", "quality": 300, "posts": 2},
    "elements": {"count": 6},
    "antennas": {"count": 2},
    "drift": 0,
    "seed": 3,
}


def engine(**options: object) -> Engine:
    return Engine(Resonator(), **({"start_hz": 3.2e9, "stop_hz": 3.4e9, "points": 11, "rf_on": True} | options))


def test_a_lossless_resonator_is_unitary() -> None:
    matrices = Resonator(own_quality=float("inf")).s_parameters(np.linspace(3e9, 3.5e9, 7))
    products = matrices @ matrices.conj().transpose(0, 2, 1)
    np.testing.assert_allclose(products, np.broadcast_to(np.eye(2), (7, 2, 2)), atol=1e-12)


def test_a_pattern_changes_the_cavity_within_its_limits() -> None:
    box = SimulatedCavity(SimulatedCavitySettings.model_validate(CAVITY), "box")
    cavity = PatternedCavity(box)
    frequencies_hz = np.array([3.2e9, 3.3e9])
    rest = cavity.s_parameters(frequencies_hz)
    assert rest.shape == (2, 2, 2)
    cavity.show(np.array([1, 0, 1, 0, 1, 0], dtype=np.uint8))
    shown = cavity.s_parameters(frequencies_hz)
    assert np.abs(shown - rest).max() > 1e-3
    cavity.show(np.zeros(6, dtype=np.uint8))
    np.testing.assert_array_equal(cavity.s_parameters(frequencies_hz), rest)
    for inside_hz in cavity.frequency_hz:
        check_frequency(box.layout, inside_hz)
    for outside_hz in (0.999 * cavity.frequency_hz[0], 1.001 * cavity.frequency_hz[1]):
        with pytest.raises(ValueError, match="GHz"):
            check_frequency(box.layout, outside_hz)
    for wrong in (np.zeros(5, dtype=np.uint8), np.full(6, 2, dtype=np.uint8)):
        with pytest.raises(ValueError, match="6 levels below 2"):
            cavity.show(wrong)


def test_nothing_is_received_without_power() -> None:
    dark = engine(rf_on=False)
    dark.begin()
    assert not dark.latest().any()


def test_data_appear_when_the_sweep_has_ended() -> None:
    slow = engine(time_scale=1.0, if_bandwidth_hz=550.0)
    slow.begin()
    assert slow.busy
    assert slow.latest().size == 0
    assert slow.wait(1.0)
    assert not slow.busy
    assert slow.latest().shape == (11, 2, 2)


def test_an_edge_that_nothing_waits_for_is_lost() -> None:
    armed = engine()
    armed.edge("rising")
    armed.begin(slope="rising")
    armed.edge("falling")
    assert armed.waits_for_edge
    assert not armed.wait(0.01)
    edge = threading.Timer(0.01, armed.edge, ("rising",))
    edge.start()
    assert armed.wait(10.0)
    edge.join()
    assert armed.sweeps_made == 1


def test_abort_gives_up_what_is_armed() -> None:
    armed = engine()
    armed.begin(slope="rising")
    armed.abort()
    assert armed.wait(0.0)
    assert armed.sweeps_made == 0


def test_an_overload_is_told_once() -> None:
    loud = engine(power_dbm=0.0, hardware=Hardware(receiver_limit_dbm=-3.0))
    loud.begin()
    assert loud.take_overload()
    assert not loud.take_overload()


def test_noise_belongs_to_seed_and_number_of_the_sweep() -> None:
    noise = AnalyserNoise(-80.0, 0.01, 1.0)

    def two_sweeps(seed: int) -> list[np.ndarray]:
        noisy = engine(noise=noise, seed=seed)
        sweeps = []
        for _ in range(2):
            noisy.begin()
            sweeps.append(noisy.latest())
        return sweeps

    first, again, other = two_sweeps(1), two_sweeps(1), two_sweeps(2)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first[0], first[1])
    assert not np.array_equal(first[0], other[0])


def test_averages_lower_the_noise() -> None:
    noise = AnalyserNoise(-60.0, 0.0, 1.0)
    clean = Resonator().s_parameters(np.linspace(3.2e9, 3.4e9, 201))

    def spread(averages: int) -> float:
        noisy = engine(noise=noise, points=201)
        noisy.begin(averages)
        return float(np.std(noisy.latest() - clean))

    assert spread(1) / spread(100) == pytest.approx(10.0, rel=0.1)
