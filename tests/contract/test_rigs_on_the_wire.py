"""The microwave layer keeps its contract, and gives what the cavity does, on the wire of every analyser."""

import sys
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from labctl_simulators.loopback.microwave import SimulatedMicrowaveLayer

from labctl.config.loading import load_rig
from labctl.contract.layer import PhysicalLayer
from labctl.rig.rig import Rig, build_rig, put_away
from labctl.testing.layer_contract import LayerContractOpenedOnce
from tests.simulated_rig import RESOLUTION, simulated_rig

if sys.platform == "win32":
    pytest.skip("pseudo-terminals need Linux or macOS", allow_module_level=True)


@pytest.fixture(scope="module", params=sorted(RESOLUTION))
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def rigs(name: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Rig, Rig]]:
    """The rig on its wires, and the one that computes."""
    folder = tmp_path_factory.mktemp(name)
    with simulated_rig(name, folder) as file:
        rig, computed = build_rig(load_rig(file)), build_rig(load_rig(folder / "box.yaml"))
        with put_away([rig, computed]):
            yield rig, computed


@pytest.fixture(scope="module")
def shared_layer(rigs: tuple[Rig, Rig]) -> PhysicalLayer:
    return rigs[0].layers["cavity"]


class TestMicrowaveOnTheWire(LayerContractOpenedOnce):
    def test_responses_are_those_of_the_cavity_itself(
        self, opened: PhysicalLayer, rigs: tuple[Rig, Rig], name: str
    ) -> None:
        computed = rigs[1].layers["cavity"]
        assert isinstance(computed, SimulatedMicrowaveLayer)
        computed.open()
        drives = self.drives(opened.info, 20)
        chunks = opened.measure(drives, np.arange(20), stop=threading.Event())
        values = np.concatenate([chunk.values for chunk in chunks])
        np.testing.assert_allclose(values, computed.signals(drives), rtol=1e-12, atol=RESOLUTION[name])
