"""Finds the loopback when a device is opened: by how much its output and input are apart."""

import numpy as np

from labctl.contract.audio import Samples
from labctl_drivers.audio.engine_process import EngineProcess
from labctl_drivers.audio.loopback import SILENT, LoopbackError, Path, find, learn, marker
from labctl_drivers.audio.settings import LoopbackSettings, PortAudioSettings

PROBE_S = 0.05
N_PROBES = 4
DELAYS_S = (0.15, 1.5)
"""Up to which delay the loopback is looked for at first, and then."""

ELECTRICAL = 0.3
"""A marker this strong on another input, relative to what was sent, has come by a cable."""

PATIENCE_S = 10.0


def find_path(engine: EngineProcess, settings: PortAudioSettings, loopback: LoopbackSettings) -> Path:
    """Return the path of the loopback, having told the engine about its delay; nothing else sounds.

    Raises `LoopbackError` when it is not there, elsewhere, or no plain delay; `EngineLostError`.
    """
    n_probe = round(PROBE_S * settings.samplerate_hz)
    level = 10.0 ** (loopback.level_dbfs / 20.0)
    engine.set_delay(0)
    frames = _whole_delay(engine, settings, loopback, n_probe)
    engine.set_delay(frames)
    probes = [_played(engine, settings, loopback, n_probe, 0) for _ in range(N_PROBES)]
    recordings = [heard[:, loopback.input - 1] for _, heard in probes]
    path = learn(recordings, [number for number, _ in probes], frames, level)
    if path.frames != frames:
        engine.set_delay(path.frames)
    return path


def _whole_delay(engine: EngineProcess, settings: PortAudioSettings, loopback: LoopbackSettings, n_probe: int) -> int:
    for longest_s in DELAYS_S[:-1]:
        frames, _, _ = _searched(engine, settings, loopback, n_probe, longest_s)
        if frames is not None:
            return frames
    frames, number, heard = _searched(engine, settings, loopback, n_probe, DELAYS_S[-1])
    _require_heard(heard, number, n_probe, settings, loopback)
    return frames or 0


def _searched(
    engine: EngineProcess, settings: PortAudioSettings, loopback: LoopbackSettings, n_probe: int, longest_s: float
) -> tuple[int | None, int, Samples]:
    """Return the delay in frames, None when the marker is not heard; and the marker's number and what was heard."""
    number, heard = _played(engine, settings, loopback, n_probe, round(longest_s * settings.samplerate_hz))
    delay, gain = find(heard[:, loopback.input - 1], number, n_probe)
    is_there = abs(gain) > SILENT * 10.0 ** (loopback.level_dbfs / 20.0)
    return (round(delay) if is_there else None), number, heard


def _require_heard(
    heard: Samples, number: int, n_marker: int, settings: PortAudioSettings, loopback: LoopbackSettings
) -> None:
    """Raise `LoopbackError` unless the marker is on the loopback's input; say on which it is, if on another."""
    level = 10.0 ** (loopback.level_dbfs / 20.0)
    gains = [abs(find(channel, number, n_marker)[1]) / level for channel in heard.T]
    if gains[loopback.input - 1] >= SILENT:
        return
    strongest = int(np.argmax(gains))
    if gains[strongest] >= ELECTRICAL:
        whose = f" ('{settings.inputs[strongest + 1].name}')" if strongest + 1 in settings.inputs else ""
        raise LoopbackError(
            f"the loopback of output {loopback.output} is heard on input {strongest + 1}{whose}, not on input "
            f"{loopback.input}: the channels are in another order, or a cable is in the wrong socket"
        )
    raise LoopbackError(
        f"the loopback from output {loopback.output} to input {loopback.input} is silent: the interface is unplugged, "
        "or the cable is"
    )


def _played(
    engine: EngineProcess, settings: PortAudioSettings, loopback: LoopbackSettings, n_marker: int, n_more: int
) -> tuple[int, Samples]:
    """Play a marker and `n_more` samples of silence on the loopback alone; return its number and what was heard."""
    played = np.zeros((n_marker + n_more, settings.output_channels), dtype=np.float32)
    number = engine.next_number
    played[:n_marker, loopback.output - 1] = 10.0 ** (loopback.level_dbfs / 20.0) * marker(number, n_marker)
    engine.play(played)
    heard: Samples = engine.heard(number, PATIENCE_S).arrays["heard"]
    return number, heard
