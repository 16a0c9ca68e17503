"""Amplifiers have power while a layer measures, and none when all is to be safe."""

import signal
import threading
from collections.abc import Iterator
from contextlib import closing

import numpy as np
import pytest
from labctl_drivers.transport.safe_step import over_serial

from labctl.contract.capabilities import Calibratable
from labctl.contract.errors import InstrumentError
from labctl.contract.layer import PhysicalLayer
from labctl.testing.layer_contract import LayerContract
from tests.wire.audio_bench import Wired, box, layer_on, wired

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="a pseudo-terminal needs Linux or macOS")


@pytest.fixture(scope="module")
def audio() -> Iterator[Wired]:
    with wired(amplifier=True) as bench:
        yield bench


class TestAcousticWithAmplifier(LayerContract):
    @pytest.fixture
    def layer(self, audio: Wired) -> PhysicalLayer:
        return layer_on(audio.interface(), audio.amplifier())


def powered(audio: Wired) -> bool:
    assert audio.bench.amplifier is not None
    return audio.bench.amplifier.is_on


def responses(layer: PhysicalLayer) -> np.ndarray:
    drives = np.random.default_rng(1).uniform(-1, 1, (8, 12)).astype(np.float32)
    return np.concatenate([chunk.values for chunk in layer.measure(drives, np.arange(8), stop=threading.Event())])


def test_power_is_on_while_it_measures_and_off_when_safe(audio: Wired) -> None:
    computed = layer_on(box())
    computed.open()
    expected = responses(computed)
    with closing(layer_on(audio.interface(), audio.amplifier())) as layer:
        assert not powered(audio)
        layer.open()
        for _ in range(2):
            np.testing.assert_allclose(responses(layer), expected, rtol=0, atol=1e-5 * np.abs(expected).max())
            assert powered(audio)
            layer.make_safe()
            assert not powered(audio)


def test_loudspeakers_without_power_are_told(audio: Wired) -> None:
    with closing(layer_on(audio.interface())) as layer:
        assert isinstance(layer, Calibratable)
        layer.open()
        (finding,) = (each for each in layer.calibrate().findings if each.subject == "sound")
    assert (finding.text, finding.remedy) == ("no microphone hears any loudspeaker", "are the amplifiers on?")


def test_the_safe_plan_takes_the_power_without_the_driver(audio: Wired) -> None:
    with closing(audio.amplifier()) as amplifier:
        amplifier.open()
        amplifier.switch(on=True)
        (step,) = amplifier.safe_plan()
    assert powered(audio)
    over_serial(step, 2.0)
    assert not powered(audio)


def test_an_amplifier_that_does_not_answer_leaves_nothing_open(audio: Wired) -> None:
    amplifier = Wired(audio.bench, audio.settings, audio.amplifier_settings | {"reply": "DONE"}).amplifier()
    layer = layer_on(audio.interface(), amplifier)
    with pytest.raises(InstrumentError, match="answers 'OK', not 'DONE'"):
        layer.open()
    assert not powered(audio)
    with closing(audio.interface()) as interface:
        interface.open()
