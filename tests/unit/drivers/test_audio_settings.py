"""What cannot work is refused at its line, before anything sounds."""

from typing import Any

import pytest
from labctl_drivers.audio.settings import PortAudioSettings
from pydantic import ValidationError

SETTINGS: dict[str, Any] = {
    "host_api": "ALSA",
    "device": "card",
    "output_channels": 3,
    "input_channels": 2,
    "samplerate": "48 kHz",
    "outputs": {1: {"name": "left", "max_level": "-12 dBFS"}},
    "inputs": {1: {"name": "mic"}},
    "loopback": {"output": 3, "input": 2},
}


def test_a_rig_file_is_read() -> None:
    settings = PortAudioSettings.model_validate(SETTINGS)
    assert settings.outputs[1].max_level_dbfs == -12.0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"outputs": {4: {"name": "left", "max_level": "-12 dBFS"}}}, "there is no channel 4: output_channels is 3"),
        ({"inputs": {3: {"name": "mic"}}}, "there is no channel 3: input_channels is 2"),
        ({"inputs": {1: {"name": "mic"}, 2: {"name": "mic"}}}, "'mic' is the name of two inputs"),
        ({"outputs": {1: {"name": "left", "max_level": "3 dBFS"}}}, "less than or equal to 0"),
        ({"loopback": {"output": 1, "input": 2}}, "output 1 is that of 'left'; use a free one"),
        ({"loopback": {"output": 3, "input": 3}}, "there is no input 3: input_channels is 2"),
        ({"latency": "10 ms"}, "the loopback tells the latency"),
        ({"samplerate": 48000}, "has no unit"),
        ({"trust_flags": False, "loopback": None, "latency": "10 ms"}, "nothing else tells that samples were lost"),
        ({"trust_flags": False, "host_api": "JACK Audio Connection Kit"}, "tear single channels"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        PortAudioSettings.model_validate(SETTINGS | changes)
