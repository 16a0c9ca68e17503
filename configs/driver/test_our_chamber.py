"""The chamber keeps the contract of a layer."""

import pytest
from our_chamber import Chamber, ChamberSettings

from labctl.testing.layer_contract import LayerContract


class TestOurChamber(LayerContract):
    """Some 300 passes; override `drives` where random drives within the stated ranges must not be sent."""

    repeatability = 0.0  # largest difference of two responses to one drive, relative to the largest response

    @pytest.fixture
    def layer(self) -> Chamber:
        """Return the chamber, closed."""
        return Chamber(ChamberSettings.model_validate({"pass": "1 ms", "seed": 3}), "chamber")
