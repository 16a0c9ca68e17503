"""The one place that touches PortAudio: which device is meant, and one full-duplex stream on it.

PortAudio is loaded when it is used, and in the engine's process alone: it lists devices once, when it is loaded, and
can hang for ever when an audio server dies.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from labctl.contract.audio import Samples

LOOKS = 3
LOOK_AGAIN_S = 0.5

Process = Callable[[Samples, Samples, bool], None]
"""Takes in a block heard, fills the block to be played, and is told whether samples were lost."""


class DeviceError(Exception):
    """The device is not there, or not what was asked for; the message says what is."""


@dataclass(frozen=True)
class DeviceWanted:
    """A device by host API, exact name and number of channels, and how it is to run."""

    host_api: str
    device: str
    output_channels: int
    input_channels: int
    samplerate_hz: float
    buffer_s: float
    server: str | None


class Stream:
    """A full-duplex stream that calls `process` for every block. Opening raises `DeviceError`."""

    def __init__(self, wanted: DeviceWanted, process: Process) -> None:
        self._sounddevice = _loaded(wanted.server)
        try:
            self._stream = self._started(wanted, process)
        except DeviceError:
            self._end()
            raise

    def _started(self, wanted: DeviceWanted, process: Process) -> Any:
        sounddevice = self._sounddevice
        index = _index(sounddevice, wanted)

        def callback(heard: Samples, played: Samples, _frames: int, _time: object, status: Any) -> None:
            lost = status.input_overflow or status.input_underflow or status.output_overflow or status.output_underflow
            process(heard, played, bool(lost))

        try:
            stream: Any = sounddevice.Stream(
                device=(index, index),
                samplerate=wanted.samplerate_hz,
                channels=(wanted.input_channels, wanted.output_channels),
                dtype="float32",
                latency=wanted.buffer_s,
                blocksize=0,
                clip_off=True,
                dither_off=True,
                callback=callback,
            )
            stream.start()
        except (sounddevice.PortAudioError, ValueError) as error:
            raise DeviceError(f"{wanted.device} cannot be opened: {error}") from error
        if stream.samplerate != wanted.samplerate_hz:
            stream.abort()
            raise DeviceError(
                f"{wanted.device} runs at {stream.samplerate:g} Hz, not at {wanted.samplerate_hz:g} Hz; set its rate, "
                "or the rig file's samplerate"
            )
        return stream

    @property
    def active(self) -> bool:
        """Whether the audio system still calls."""
        return bool(self._stream.active)

    def close(self) -> None:
        """Stop. May hang when the audio server is dead."""
        self._stream.abort()
        self._stream.close()
        self._end()

    def _end(self) -> None:
        # What PortAudio has open at an audio server must be closed in order, or others may wait for it.
        self._sounddevice._terminate()


def _loaded(server: str | None) -> Any:
    # JACK is asked for by the environment, and would start a server of its own where there is none.
    os.environ["JACK_NO_START_SERVER"] = "1"
    if server is not None:
        os.environ["JACK_DEFAULT_SERVER"] = server
    os.environ.setdefault("SD_ENABLE_ASIO", "1")
    try:
        import sounddevice
    except OSError as error:
        raise DeviceError(f"PortAudio is not installed ({error}); on Debian: apt-get install libportaudio2") from error
    return sounddevice


def _index(sounddevice: Any, wanted: DeviceWanted) -> int:
    """Return the number of the one device that is meant; PortAudio's numbers change from day to day."""
    devices = _listed(sounddevice)
    apis = {number: str(api["name"]) for number, api in enumerate(sounddevice.query_hostapis())}
    named = [each for each in devices if (apis[each["hostapi"]], each["name"]) == (wanted.host_api, wanted.device)]
    fitting = [each for each in named if _channels(each) == (wanted.output_channels, wanted.input_channels)]
    if len(fitting) == 1:
        rate_hz = float(fitting[0]["default_samplerate"])
        if wanted.host_api.startswith("JACK") and rate_hz != wanted.samplerate_hz:
            raise DeviceError(f"the JACK server runs at {rate_hz:g} Hz, not at {wanted.samplerate_hz:g} Hz")
        return int(fitting[0]["index"])
    asked = (
        f"{wanted.host_api} has no device '{wanted.device}' with {wanted.output_channels} outputs and "
        f"{wanted.input_channels} inputs"
        if not fitting
        else f"{wanted.host_api} has {len(fitting)} devices '{wanted.device}' with these channels; unplug one"
    )
    present = [
        f"{apis[each['hostapi']]}: '{each['name']}' with {each['max_output_channels']} outputs and "
        f"{each['max_input_channels']} inputs at {each['default_samplerate']:g} Hz"
        for each in devices
    ]
    raise DeviceError(f"{asked}; present: {'; '.join(present) or 'no device at all'}")


def _listed(sounddevice: Any) -> list[dict[str, Any]]:
    """Return all devices. Where there seems to be none they are looked for again: a busy JACK server says nothing."""
    devices: list[dict[str, Any]] = list(sounddevice.query_devices())
    for _ in range(LOOKS - 1):
        if devices:
            break
        time.sleep(LOOK_AGAIN_S)
        sounddevice._terminate()
        sounddevice._initialize()
        devices = list(sounddevice.query_devices())
    return devices


def _channels(device: dict[str, Any]) -> tuple[int, int]:
    return int(device["max_output_channels"]), int(device["max_input_channels"])
