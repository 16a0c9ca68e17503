"""What was planted in the virtual interface is what `calibrate` finds, within the uncertainty that it states."""

import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from labctl_simulators.loopback.audio import SimulatedInterface
from numpy.typing import NDArray

from labctl.contract.calibration import write_calibration
from labctl.contract.capabilities import Calibratable, Calibration
from labctl.contract.driver import BuildContext
from labctl.contract.errors import SettingError
from tests.wire.audio_bench import (
    BOX,
    LAYER,
    SAMPLERATE_HZ,
    Wired,
    acoustic,
    box,
    bursts,
    context,
    layer_on,
    wired,
    wrong,
)

WHEN = datetime(2026, 11, 20, tzinfo=UTC)
K = 4.0
"""Standard uncertainties that a value may lie off."""


@pytest.fixture(scope="module")
def audio() -> Iterator[Wired]:
    with wired(noise="-85 dBFS") as bench:
        yield bench


def of_interface(audio: Wired) -> Calibration:
    with closing(audio.interface()) as interface:
        interface.open()
        return interface.calibrate()


def of_layer(audio: Wired, **changes: object) -> Calibration:
    layer = layer_on(audio.interface(), **changes)
    assert isinstance(layer, Calibratable)
    with closing(layer):
        layer.open()
        return layer.calibrate()


def said(calibration: Calibration) -> dict[str, str]:
    return {finding.subject: finding.text for finding in calibration.findings}


def test_a_planted_delay_is_found_and_serves_without_the_loopback(audio: Wired, tmp_path: Path) -> None:
    audio.bench.tell(delay=1337)
    calibration = of_interface(audio)
    found = calibration.quantities["delay"]
    assert abs(found.value - (1337 + 256)) <= K * found.uncertainty  # one block of the server
    assert found.uncertainty < 0.01
    path = write_calibration(tmp_path, "rig", "interface", calibration, WHEN)
    with closing(audio.interface(loopback=None, calibration=str(path))) as interface:
        interface.open()
        heard = list(interface.exchange(bursts(4)))
        assert interface.state_id != audio.interface(loopback=None, latency="1 s").state_id
    audio.bench.tell(delay=0)
    assert not wrong(heard, bursts(4), tolerance=0.02)  # of its noise


def test_planted_gains_and_a_dead_microphone_are_found(audio: Wired) -> None:
    before = of_interface(audio)
    audio.bench.tell(gains={0: 0.5, 1: 0.0})
    after = of_interface(audio)
    audio.bench.tell(gains={})
    assert said(after)["mic-b"].startswith("is dead")
    assert "dB SPL" in said(after)["mic-a"]
    one, other = before.quantities["gain"], after.quantities["gain"]
    ratio = other.value[:, 0] / one.value[:, 0]
    unsure = ratio * np.hypot(one.uncertainty[:, 0] / one.value[:, 0], other.uncertainty[:, 0] / other.value[:, 0])
    assert (np.abs(ratio - 0.5) <= K * unsure).all()
    assert unsure.max() < 0.05


def transfer_of(physics: SimulatedInterface, *tones_hz: float) -> NDArray[np.complex128]:
    """Return (n_microphones, n_speakers, n_tones) of the box itself."""
    responses = physics.responses()._responses
    turn = np.exp(-2j * np.pi * np.outer(np.arange(responses.shape[2]), tones_hz) / SAMPLERATE_HZ)
    return (responses @ turn).transpose(1, 0, 2)


def test_the_transfer_of_every_tone_is_that_of_the_box(audio: Wired) -> None:
    truth = transfer_of(box(), 200.0, 450.0, 700.0, 950.0)
    found = of_layer(audio, settle="100 ms", gap="100 ms")
    real, imaginary = found.quantities["transfer.re"], found.quantities["transfer.im"]
    assert (
        np.hypot(real.value - truth.real, imaginary.value - truth.imag) <= K * real.uncertainty + 1e-5
    ).mean() > 0.95
    assert real.uncertainty.max() < 0.01


def test_a_tone_on_a_node_is_told_and_by_how_much() -> None:
    """Hard walls, and a tone at which mic-b stands where the cavity's modes cancel."""
    tones_hz = (210.0, 480.0, 1110.0, 1430.0)
    physics: dict[str, Any] = {"box": BOX["box"] | {"absorption": 0.1}}
    strength = np.sqrt(np.mean(np.abs(transfer_of(box(**physics), *tones_hz)) ** 2, axis=1))
    level_db = 20 * np.log10(strength / np.median(strength, axis=1, keepdims=True))
    assert (level_db < -25).tolist() == [[False] * 4, [False, True, False, False]]
    with wired(noise="-100 dBFS", **physics) as hall:
        tones = [f"{tone_hz:g} Hz" for tone_hz in tones_hz]
        calibration = of_layer(hall, tones=tones, settle="400 ms", window="100 ms", gap="400 ms")
    on_nodes = {subject: text for subject, text in said(calibration).items() if "on a node" in text}
    assert list(on_nodes) == ["mic-b 480 Hz"]
    assert float(on_nodes["mic-b 480 Hz"].split(": ")[1].split()[0]) == pytest.approx(level_db[1, 1], abs=0.2)


def test_a_calibrated_layer_undoes_the_gain_of_a_microphone(audio: Wired, tmp_path: Path) -> None:
    drives = np.full((2, 12), 0.5, dtype=np.float32)
    values: list[np.ndarray] = []
    states: set[str] = set()
    for gain in (1.0, 0.4):
        audio.bench.tell(gains={0: gain})
        path = write_calibration(tmp_path, "rig", "cavity", of_layer(audio, settle="50 ms", gap="50 ms"), WHEN)
        layer = layer_on(audio.interface(), settle="50 ms", gap="50 ms", calibration=str(path))
        states.add(layer.state_id)
        with closing(layer):
            layer.open()
            values.append(
                np.concatenate([c.values for c in layer.measure(drives, np.arange(2), stop=threading.Event())])
            )
    audio.bench.tell(gains={})
    np.testing.assert_allclose(values[0], values[1], atol=0.05 * np.abs(values[0]).max())
    assert len(states) == 2


def test_what_a_burst_leaves_in_the_next_is_told() -> None:
    with wired(noise="-100 dBFS", box=BOX["box"] | {"absorption": 0.15}) as hall:
        short, long = of_layer(hall), of_layer(hall, settle="200 ms", gap="100 ms")
    assert short.quantities["carry_over"].value > 10 ** (-50 / 20) > long.quantities["carry_over"].value
    remedies = {each.subject: each.remedy for each in short.findings}
    assert remedies["carry-over"].startswith("lengthen gap or settle")


def test_a_calibration_of_something_else_or_of_the_dead_is_refused(audio: Wired, tmp_path: Path) -> None:
    audio.bench.tell(gains={1: 0.0})
    dead = write_calibration(tmp_path, "rig", "dead", of_layer(audio), WHEN)
    audio.bench.tell(gains={})
    other = write_calibration(tmp_path, "rig", "other", of_interface(audio), WHEN)
    for path, why in ((dead, "mic-b was dead"), (other, "of no acoustic layer with 2 microphones")):
        settings = acoustic.DRIVER.settings.model_validate(LAYER | {"calibration": path.name})
        with pytest.raises(SettingError, match=why) as refused:
            acoustic.DRIVER.build(
                settings, {"interface": box()}, BuildContext("cavity", tmp_path, context("cavity").clock)
            )
        assert refused.value.at == ("calibration",)
    with pytest.raises(SettingError, match="name a `calibration`"):
        audio.interface(loopback=None)
