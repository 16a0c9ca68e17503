"""The acoustic layer on a wire: an interface that returns at each microphone what one speaker plays."""

import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from labctl_drivers.layers.acoustic import DRIVER

from labctl.contract.audio import Burst, Recording, SpeakerOutput
from labctl.contract.clock import WallClock
from labctl.contract.driver import BuildContext
from labctl.contract.errors import DriveError, InputError, InstrumentError, SettingError
from labctl.contract.layer import PhysicalLayer, Responses, RowStatus

SETTINGS: dict[str, Any] = {
    "interface": "wire",
    "tones": ["200 Hz", "450 Hz", "710 Hz"],
    "settle": "10 ms",
    "window": "100 ms",
    "gap": "10 ms",
}


class Wire:
    """A loopback cable. `gain` may drive it into clipping; rows in `lost` have an xrun, `breaks_at` kills it."""

    name = "wire"
    samplerate_hz = 8000.0
    outputs = (SpeakerOutput("left", 0.5), SpeakerOutput("right", 0.25))
    inputs = ("a", "b")
    simulated = True
    state_id = "copper"

    def __init__(self, *, gain: float = 1.0, lost: int = -1, breaks_at: int = -1, pass_s: float = 0.0) -> None:
        self.gain, self.lost, self.breaks_at, self.pass_s = gain, lost, breaks_at, pass_s
        self.played: list[Burst] = []
        self.calls: list[str] = []

    def open(self) -> None:
        self.calls.append("open")

    def exchange(self, bursts: Iterable[Burst]) -> Iterator[Recording]:
        for burst in bursts:
            if burst.id == self.breaks_at:
                raise InstrumentError(self.name, "the cable came off")
            self.played.append(burst)
            time.sleep(self.pass_s)
            samples = np.clip(self.gain * burst.samples, -1.0, 1.0)
            yield Recording(burst.id, samples, time.time(), xrun=burst.id == self.lost)

    def make_safe(self) -> None:
        self.calls.append("make_safe")

    def close(self) -> None:
        self.calls.append("close")


def build(wire: Wire, **changes: Any) -> PhysicalLayer:
    settings = DRIVER.settings.model_validate(SETTINGS | changes)
    return DRIVER.build(settings, {"wire": wire}, BuildContext("bench", Path(), WallClock()))


def measured(layer: PhysicalLayer, drives: np.ndarray) -> list[Responses]:
    return list(layer.measure(drives.astype(np.float32), np.arange(len(drives)), stop=threading.Event()))


def test_channels_are_speaker_major() -> None:
    info = build(Wire()).info
    assert [channel.name for channel in info.inputs] == [
        f"{speaker} {tone} Hz" for speaker in ("left", "right") for tone in (200, 450, 710)
    ]
    assert [channel.name for channel in info.outputs[:4]] == ["a 200 Hz", "a 450 Hz", "a 710 Hz", "b 200 Hz"]
    assert info.nominal_pass_s == pytest.approx(0.12)
    assert info.resources == {"wire"}


@pytest.mark.usefixtures("at_once")
def test_amplitude_is_the_drive_times_the_speakers_share() -> None:
    drives = np.random.default_rng(0).random((5, 6))
    (chunk,) = measured(build(Wire()), drives)
    share = np.repeat([0.5 / 3, 0.25 / 3], 3)
    np.testing.assert_allclose(chunk.values, drives * share, atol=1e-6)


def test_power_is_its_square_and_complex_has_two_values_per_tone() -> None:
    drives = np.random.default_rng(0).random((2, 6))
    amplitude = measured(build(Wire()), drives)[0].values
    np.testing.assert_allclose(measured(build(Wire(), readout="power"), drives)[0].values, amplitude**2, atol=1e-6)
    layer = build(Wire(gain=-1.0), readout="complex")
    pairs = measured(layer, drives)[0].values.reshape(2, 6, 2)
    np.testing.assert_allclose(pairs[..., 0], -amplitude, atol=1e-6)
    np.testing.assert_allclose(pairs[..., 1], 0.0, atol=1e-6)
    assert [channel.name for channel in layer.info.outputs[:2]] == ["a 200 Hz re", "a 200 Hz im"]


def test_full_drive_stays_within_every_speakers_limit() -> None:
    wire = Wire()
    measured(build(wire, phases="zero"), np.ones((1, 6)))
    peaks = np.abs(wire.played[0].samples).max(axis=0)
    assert (peaks <= np.array([0.5, 0.25]) * (1 + 1e-6)).all()
    assert (peaks > 0.8 * np.array([0.5, 0.25])).all()


def test_level_lowers_every_speaker_and_cannot_raise_one() -> None:
    drives = np.ones((1, 6))
    full, lowered = (measured(build(Wire(), level=level), drives)[0].values for level in ("0 dB", "-20 dB"))
    np.testing.assert_allclose(lowered, full / 10, rtol=1e-5)
    with pytest.raises(ValueError, match="less than or equal to 0"):
        build(Wire(), level="1 dB")


@pytest.mark.usefixtures("at_once")
def test_clipped_and_broken_rows_say_so() -> None:
    drives = np.array([[0.1] * 6, [1.0] * 6, [0.1] * 6])
    (chunk,) = measured(build(Wire(gain=3.0, lost=2), phases="zero"), drives)
    assert chunk.status.tolist() == [RowStatus.OK, RowStatus.CLIPPED, RowStatus.XRUN]


@pytest.mark.usefixtures("at_once")
def test_clipping_outside_the_window_does_not_count() -> None:
    class Clicking(Wire):
        def exchange(self, bursts: Iterable[Burst]) -> Iterator[Recording]:
            for recording in super().exchange(bursts):
                recording.samples[0] = recording.samples[-1] = 1.0
                yield recording

    (chunk,) = measured(build(Clicking()), np.ones((1, 6)))
    assert chunk.status.tolist() == [RowStatus.OK]


def test_rows_measured_before_a_failure_are_yielded_first() -> None:
    layer = build(Wire(breaks_at=3))
    rows = layer.measure(np.zeros((6, 6), dtype=np.float32), np.arange(6), stop=threading.Event())
    assert next(rows).ids.tolist() == [0, 1, 2]
    with pytest.raises(InstrumentError, match="the cable came off"):
        next(rows)


def test_a_slow_bench_yields_every_row_as_it_comes_and_a_fast_one_groups() -> None:
    assert [len(chunk.ids) for chunk in measured(build(Wire(pass_s=0.06)), np.zeros((3, 6)))] == [1, 1, 1]
    assert max(len(chunk.ids) for chunk in measured(build(Wire()), np.zeros((200, 6)))) > 1


def test_a_bad_drive_plays_nothing() -> None:
    wire = Wire()
    with pytest.raises(DriveError, match=r"right 710 Hz: 1\.5"):
        measured(build(wire), np.array([[0.0] * 6, [0.0] * 5 + [1.5]]))
    assert wire.played == []


def test_life_is_the_interfaces() -> None:
    wire = Wire()
    layer = build(wire)
    assert wire.calls == []
    layer.open()
    layer.make_safe()
    layer.close()
    assert wire.calls == ["open", "make_safe", "close"]


def test_state_names_design_and_interface() -> None:
    wire = Wire()
    state = build(wire).state_id
    assert build(Wire()).state_id == state
    assert build(wire, averages=2).state_id != state
    wire.state_id = "tin"
    assert build(wire).state_id != state


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"tones": ["331 Hz"]}, "tone 331 Hz has 33.1 periods"),
        ({"tones": ["4 kHz"]}, "Nyquist"),
        ({"tones": ["200 Hz", "0.2 kHz"]}, "listed twice"),
        ({"settle": "10.05 ms"}, "settle of 10.05 ms is 80.4 samples"),
        ({"gap": "1 ms"}, "gap of 1 ms is too short"),
        ({"interface": "card"}, "uses instrument 'card'"),
    ],
)
def test_what_cannot_work_is_an_input_error_at_build(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError) as caught:
        build(Wire(), **changes)
    assert says in str(caught.value)


LISTENED = {"settle": "60 ms", "window": "100 ms"}
LATER = {"settle": "80 ms", "window": "80 ms"}


def raw_layer(wire: Wire, **changes: Any) -> Any:
    """Return a layer whose tones have whole periods in windows of 100, 80 and 20 ms."""
    return build(wire, **{"tones": ["200 Hz", "450 Hz", "700 Hz"], **LISTENED, **changes})


class LateWire(Wire):
    """Its recordings come some samples late, a fraction of one among them, and as a sound card lays them out."""

    def exchange(self, bursts: Iterable[Burst]) -> Iterator[Recording]:
        for recording in super().exchange(bursts):
            samples = np.ascontiguousarray(recording.samples)
            yield Recording(recording.id, samples, recording.time_s, recording.xrun, late=0.3 * (1 + recording.id))


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("readout", ["amplitude", "complex", "power"])
@pytest.mark.parametrize(
    "later", [LATER, {"settle": "120 ms", "window": "20 ms"}, {"settle": "20 ms", "window": "20 ms", "averages": 7}]
)
def test_another_window_hears_what_a_burst_with_that_window_would_have(later: dict[str, Any], readout: str) -> None:
    """Phases, too, count from the tone as it was played, though it began elsewhere."""
    drives = np.random.default_rng(0).random((4, 6)).astype(np.float32)
    sender, fresh = raw_layer(LateWire()), raw_layer(LateWire(), readout=readout, **later)
    sender.deliver_raw(wanted=True)
    (chunk,) = measured(sender, drives)
    values, status = fresh.rereading(sender)(chunk.raw, drives)
    expected = measured(fresh, drives)[0].values
    np.testing.assert_allclose(values, expected, atol=1e-6 * np.abs(expected).max())
    assert values.dtype == np.float32
    assert not status.any()


@pytest.mark.usefixtures("at_once")
def test_the_same_window_hears_the_same_to_the_bit_whatever_the_layout() -> None:
    drives = np.random.default_rng(1).random((5, 6)).astype(np.float32)
    for wire in (Wire(), LateWire()):
        sender = raw_layer(wire, readout="complex")
        sender.deliver_raw(wanted=True)
        (chunk,) = measured(sender, drives)
        values, _ = raw_layer(wire, readout="complex").rereading(sender)(chunk.raw, drives)
        np.testing.assert_array_equal(values, chunk.values)


@pytest.mark.usefixtures("at_once")
def test_what_is_bad_in_another_window_says_so() -> None:
    drives = np.array([[0.1] * 6, [0.0] * 6], np.float32)
    sender = raw_layer(Wire())
    sender.deliver_raw(wanted=True)
    (chunk,) = measured(sender, drives)
    assert chunk.raw is not None
    chunk.raw["samples"][0, 0, 500] = 1.0  # 62.5 ms after the beginning of a burst
    _, status = raw_layer(Wire(), low_signal="-60 dBFS").rereading(sender)(chunk.raw, drives)
    assert status.tolist() == [RowStatus.CLIPPED, RowStatus.OK], "a silent row has no signal to be low"
    _, status = raw_layer(Wire(), **LATER, low_signal="-6 dBFS").rereading(sender)(chunk.raw, drives)
    assert status.tolist() == [RowStatus.FAILED, RowStatus.OK]


@pytest.mark.parametrize(
    ("changes", "at", "what"),
    [
        ({"level": "-6 dB"}, "level", "it decides what is sent, and that was sent with 0.0"),
        ({"gap": "20 ms"}, "gap", "it decides what is sent"),
        ({"polarity": "signed"}, "polarity", "that was sent with positive"),
        (
            {"window": "120 ms"},
            "window",
            "ends 180 ms after the beginning of a burst, whose tones were played until 160",
        ),
    ],
)
def test_another_burst_is_refused(changes: dict[str, Any], at: str, what: str) -> None:
    with pytest.raises(SettingError, match=what) as refused:
        raw_layer(Wire(), **changes).rereading(raw_layer(Wire()))
    assert refused.value.at == (at,)
