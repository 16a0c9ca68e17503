"""The audio interface at a real JACK server, beside the same box in process."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing

import numpy as np
import pytest
from labctl_drivers.audio.portaudio import DRIVER

from labctl.contract.errors import InstrumentError
from labctl.contract.layer import PhysicalLayer, RowStatus
from labctl.testing.layer_contract import LayerContract
from tests.wire.audio_bench import Wired, box, bursts, context, expected, layer_on, wired, wrong


@pytest.fixture(scope="module")
def audio() -> Iterator[Wired]:
    with wired() as bench:
        yield bench


@pytest.fixture(autouse=True)
def _mended(audio: Wired) -> Iterator[None]:
    yield
    audio.bench.tell(delay=0, gains={}, silent=False)


class TestAcousticOverTheWire(LayerContract):
    @pytest.fixture
    def layer(self, audio: Wired) -> PhysicalLayer:
        return layer_on(audio.interface())


def test_responses_are_those_of_the_box_in_process(audio: Wired) -> None:
    drives = np.random.default_rng(1).uniform(-1, 1, (60, 12)).astype(np.float32)
    values: list[np.ndarray] = []
    for interface in (audio.interface(), box()):
        layer = layer_on(interface)
        layer.open()
        chunks = list(layer.measure(drives, np.arange(60), stop=threading.Event()))
        layer.close()
        assert {RowStatus(status) for chunk in chunks for status in chunk.status} == {RowStatus.OK}
        values.append(np.concatenate([chunk.values for chunk in chunks]))
    np.testing.assert_allclose(values[0], values[1], rtol=0, atol=1e-5 * np.abs(values[1]).max())


@pytest.mark.parametrize("delay", [0, 1, 63, 1337])
def test_recordings_are_aligned_to_the_sample_whatever_the_latency(audio: Wired, delay: int) -> None:
    played = bursts(6, seed=delay)
    audio.bench.tell(delay=delay)
    with closing(audio.interface()) as interface:
        interface.open()
        heard = list(interface.exchange(played))
    assert not wrong(heard, played)
    assert [recording.xrun for recording in heard] == [False] * 6
    assert max(abs(recording.late) for recording in heard) < 1e-4


def test_bursts_of_any_length_are_spliced_without_a_sample_between(audio: Wired) -> None:
    """What rings on from one burst is heard in the next only where that begins at the very next sample."""
    lengths = [300, 5000, 333, 1024, 256, 2000]
    played = [bursts(1, seed=n, n_samples=n)[0] for n in lengths]
    with closing(audio.interface()) as interface:
        interface.open()
        heard = list(interface.exchange(played))
    for recording, answer in zip(heard, expected(played), strict=True):
        np.testing.assert_allclose(recording.samples, answer, atol=1e-6)


def test_a_stated_latency_replaces_the_loopback(audio: Wired) -> None:
    played = bursts(4)
    with closing(audio.interface()) as interface:
        interface.open()
        whole = list(interface.exchange(played))
    with closing(audio.interface(loopback=None, latency="16 ms")) as interface:  # one block of the server
        interface.open()
        stated = list(interface.exchange(played))
    for one, other in zip(whole, stated, strict=True):
        np.testing.assert_allclose(one.samples, other.samples, atol=1e-7)


def test_an_exchange_that_is_given_up_is_muted_and_leaves_nothing_behind(audio: Wired) -> None:
    with closing(audio.interface()) as interface:
        interface.open()
        given_up = interface.exchange(bursts(20, seed=1))
        next(given_up)
        given_up.close()
        time.sleep(0.2)  # the box rings for so long
        assert not wrong(list(interface.exchange(bursts(5, seed=2))), bursts(5, seed=2))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"device": "labctl"}, "has no device 'labctl' with 5 outputs and 4 inputs; present: .*labctl-cavity"),
        ({"host_api": "ASIO"}, "ASIO has no device 'labctl-cavity'.*present: .*JACK Audio Connection Kit"),
        ({"output_channels": 6}, "with 6 outputs and 4 inputs; present: .*'labctl-cavity' with 5 outputs and 4 inputs"),
        ({"samplerate": "48 kHz"}, "runs at 16000 Hz, not at 48000 Hz"),
        ({"server": "nowhere"}, "present: "),
    ],
)
def test_another_device_than_the_one_meant_is_never_opened(audio: Wired, changes: dict[str, object], said: str) -> None:
    with closing(audio.interface(**changes)) as interface, pytest.raises(InstrumentError, match=said):
        interface.open()
    assert audio.bench.tell()["silent_s"] > 0.01


def test_a_burst_beyond_the_limits_never_sounds(audio: Wired) -> None:
    loud = bursts(2, level=0.26)
    with closing(audio.interface()) as interface:
        interface.open()
        before = audio.bench.tell()["sounded_s"]
        with pytest.raises(InstrumentError, match=r"speaker \w+ was asked to play 0.2\d*, its maximum is 0.251189"):
            list(interface.exchange(loud))
        with pytest.raises(InstrumentError, match=r"not \(n, 3\)"):
            list(interface.exchange([type(loud[0])(0, loud[0].samples[:, :2])]))
    assert audio.bench.tell()["sounded_s"] == before


def test_what_is_not_open_raises(audio: Wired) -> None:
    interface = DRIVER.build(DRIVER.settings.model_validate(audio.settings), context("interface"))
    interface.make_safe()
    interface.close()
    with pytest.raises(InstrumentError, match="not open"):
        list(audio.interface().exchange(bursts(1)))
