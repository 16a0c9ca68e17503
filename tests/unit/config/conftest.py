"""The quickstart experiment and a rig, as files and as text."""

from collections.abc import Callable
from pathlib import Path

import pytest

from labctl.config.errors import ConfigError
from labctl.config.loading import experiment_from_text, rig_from_text

QUICKSTART = """\
# The network in the README.
schema: labctl/experiment/1
name: digits-acoustic
rig: ../rigs/sim_acoustic.yaml        # shorthand for rigs: {main: ...}
seed: 7
data: {source: digits, test_fraction: 0.2}
network:
  label: {kind: one-hot, amplitude: 1.0}
  blocks:
    - {layer: cavity, encoder: fitted-range, skip: true, units: 100}
training: {rule: phyll, schedule: cached, epochs: 60, theta: 10, inner_steps: 10, optimizer: {kind: adam, lr: 2e-3}}
"""

RIG = """\
schema: labctl/rig/1
name: chamber
power_w: 85
instruments:
  interface:
    driver: audio.test
    samplerate: 48 kHz
    outputs: {1: {name: north, max_level: -12 dBFS}, 2: {name: east, max_level: -12 dBFS}}
layers:
  cavity:
    kind: acoustic
    interface: interface
    tones: [330 Hz, 485 Hz]
    settle: 150 ms
"""

Complain = Callable[..., str]


@pytest.fixture
def quickstart() -> str:
    return QUICKSTART


@pytest.fixture
def rig_text() -> str:
    return RIG


@pytest.fixture
def complaint() -> Complain:
    """Return what is said about the quickstart after replacing one text by another."""

    def complain(old: str, new: str, *overrides: str) -> str:
        assert QUICKSTART.count(old) == 1
        with pytest.raises(ConfigError) as caught:
            experiment_from_text(QUICKSTART.replace(old, new), Path("quick.yaml"), Path(), overrides, rigs={})
        return str(caught.value)

    return complain


@pytest.fixture
def rig_complaint() -> Complain:
    """Return what is said about the rig after replacing one text by another."""

    def complain(old: str, new: str) -> str:
        assert RIG.count(old) == 1
        with pytest.raises(ConfigError) as caught:
            rig_from_text(RIG.replace(old, new), Path("rig.yaml"), Path())
        return str(caught.value)

    return complain


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with experiments/quick.yaml and rigs/sim_acoustic.yaml."""
    for name, text in (("experiments/quick.yaml", QUICKSTART), ("rigs/sim_acoustic.yaml", RIG)):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path
