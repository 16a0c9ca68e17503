"""An audio interface by PortAudio: one stream for the whole session, in a process of its own."""

import hashlib
import logging
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from labctl.contract.audio import Burst, Recording, Samples, SpeakerOutput
from labctl.contract.calibration import calibration_id, read_calibration
from labctl.contract.capabilities import Calibration
from labctl.contract.driver import BuildContext, InstrumentDriver
from labctl.contract.errors import Fault, InstrumentError, SettingError
from labctl_drivers.audio.calibration import evaluate, sweeps
from labctl_drivers.audio.engine_process import EngineLostError, EngineMutedError, EngineProcess
from labctl_drivers.audio.loopback import (
    LEAST_SAMPLES,
    MOVED_SAMPLES,
    Heard,
    Loopback,
    LoopbackError,
    Path,
    TornError,
    Verdict,
    marker,
)
from labctl_drivers.audio.probing import find_path
from labctl_drivers.audio.settings import LoopbackSettings, PortAudioSettings

CLIP_LEVEL = 0.99
"""A sample beyond this fraction of full scale is taken as clipped."""

OPEN_S = 30.0
"""How long PortAudio may take to look through all devices."""

PATIENCE_S = 5.0
"""How much longer than it lasts a burst may take."""

HOWL_S = 0.3
"""A microphone that is at full scale so long after everything was muted hears a howl, or is broken."""

AHEAD_S = 0.4
LEAST_AHEAD = 2
"""Bursts are sent ahead of the hardware until so much, and at least so many, are waiting."""

LATE_FLAG_S = 0.05
"""How much later than a sound its loss may be reported: JACK and Core Audio do so from a thread of their own."""

CALIBRATION_TRIES = 3
ALIGNMENT_TRIES = 3

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Sent:
    """A burst on its way: the number the engine knows it by, and how long its sound lasts before the final silence."""

    burst: Burst
    number: int
    n_sounding: int


class PortAudioInterface:
    """An `AudioInterface`. Every burst carries a marker on the loopback, by which its recording is aligned and found
    whole; what cannot be vouched for is marked, or raises.
    """

    def __init__(self, settings: PortAudioSettings, name: str, calibration: Calibration | None = None) -> None:
        """Take the latency from `calibration` where there is no loopback. Raises `SettingError` where neither tells."""
        self._settings = settings
        self._name = name
        self._outputs = tuple(
            SpeakerOutput(each.name, 10.0 ** (each.max_level_dbfs / 20.0)) for each in settings.outputs.values()
        )
        self._speakers = [channel - 1 for channel in settings.outputs]
        self._microphones = [channel - 1 for channel in settings.inputs]
        self._engine: EngineProcess | None = None
        self._loopback: Loopback | None = None
        self._broken = 0
        self._silence_is_sure = True
        self._calibration = calibration
        latency = _stated_latency(settings, calibration)
        self._stated_delay = round(latency)
        self._late = latency - round(latency)

    @property
    def name(self) -> str:
        """Return the instrument's name in the rig file."""
        return self._name

    @property
    def samplerate_hz(self) -> float:
        """Return the samples per second of every channel."""
        return self._settings.samplerate_hz

    @property
    def outputs(self) -> tuple[SpeakerOutput, ...]:
        """Return the speakers, in the order of the rig file."""
        return self._outputs

    @property
    def inputs(self) -> tuple[str, ...]:
        """Return the microphones' names, in the order of the rig file."""
        return tuple(each.name for each in self._settings.inputs.values())

    @property
    def simulated(self) -> bool:
        """Return whether `labctl simulate` is behind it."""
        return self._settings.simulated

    @property
    def state_id(self) -> str:
        """Name device, wiring and levels; not how the device is reached and fed."""
        unnamed = {"server", "buffer_s", "stall_s", "calibration"}
        text = self._settings.model_dump_json(exclude_defaults=True, exclude=unnamed)
        if self._calibration is not None:
            text += calibration_id(self._calibration)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def engine_pid(self) -> int | None:
        """Return the process that owns the device, None while the interface is closed."""
        return None if self._engine is None else self._engine.pid

    def open(self) -> None:
        """Open the device and find its latency by the loopback; does nothing when already open.

        Raises `InstrumentError` for a device that is not there or not as the rig file says (with a list of those that
        are), and for a loopback that is not heard where it should be.
        """
        if self._engine is not None and self._engine.alive:
            return
        self._let_go()
        try:
            self._engine = EngineProcess(self._begin(), OPEN_S)
            self._align(self._engine)
        except (EngineLostError, LoopbackError) as error:
            self._let_go()
            raise InstrumentError(self._name, str(error), command="open") from None
        except BaseException:
            self._let_go()
            raise

    def exchange(self, bursts: Iterable[Burst]) -> Iterator[Recording]:
        """Play bursts back to back and yield one recording for each, in order.

        Raises `InstrumentError` when closed or muted meanwhile, for a burst beyond the limits of a speaker (before it
        sounds), when device or server fail, when the loopback is lost, and for a howl, which is muted at once.
        """
        engine = self._opened()
        waiting: deque[_Sent] = deque()
        source = iter(bursts)
        self._silence_is_sure = True
        try:
            with engine.together():
                self._fill(engine, waiting, source)
            while waiting:
                yield self._recording(engine, waiting)
                self._fill(engine, waiting, source)
        except EngineLostError as error:
            waiting.clear()
            if not isinstance(error, EngineMutedError):
                self._let_go()
            raise InstrumentError(self._name, str(error), command="exchange") from None
        finally:
            if waiting:
                engine.mute()

    def calibrate(self) -> Calibration:
        """Measure latency, noise, and by sweeps how loudly each speaker is heard where. Raises `InstrumentError`."""
        for _ in range(CALIBRATION_TRIES):
            recordings = list(self.exchange(sweeps(self._outputs, self.samplerate_hz)))
            if not any(recording.xrun or recording.stale for recording in recordings):
                path = None if self._loopback is None else self._loopback.path
                heard = np.stack([recording.samples for recording in recordings])
                return evaluate(self._settings, self._outputs, path, heard)
        cause = f"samples were lost in {CALIBRATION_TRIES} tries; lengthen `buffer`"
        raise InstrumentError(self._name, cause, command="calibrate")

    def make_safe(self) -> None:
        """Fade out and forget what is still to be played."""
        engine = self._engine
        if engine is not None:
            engine.mute()

    def close(self) -> None:
        """Fade out, release the device and end the engine."""
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()

    def _begin(self) -> dict[str, object]:
        settings = self._settings
        device = {
            "host_api": settings.host_api,
            "device": settings.device,
            "output_channels": settings.output_channels,
            "input_channels": settings.input_channels,
            "samplerate_hz": settings.samplerate_hz,
            "buffer_s": settings.buffer_s,
            "server": settings.server,
        }
        return {"device": device, "stall_s": settings.stall_s}

    def _let_go(self) -> None:
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.kill()

    def _opened(self) -> EngineProcess:
        if self._engine is None:
            raise InstrumentError(self._name, "the interface is not open", command="exchange")
        return self._engine

    def _fill(self, engine: EngineProcess, waiting: deque[_Sent], source: Iterator[Burst]) -> None:
        """Send bursts until enough are waiting, or there are no more."""
        ahead = sum(len(each.burst.samples) for each in waiting)
        while ahead < AHEAD_S * self.samplerate_hz or len(waiting) < LEAST_AHEAD:
            burst = next(source, None)
            if burst is None:
                return
            self._check(burst)
            waiting.append(self._send(engine, burst))
            ahead += len(burst.samples)

    def _check(self, burst: Burst) -> None:
        """Raise `InstrumentError` for a burst that does not fit the speakers or their levels."""
        command = f"burst {burst.id}"
        if burst.samples.ndim != 2 or burst.samples.shape[1] != len(self._outputs):
            shape = f"samples of shape {burst.samples.shape}, not (n, {len(self._outputs)})"
            raise InstrumentError(self._name, shape, command=command)
        if len(burst.samples) < LEAST_SAMPLES:
            raise InstrumentError(self._name, f"fewer than {LEAST_SAMPLES} samples cannot be aligned", command=command)
        peaks = np.maximum(burst.samples.max(axis=0), -burst.samples.min(axis=0))
        for speaker, peak in zip(self._outputs, peaks.tolist(), strict=True):
            # A float32 sample may lie half a unit in the last place above the limit it was scaled to.
            if not peak <= speaker.max_level * (1.0 + 1e-6):
                cause = f"speaker {speaker.name} was asked to play {peak:g}, its maximum is {speaker.max_level:g}"
                raise InstrumentError(self._name, cause, command=command)

    def _align(self, engine: EngineProcess) -> None:
        """Find the loopback, or take the latency that is stated."""
        wired = self._settings.loopback
        if wired is None:
            engine.set_delay(self._stated_delay)
            return
        self._loopback = Loopback(self._path(engine, wired), 10.0 ** (wired.level_dbfs / 20.0))

    def _path(self, engine: EngineProcess, wired: LoopbackSettings) -> Path:
        """Return how the loopback goes."""
        tries = ALIGNMENT_TRIES
        while True:
            try:
                return find_path(engine, self._settings, wired)
            except TornError:
                tries -= 1
                if not tries:
                    raise

    def _send(self, engine: EngineProcess, burst: Burst) -> _Sent:
        """Send a burst with its marker."""
        n_samples = len(burst.samples)
        played = np.zeros((n_samples, self._settings.output_channels), dtype=np.float32)
        played[:, self._speakers] = burst.samples
        number = engine.next_number
        wired = self._settings.loopback
        if wired is not None:
            played[:, wired.output - 1] = 10.0 ** (wired.level_dbfs / 20.0) * marker(number, n_samples)
        sounding = np.flatnonzero(burst.samples.any(axis=1))
        n_sounding = int(sounding[-1]) + 1 if sounding.size else 0
        n_late = round(LATE_FLAG_S * self.samplerate_hz) if self._settings.trust_flags else 0
        engine.play(played, max(0, n_sounding + n_late - n_samples))
        return _Sent(burst, number, n_sounding)

    def _recording(self, engine: EngineProcess, waiting: deque[_Sent]) -> Recording:
        """Take the recording of the first burst that is waiting."""
        seconds = sum(len(each.burst.samples) for each in waiting) / self.samplerate_hz
        sent = waiting[0]
        message = engine.heard(sent.number, 2.0 * seconds + PATIENCE_S)
        heard: Samples = message.arrays["heard"]
        found = self._examined(engine, heard, sent, message.head["delay"])
        samples = heard[:, self._microphones]
        waiting.popleft()
        flagged = bool(message.head["flagged"]) and self._settings.trust_flags
        # What sounds where silence should be rings on in the next burst, which is whole itself.
        lost = flagged or not self._silence_is_sure or found.verdict in (Verdict.TORN, Verdict.MOVED, Verdict.SILENT)
        self._silence_is_sure = not flagged and found.whole_from is not None and found.whole_from <= sent.n_sounding
        self._broken = 0 if found.verdict in (Verdict.WHOLE, Verdict.MOVED) else self._broken + 1
        if found.verdict == Verdict.SILENT or self._broken > 1:
            self._align_anew(engine, waiting)
        if np.abs(samples[sent.n_sounding :]).max(initial=0.0) >= CLIP_LEVEL:
            self._rule_out_howl(engine, waiting)
        late = self._late if self._loopback is None else self._loopback.remainder + found.shift
        stale = found.verdict == Verdict.STALE
        return Recording(sent.burst.id, samples, message.head["time_s"], xrun=lost, stale=stale, late=late)

    def _examined(self, engine: EngineProcess, heard: Samples, sent: _Sent, delay: int) -> Heard:
        """Ask the loopback what became of a recording; align those that come when the delay has moved a little."""
        wired, loopback = self._settings.loopback, self._loopback
        if wired is None or loopback is None:
            return Heard(Verdict.WHOLE, whole_from=0)
        if delay != loopback.path.frames:
            return Heard(Verdict.MOVED)
        found = loopback.examine(heard[:, wired.input - 1], sent.number)
        if found.verdict == Verdict.MOVED:
            self._warn_of_move(found.shift, loopback.path.delay + found.shift)
            self._loopback = loopback.moved(found.shift)
            engine.set_delay(self._loopback.path.frames)
        return found

    def _align_anew(self, engine: EngineProcess, waiting: deque[_Sent]) -> None:
        """Mute, look for the loopback as on opening, and send again what waits.

        Raises `InstrumentError` when it is not there any more.
        """
        engine.mute()
        before = self._loopback
        try:
            self._align(engine)
        except LoopbackError as error:
            raise InstrumentError(self._name, str(error), command="exchange") from None
        after = self._loopback
        if before is not None and after is not None and abs(after.path.delay - before.path.delay) > MOVED_SAMPLES:
            self._warn_of_move(after.path.delay - before.path.delay, after.path.delay)
        self._broken = 0
        self._send_again(engine, waiting)

    def _warn_of_move(self, shift: float, delay: float) -> None:
        _log.warning(
            "%s: the latency has moved by %.2f samples to %.2f; rows that it befell are marked",
            self._name,
            shift,
            delay,
        )

    def _send_again(self, engine: EngineProcess, waiting: deque[_Sent]) -> None:
        with engine.together():
            again = [self._send(engine, each.burst) for each in waiting]
        waiting.clear()
        waiting.extend(again)
        self._silence_is_sure = True

    def _rule_out_howl(self, engine: EngineProcess, waiting: deque[_Sent]) -> None:
        """Mute, listen, and send again what waits unless a microphone is still at full scale.

        Raises `InstrumentError` when one is.
        """
        engine.mute()
        number = engine.next_number
        n_samples = round(HOWL_S * self.samplerate_hz)
        engine.play(np.zeros((n_samples, self._settings.output_channels), dtype=np.float32))
        heard = engine.heard(number, PATIENCE_S).arrays["heard"][n_samples // 2 :, self._microphones]
        peaks = np.abs(heard).max(axis=0)
        if peaks.max() >= CLIP_LEVEL:
            loudest = self.inputs[int(np.argmax(peaks))]
            raise InstrumentError(
                self._name,
                f"{loudest} is at full scale {HOWL_S:g} s after everything was muted: something howls (switch direct "
                "monitoring off, turn amplifiers down), or the input is broken",
                command="exchange",
                fault=Fault.REFUSED,
            )
        self._send_again(engine, waiting)


def _stated_latency(settings: PortAudioSettings, calibration: Calibration | None) -> float:
    """Return the latency in samples that is known before opening; 0 where the loopback tells."""
    if settings.latency_s is not None:
        return settings.latency_s * settings.samplerate_hz
    if settings.loopback is not None:
        return 0.0
    found = None if calibration is None else calibration.quantities.get("delay")
    if found is None or found.value.shape != ():
        raise SettingError(
            ("loopback",),
            "wire a free output to a free input and name both as `loopback`; or, where that cannot be, state the "
            "`latency` from output to input, or name a `calibration` that was made with a loopback",
        )
    return float(found.value)


def _build(settings: PortAudioSettings, context: BuildContext) -> PortAudioInterface:
    path = None if settings.calibration is None else context.folder / settings.calibration
    return PortAudioInterface(settings, context.name, None if path is None else read_calibration(path))


DRIVER = InstrumentDriver(PortAudioSettings, _build)
