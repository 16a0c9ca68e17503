"""The surrogate of the published recordings. Needs the data: LABCTL_DATA, by default ../shared/data."""

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from labctl_simulators.loopback import recorded
from labctl_simulators.loopback.recorded import RecordedLayer

from labctl.contract.clock import SimulatedClock
from labctl.contract.driver import BuildContext
from labctl.contract.errors import DriveError
from labctl.contract.layer import Drives, LayerInfo, PhysicalLayer
from labctl.testing.layer_contract import LayerContract

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("LABCTL_DATA", ROOT.parent / "shared" / "data"))
RIG = ROOT / "configs" / "rigs" / "recorded_acoustic.yaml"
PAIRS = DATA / "phyll_acoustic" / "acoustic_pairs_8k.npz"
LIVE = [0, 1, 2, 5, 6, 7, 10, 11, 12, 15, 16, 17]
STRONG = [0, 2, 4, 5, 7, 9, 10, 12, 14, 15, 17, 19]


def build(**changes: Any) -> RecordedLayer:
    text = RIG.read_text(encoding="utf-8").replace("${LABCTL_DATA}", str(DATA))
    settings: dict[str, Any] = yaml.safe_load(text)["layers"]["cavity"]
    assert settings.pop("kind") == "recorded"
    context = BuildContext("cavity", RIG.parent, SimulatedClock(float("inf")))
    layer = recorded.DRIVER.build(recorded.DRIVER.settings.model_validate(settings | changes), {}, context)
    assert isinstance(layer, RecordedLayer)
    return layer


def pairs(n_rows: int) -> tuple[np.ndarray, np.ndarray]:
    with np.load(PAIRS) as archive:
        return archive["x"][1 : n_rows + 1, LIVE], archive["y"][1 : n_rows + 1, STRONG]


class TestAuthorsRecordings(LayerContract):
    repeatability = 0.25

    @pytest.fixture
    def layer(self) -> PhysicalLayer:
        return build()

    def drives(self, info: LayerInfo, n_rows: int) -> Drives:
        return pairs(n_rows)[0]


def test_twelve_inputs_and_twelve_outputs_are_alive() -> None:
    layer = build()
    assert [channel.name for channel in layer.info.inputs] == [f"x{k}" for k in LIVE]
    assert [channel.name for channel in layer.info.outputs] == [f"y{k}" for k in STRONG]
    assert layer.surrogate.norm_range == pytest.approx((0.8885, 2.8083), abs=1e-3)


def test_every_channel_is_predicted_and_says_how_well() -> None:
    surrogate = build().surrogate
    assert (surrogate.r2 > 0.98).all()
    assert surrogate.rooted.sum() >= 8


def test_stated_error_is_the_error_and_noise_has_its_size() -> None:
    drives, measured = pairs(7999)
    quiet, noisy = build(noise=False), build()
    predictions = []
    for layer in (quiet, noisy):
        layer.open()
        chunks = layer.measure(drives, np.arange(7999), stop=threading.Event())
        predictions.append(np.concatenate([chunk.values for chunk in chunks]))
    residual = quiet.surrogate.residual
    # The recordings have outliers, so two samples of their error differ.
    np.testing.assert_allclose((predictions[0] - measured).std(axis=0), residual, rtol=0.3)
    np.testing.assert_allclose((predictions[1] - predictions[0]).std(axis=0), residual, rtol=0.05)


def test_the_published_unit_norm_drive_on_all_twenty_inputs_is_outside() -> None:
    layer = build()
    layer.open()
    drive = np.full((1, 12), 1 / np.sqrt(20), dtype=np.float32)
    with pytest.raises(DriveError, match="norm"):
        layer.measure(drive, np.array([0]), stop=threading.Event())
