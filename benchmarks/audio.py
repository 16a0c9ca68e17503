"""What an audio interface makes of time: bursts over wall time, at a JACK server without hardware; and faults.

`audio.bursts_share` is settle + window + gap over wall time of bursts through the driver, beside `sounddevice.playrec`,
which opens and closes a stream for each; `duty.acoustic` the same through the layer. `audio.wrong_pairs` counts rows
that pass for good and are not what the box answers, among passes that random faults befall.
"""

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from labctl_drivers.audio.portaudio import DRIVER, PortAudioInterface
from labctl_drivers.layers import acoustic
from labctl_simulators.instruments.audio.bench import AudioBench
from labctl_simulators.loopback import audio
from labctl_simulators.loopback.audio import SimulatedInterface

from benchmarks import harness
from benchmarks.harness import ROOT, Row, Target, over_repeats
from labctl.contract.audio import Burst, Recording
from labctl.contract.clock import SimulatedClock
from labctl.contract.driver import BuildContext

REPEATS = 3
SHARE = Target(">=", 0.97)
FAULT_EVERY = 10
BATCH = 50
TOLERANCE = 1e-5
SMALL_BOX = {"length": "0.8 m", "width": "0.6 m", "height": "0.5 m", "absorption": 0.6, "temperature": "20 °C"}
RINGS_S = 0.3
RINGS_SAMPLES = 480
"""What is left of a burst in the box after so many samples is below the tolerance."""

PLAYREC = """
import json, os, sys, time
os.environ["JACK_DEFAULT_SERVER"], os.environ["JACK_NO_START_SERVER"] = sys.argv[1], "1"
import numpy as np, sounddevice
device, channels, samplerate, n_samples, n_bursts = json.loads(sys.argv[2])
burst = np.zeros((n_samples, channels), dtype=np.float32)
begin = time.perf_counter()
for _ in range(n_bursts):
    sounddevice.playrec(burst, samplerate, channels=channels, device=(device, device))
    sounddevice.wait()
print(n_bursts * n_samples / samplerate / (time.perf_counter() - begin))
"""


def _context(name: str) -> BuildContext:
    return BuildContext(name, Path(), SimulatedClock(float("inf")))


def _box(**changes: Any) -> tuple[SimulatedInterface, dict[str, Any]]:
    """Return the shipped box without noise and drift, and the layer on it."""
    rig = yaml.safe_load((ROOT / "configs" / "rigs" / "sim_acoustic.yaml").read_text(encoding="utf-8"))
    body = {**rig["instruments"]["interface"], "noise": "-200 dBFS", "drift": 0.0, **changes}
    settings = audio.DRIVER.settings.model_validate({key: value for key, value in body.items() if key != "driver"})
    box = audio.DRIVER.build(settings, _context("interface"))
    assert isinstance(box, SimulatedInterface)
    return box, {key: value for key, value in rig["layers"]["cavity"].items() if key != "kind"}


def _interface(bench: AudioBench, box: SimulatedInterface) -> tuple[PortAudioInterface, dict[str, Any]]:
    n_outputs, n_inputs = len(box.outputs), len(box.inputs)
    body: dict[str, Any] = {
        "output_channels": n_outputs + 1,
        "input_channels": n_inputs + 1,
        "samplerate": f"{box.samplerate_hz:g} Hz",
        "outputs": {k + 1: {"name": each.name, "max_level": "-12 dBFS"} for k, each in enumerate(box.outputs)},
        "inputs": {k + 1: {"name": name} for k, name in enumerate(box.inputs)},
        "loopback": {"output": n_outputs + 1, "input": n_inputs + 1},
    }
    body |= bench.start({"interface": {"driver": "audio.portaudio", **body}}, {})["interface"]
    interface = DRIVER.build(DRIVER.settings.model_validate(body), _context("interface"))
    assert isinstance(interface, PortAudioInterface)
    return interface, body


def _bursts(n: int, n_samples: int, n_outputs: int, seed: int) -> list[Burst]:
    samples = np.random.default_rng(seed).uniform(-0.2, 0.2, (n, n_samples, n_outputs)).astype(np.float32)
    samples[:, -80:] = 0.0
    return [Burst(number, each) for number, each in enumerate(samples)]


def shares(n_bursts: int) -> Generator[Row]:
    """Yield the shares of wall time that are bursts: through the driver, and through the layer."""
    box, layer_settings = _box()
    bench = AudioBench(box)
    try:
        interface, body = _interface(bench, box)
        layer = acoustic.DRIVER.build(
            acoustic.DRIVER.settings.model_validate(layer_settings), {"interface": interface}, _context("cavity")
        )
        pass_s = layer.info.nominal_pass_s
        n_samples = round(pass_s * box.samplerate_hz)
        peer = _playrec(body, box, n_samples, max(3, n_bursts // 5))
        with closing(layer):
            layer.open()
            played = _bursts(n_bursts, n_samples, len(box.outputs), 1)
            driver = [_share(lambda: list(interface.exchange(played)), n_bursts * pass_s) for _ in range(REPEATS)]
            row = over_repeats("audio.bursts_share", driver, "of wall time", {"sounddevice.playrec": peer})
            yield replace(row, aim=row.held_against(SHARE))
            drives = np.random.default_rng(2).uniform(-1, 1, (n_bursts, layer.info.n_inputs)).astype(np.float32)
            ids = np.arange(n_bursts)
            duty = [
                _share(lambda: list(layer.measure(drives, ids, stop=threading.Event())), n_bursts * pass_s)
                for _ in range(REPEATS)
            ]
            row = over_repeats("duty.acoustic", duty, "of wall time")
            yield replace(row, aim=row.held_against(SHARE))
    finally:
        bench.stop()


def _share(act: Any, sounding_s: float) -> float:
    begin = time.perf_counter()
    act()
    return sounding_s / (time.perf_counter() - begin)


def _playrec(body: dict[str, Any], box: SimulatedInterface, n_samples: int, n_bursts: int) -> float:
    asked = [body["device"], body["output_channels"], box.samplerate_hz, n_samples, n_bursts]
    command = [sys.executable, "-c", PLAYREC, body["server"], json.dumps(asked)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ})
    return float(done.stdout)


def faults(n_passes: int) -> Row:
    """Return how many of `n_passes` rows were wrong and not marked while samples were lost, repeated and shifted."""
    box, _ = _box(
        box={"length": "0.8 m", "width": "0.6 m", "height": "0.5 m", "absorption": 0.6, "temperature": "20 °C"}
    )
    bench, rng = AudioBench(box), random.Random(5)
    counts = {"rows marked": 0, "faults": 0}
    wrong = 0
    try:
        interface, _ = _interface(bench, box)
        box.open()
        with closing(interface):
            interface.open()
            for batch in range(n_passes // BATCH):
                played = _bursts(BATCH, 560, len(box.outputs), batch)
                recordings: list[Recording] = []
                for recording in interface.exchange(played):
                    recordings.append(recording)
                    if rng.random() < 1.0 / FAULT_EVERY:
                        counts["faults"] += 1
                        bench.tell(**rng.choice([{"torn": 1}, {"repeated": 1}, {"delay": rng.randrange(2000)}]))
                wrong += _wrong(box, played, recordings)
                counts["rows marked"] += sum(each.xrun or each.stale for each in recordings)
                time.sleep(RINGS_S)
    finally:
        bench.stop()
    row = Row("audio.wrong_pairs", float(wrong), None, None, n_passes // BATCH * BATCH, "rows", counts)
    return replace(row, aim=row.held_against(Target("<=", 0.0)))


def _wrong(box: SimulatedInterface, played: list[Burst], recordings: list[Recording]) -> int:
    """Count rows that pass for good and are not the box's answer.

    A realignment, or a driver that is late, puts silence before the next burst, after which what rings on from the one
    before is weaker: such a row is right when it differs from what the box answers from silence by less than that, and
    by nothing when it has rung out.
    """
    truth = [each.samples for each in box.exchange(played)]
    scale = max(float(np.abs(each).max()) for each in truth)
    count = 0
    for burst, answer, recording in zip(played, truth, recordings, strict=True):
        if recording.xrun or recording.stale or _near(recording, answer, scale):
            continue
        (alone,) = box.exchange([burst])
        rings = float(np.abs(answer - alone.samples).max()) / scale
        rest = np.abs(recording.samples - alone.samples) / scale
        count += rest.max() > rings + TOLERANCE or rest[RINGS_SAMPLES:].max() > TOLERANCE
    return count


def _near(recording: Recording, answer: Any, scale: float) -> bool:
    return float(np.abs(recording.samples - answer).max()) <= TOLERANCE * scale


def measure(quick: bool) -> Generator[Row]:
    """Yield all rows."""
    yield from shares(20 if quick else 200)
    yield faults(500 if quick else 20_000)


def main() -> None:
    """Run the command."""
    arguments = harness.parser("Measure what an audio interface makes of time, and of faults.").parse_args()
    harness.run("audio", f"medians over {REPEATS} repeats, low and high their extremes", arguments, measure)


if __name__ == "__main__":
    main()
