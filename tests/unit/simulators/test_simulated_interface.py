from pathlib import Path
from typing import Any

import numpy as np
import pytest
from labctl_simulators.loopback.audio import DRIVER, SimulatedInterface
from pydantic import ValidationError

from labctl.contract.audio import AudioInterface, Burst
from labctl.contract.clock import SimulatedClock
from labctl.contract.disturbances import Bend, Planned, TemperatureChange
from labctl.contract.driver import BuildContext
from labctl.contract.errors import InstrumentError, SettingError

SETTINGS: dict[str, Any] = {
    "samplerate": "8 kHz",
    "speakers": {"left": {"max_level": "-6 dBFS"}, "right": {"max_level": "0 dBFS"}},
    "microphones": ["a", "b", "c"],
    "box": {"length": "60 cm", "width": "50 cm", "height": "40 cm", "absorption": 0.3, "temperature": "20 degC"},
    "seed": 5,
}


def build(**changes: Any) -> SimulatedInterface:
    context = BuildContext("card", Path(), SimulatedClock(float("inf")))
    interface = DRIVER.build(DRIVER.settings.model_validate(SETTINGS | changes), context)
    assert isinstance(interface, SimulatedInterface)
    return interface


def opened(**changes: Any) -> SimulatedInterface:
    interface = build(**changes)
    interface.open()
    return interface


def noise_burst(row_id: int, level: float = 0.1, n_samples: int = 2000) -> Burst:
    rng = np.random.default_rng(row_id)
    return Burst(row_id, rng.uniform(-level, level, size=(n_samples, 2)).astype(np.float32))


def played(interface: AudioInterface, *bursts: Burst) -> list[np.ndarray]:
    return [recording.samples for recording in interface.exchange(bursts)]


def test_it_is_an_audio_interface() -> None:
    interface = build()
    assert isinstance(interface, AudioInterface)
    assert [speaker.name for speaker in interface.outputs] == ["left", "right"]
    assert interface.outputs[0].max_level == pytest.approx(0.501, abs=1e-3)
    assert (interface.inputs, interface.samplerate_hz, interface.simulated) == (("a", "b", "c"), 8000.0, True)


def test_a_recording_has_the_length_and_id_of_its_burst_and_a_later_time() -> None:
    recordings = list(opened().exchange([noise_burst(8, n_samples=300), noise_burst(2, n_samples=700)]))
    assert [(recording.id, recording.samples.shape) for recording in recordings] == [(8, (300, 3)), (2, (700, 3))]
    assert all(recording.samples.dtype == np.float32 and not recording.xrun for recording in recordings)
    assert recordings[1].time_s - recordings[0].time_s == pytest.approx(700 / 8000, abs=1e-6)


def test_bursts_are_pulled_only_when_they_are_due() -> None:
    pulled: list[int] = []

    def bursts() -> Any:
        for row_id in range(5):
            pulled.append(row_id)
            yield noise_burst(row_id)

    recordings = opened().exchange(bursts())
    next(recordings)
    assert pulled == [0]


def test_silence_records_noise_of_the_stated_level() -> None:
    silence = Burst(0, np.zeros((20_000, 2), dtype=np.float32))
    (samples,) = played(opened(noise="-60 dBFS"), silence)
    np.testing.assert_allclose(samples.std(axis=0), 1e-3, rtol=0.03)


def test_noise_belongs_to_the_row_and_the_repeat_not_to_the_order() -> None:
    first, second, third = (noise_burst(row_id) for row_id in (1, 2, 3))
    forwards = opened()
    one, two, three = (played(forwards, burst)[0] for burst in (first, second, third))
    backwards = opened()
    np.testing.assert_array_equal(played(backwards, third)[0], three)
    np.testing.assert_array_equal(played(backwards, first)[0], one)
    again = played(backwards, first)[0]
    assert (again != one).mean() > 0.99
    np.testing.assert_array_equal(played(backwards, second)[0], two)


def test_reopening_starts_the_count_again_and_opening_twice_does_not() -> None:
    interface = opened()
    once = played(interface, noise_burst(1))[0]
    interface.open()
    twice = played(interface, noise_burst(1))[0]
    assert (once != twice).any()
    interface.close()
    interface.open()
    np.testing.assert_array_equal(played(interface, noise_burst(1))[0], once)


def test_converters_saturate_at_full_scale() -> None:
    loud = opened(box=SETTINGS["box"] | {"absorption": 0.005}, speakers={"left": {"max_level": "0 dBFS"}})
    samples_of = np.sign(np.sin(2 * np.pi * 429.0 * np.arange(8000) / 8000)).astype(np.float32)[:, None]
    (samples,) = played(loud, Burst(0, samples_of))
    assert np.abs(samples).max() == 1.0


def test_compression_bends_loud_bursts_and_spares_quiet_ones() -> None:
    quiet_settings = {"noise": "-200 dBFS", "drift": 0.0}
    linear, bent = opened(**quiet_settings), opened(**quiet_settings, compression={"saturation": "-6 dBFS"})
    for level, largest, smallest in ((0.5, 0.5, 0.01), (0.005, 1e-4, 0.0)):
        reference, compressed = played(linear, noise_burst(1, level))[0], played(bent, noise_burst(1, level))[0]
        change = np.abs(compressed - reference).max() / np.abs(reference).max()
        assert smallest <= change <= largest


def test_drift_is_slow_and_of_the_stated_size() -> None:
    interface = opened(noise="-200 dBFS", drift=0.01)
    burst = noise_burst(0, n_samples=800).samples
    recordings = played(interface, *(Burst(row_id, burst) for row_id in range(0, 15_000, 10)))
    gain = np.array([np.abs(samples).mean(axis=0) for samples in recordings[1:]])
    gain /= gain.mean(axis=0)
    np.testing.assert_allclose(gain.std(axis=0), 0.01, rtol=0.35)
    assert np.abs(np.diff(gain, axis=0)).max() < 0.006


@pytest.mark.parametrize(
    ("burst", "says"),
    [
        (Burst(4, np.zeros((10, 3), dtype=np.float32)), "shape"),
        (Burst(4, np.zeros(10, dtype=np.float32)), "shape"),
        (Burst(4, np.full((10, 2), 0.6, dtype=np.float32)), "speaker left was asked to play 0.6"),
        (Burst(4, np.full((10, 2), -0.6, dtype=np.float32)), "speaker left was asked to play 0.6"),
        (Burst(4, np.full((10, 2), np.nan, dtype=np.float32)), "nan"),
    ],
)
def test_a_burst_that_must_not_be_played_is_not(burst: Burst, says: str) -> None:
    interface = opened()
    recordings = interface.exchange([noise_burst(1), burst, noise_burst(2)])
    assert next(recordings).id == 1
    with pytest.raises(InstrumentError, match="card") as caught:
        next(recordings)
    assert says in str(caught.value)
    assert caught.value.command == "burst 4"


def test_closed_it_plays_nothing() -> None:
    with pytest.raises(InstrumentError, match="not open"):
        played(build(), noise_burst(0))


def test_state_names_the_settings() -> None:
    assert build().state_id == build().state_id
    assert build().state_id != build(seed=6).state_id
    assert build().state_id != build(noise="-79 dBFS").state_id


@pytest.mark.parametrize(
    "changes",
    [
        {"microphones": ["a", "a"]},
        {"microphones": []},
        {"speakers": {}},
        {"speakers": {"left": {"max_level": "1 dBFS"}}},
        {"speakers": {"left": {"max_level": -6}}},
        {"samplerate": 8000},
        {"seed": -1},
        {"drift": -0.1},
        {"box": SETTINGS["box"] | {"absorption": 1.0}},
        {"gain": 3},
    ],
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        build(**changes)


def test_a_box_too_small_for_its_transducers_is_an_input_error() -> None:
    with pytest.raises(SettingError, match="no room"):
        build(box=SETTINGS["box"] | {"length": "25 cm", "width": "25 cm", "height": "25 cm"})


def with_faults(*faults: dict[str, Any]) -> SimulatedInterface:
    return opened(faults={"list": list(faults)})


def test_a_knocked_microphone_is_clipped_and_the_others_are_not() -> None:
    bursts = [noise_burst(row) for row in range(3)]
    sound = played(opened(), *bursts)
    struck = played(with_faults({"kind": "clipped", "rows": [1]}), *bursts)
    assert np.count_nonzero(struck[1][:, 0] == 1.0) > 1000
    np.testing.assert_array_equal(struck[1][:, 1:], sound[1][:, 1:])
    np.testing.assert_array_equal([struck[0], struck[2]], [sound[0], sound[2]])


def test_lost_samples_are_an_xrun() -> None:
    recordings = list(with_faults({"kind": "xrun", "rows": [1]}).exchange([noise_burst(0), noise_burst(1)]))
    assert [recording.xrun for recording in recordings] == [False, True]
    assert not recordings[1].samples[1000:].any()


def test_a_late_burst_takes_longer() -> None:
    interface = with_faults({"kind": "delay", "rows": [1], "delay": "3 s"})
    first, second = interface.exchange([noise_burst(0), noise_burst(1)])
    assert second.time_s - first.time_s == pytest.approx(3.25, abs=1e-6)


def test_an_interface_drops_out_and_comes_back_when_opened_again() -> None:
    interface = with_faults({"kind": "error", "rows": [1]})
    received: list[int] = []
    with pytest.raises(InstrumentError, match=r"card: the interface dropped out, as was planned during burst 1"):
        received.extend(recording.id for recording in interface.exchange([noise_burst(0), noise_burst(1)]))
    assert received == [0]
    interface.close()
    interface.open()
    assert len(played(interface, noise_burst(1), noise_burst(2))) == 2


def test_faults_leave_the_physics_its_name() -> None:
    assert with_faults({"kind": "xrun", "rate": 0.1}).state_id == build().state_id


def test_a_sound_card_has_no_stale_frames() -> None:
    with pytest.raises(
        ValidationError, match="a sound card has no faults of kind stale; expected one of clipped, xrun"
    ):
        build(faults={"list": [{"kind": "xrun", "rate": 0.1}, {"kind": "stale", "rate": 0.1}]})


def test_told_to_be_disturbed_the_box_is_the_one_that_a_rig_file_plans() -> None:
    told, written = (
        opened(),
        opened(faults={"disturbances": [{"kind": "temperature", "row": 2, "temperature": "30 °C"}]}),
    )
    warm = TemperatureChange.model_validate({"kind": "temperature", "temperature": "30 °C"})
    told.check_disturbance(warm)
    told.disturb(Planned(2, warm))
    bursts = [noise_burst(row_id) for row_id in range(4)]
    for ours, theirs in zip(played(told, *bursts), played(written, *bursts), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert not np.array_equal(played(opened(), *bursts)[3], played(told, *bursts)[3])
    with pytest.raises(SettingError, match="a box of air is not bent"):
        told.check_disturbance(Bend(kind="bent", deformation=1))
