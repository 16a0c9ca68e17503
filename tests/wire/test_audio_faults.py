"""What goes wrong with sound is told as what it is, and never becomes a number."""

import math
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from labctl_drivers.audio.portaudio import PortAudioInterface

from labctl.contract.audio import Burst, Recording
from labctl.contract.errors import InstrumentError
from labctl.contract.layer import RowStatus
from tests.wire.audio_bench import BURST_SAMPLES, Wired, bursts, layer_on, wired, wrong

RINGS_S = 0.2


@pytest.fixture(scope="module")
def audio() -> Iterator[Wired]:
    with wired(patience_s=1.5) as bench:
        yield bench


@pytest.fixture
def interface(audio: Wired) -> Iterator[PortAudioInterface]:
    with closing(audio.interface()) as interface:
        interface.open()
        time.sleep(RINGS_S)
        yield interface
        audio.bench.tell(torn=0, repeated=0, sustained=0)
        audio.bench.tell(delay=0, gains={}, offset={}, silent=False, howl=False, rotated=0)


def some(interface: PortAudioInterface, audio: Wired, **faults: object) -> list[Recording]:
    """Exchange bursts; after the fifth, let something go wrong."""
    recordings: list[Recording] = []
    for recording in interface.exchange(bursts(40)):
        recordings.append(recording)
        if len(recordings) == 5:
            audio.bench.tell(**faults)
    return recordings


def marked(recordings: list[Recording]) -> list[int]:
    return [recording.id for recording in recordings if recording.xrun or recording.stale]


def test_lost_samples_mark_their_row_and_no_later_one(interface: PortAudioInterface, audio: Wired) -> None:
    recordings = some(interface, audio, torn=1)
    assert 1 <= len(marked(recordings)) <= 2  # a row may end, or its silence begin, in what is lost
    assert len(recordings) == 40
    assert not wrong(recordings, bursts(40))


def test_a_loss_over_the_end_of_a_row_costs_both_rows_alone(interface: PortAudioInterface, audio: Wired) -> None:
    recordings = some(interface, audio, torn=3)
    assert 2 <= len(marked(recordings)) <= 4
    assert np.ptp(marked(recordings)) < 4
    assert len(recordings) == 40
    assert not wrong(recordings, bursts(40))


def test_a_row_before_which_it_was_not_silent_is_not_believed(interface: PortAudioInterface, audio: Wired) -> None:
    """Its own samples are all there, and are not what the box answers."""
    played = bursts(8, n_samples=768, n_silent=256)
    audio.bench.tell(sustained=1)
    recordings = list(interface.exchange(played))
    assert marked(recordings) == [0, 1]
    assert not wrong(recordings, played)
    unmarked = [replace(recording, xrun=False, stale=False) for recording in recordings]
    assert wrong(unmarked, played) == [0, 1]


def test_bursts_that_come_late_are_heard_behind_silence(interface: PortAudioInterface) -> None:
    played = bursts(8)

    def late() -> Iterator[Burst]:
        yield from played[:4]
        time.sleep(RINGS_S + 4 * BURST_SAMPLES / interface.samplerate_hz)
        yield from played[4:]

    recordings = list(interface.exchange(late()))
    assert not marked(recordings)
    assert not wrong(recordings, played)


def test_repeated_sound_is_never_taken_for_new(interface: PortAudioInterface, audio: Wired) -> None:
    recordings = some(interface, audio, repeated=1)
    assert 1 <= len(marked(recordings)) <= 2
    assert not wrong(recordings, bursts(40))


@pytest.mark.parametrize("delay", [1, 7, 300, 5000])
def test_a_latency_that_jumps_costs_rows_and_is_told(
    interface: PortAudioInterface, audio: Wired, delay: int, caplog: pytest.LogCaptureFixture
) -> None:
    recordings: list[Recording] = []
    for number in range(4):
        recordings += interface.exchange(bursts(20, seed=number))
        lost = marked(recordings)
        if number == 0:
            assert not wrong(recordings, bursts(20))
            audio.bench.tell(delay=delay)
        time.sleep(RINGS_S)
    assert lost
    assert f"the latency has moved by {delay:.2f} samples" in caplog.text
    assert not recordings[-1].xrun
    assert not recordings[-1].stale
    assert not wrong(recordings[-20:], bursts(20, seed=3))


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"silent": True}, "the loopback from output 5 to input 4 is silent: the interface is unplugged, or the cable"),
        (
            {"rotated": 1},
            r"output 5 is heard on input 1 \('mic-b'\), not on input 4: the channels are in another order",
        ),
        ({"howl": True}, "mic-a is at full scale 0.3 s after everything was muted: something howls"),
    ],
)
def test_what_cannot_go_on_is_muted_and_named(
    interface: PortAudioInterface, audio: Wired, fault: dict[str, object], said: str
) -> None:
    with pytest.raises(InstrumentError, match=said):
        some(interface, audio, **fault)
    assert audio.bench.tell()["silent_s"] < math.inf
    sounded_s = audio.bench.tell()["sounded_s"]
    time.sleep(0.1)
    assert audio.bench.tell()["sounded_s"] == sounded_s


def test_a_clipped_microphone_is_no_howl(interface: PortAudioInterface, audio: Wired) -> None:
    audio.bench.tell(gains={0: 1000.0})
    recordings = list(interface.exchange(bursts(6)))
    assert len(recordings) == 6
    assert min(abs(recording.samples[:, 0]).max() for recording in recordings) == 1.0


def test_rows_say_what_is_wrong_with_them(audio: Wired) -> None:
    interface = audio.interface()
    layer = layer_on(interface, low_signal="-80 dBFS")
    drives = np.full((3, 12), 0.9, dtype=np.float32)
    found: list[set[int]] = []
    with closing(layer):
        layer.open()
        for gains in ({}, {0: 2000.0}, {1: 0.0}):
            audio.bench.tell(gains=gains)
            chunks = list(layer.measure(drives, np.arange(3), stop=threading.Event()))
            found.append({int(status) for chunk in chunks for status in chunk.status})
            time.sleep(RINGS_S)
        silent = list(layer.measure(np.zeros_like(drives), np.arange(3), stop=threading.Event()))
    audio.bench.tell(gains={})
    assert found == [{RowStatus.OK}, {RowStatus.CLIPPED}, {RowStatus.FAILED}]
    assert {int(status) for chunk in silent for status in chunk.status} == {RowStatus.OK}


def test_an_interface_without_its_loopback_is_not_opened(audio: Wired) -> None:
    audio.bench.tell(silent=True)
    interface = audio.interface()
    with closing(interface), pytest.raises(InstrumentError, match="is silent: the interface is unplugged"):
        interface.open()
    audio.bench.tell(silent=False)


def test_an_audio_server_that_dies_ends_the_exchange_and_its_successor_is_used() -> None:
    with wired() as audio, closing(audio.interface()) as interface:
        interface.open()
        exchange = interface.exchange(bursts(200))
        next(exchange)
        audio.bench.kill_server()
        with pytest.raises(InstrumentError, match="the device has stopped"):
            list(exchange)
        with pytest.raises(InstrumentError):
            interface.open()
