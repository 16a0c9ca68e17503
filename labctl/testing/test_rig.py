"""The contract suite over every layer of a rig: `LABCTL_RIG=bench.yaml pytest --pyargs labctl.testing`.

The rig is driven as a run drives it, in a host process where it needs one. Its hardware is used: 40 to 300 passes a
layer, with random drives within the stated ranges and the power that the rig file states.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from labctl.config.loading import load_rig
from labctl.contract.layer import PhysicalLayer
from labctl.rig.client import hosted
from labctl.rig.rig import build_rig, put_away
from labctl.testing.layer_contract import LayerContractOpenedOnce

RIG = os.environ.get("LABCTL_RIG")


def _layers() -> list[str]:
    """Return the names of the rig's layers. Raises `ConfigError`."""
    return [] if RIG is None else list(build_rig(load_rig(Path(RIG))).layers)


@pytest.fixture(scope="module", params=_layers())
def shared_layer(request: pytest.FixtureRequest) -> Iterator[PhysicalLayer]:
    """Return a layer of the rig, closed."""
    loaded = load_rig(Path(str(RIG)))
    rig = hosted(loaded, build_rig(loaded))
    with put_away([rig]):
        yield rig.layers[request.param]


@pytest.mark.skipif(RIG is None, reason="LABCTL_RIG names no rig file")
class TestLayersOfTheRig(LayerContractOpenedOnce):
    """The rig is named by the environment; without it there is nothing to test."""
