import threading
from typing import ClassVar

import numpy as np
import pytest

from labctl.contract.layer import PhysicalLayer
from labctl.testing.layer_contract import LayerContract
from labctl.testing.layers import DriftingLayer, InstantLayer


class TestInstantLayer(LayerContract):
    repeatability: ClassVar[float] = 0.0

    @pytest.fixture
    def layer(self) -> PhysicalLayer:
        return InstantLayer(7, 9)

    def test_rows_do_not_depend_on_their_neighbours(self, layer: PhysicalLayer) -> None:
        drives = self.drives(layer.info, 33)
        (together,) = layer.measure(drives, np.arange(33), stop=threading.Event())
        for row in range(33):
            (alone,) = layer.measure(drives[row : row + 1], np.array([row]), stop=threading.Event())
            np.testing.assert_array_equal(alone.values[0], together.values[row])

    def test_every_input_reaches_an_output(self, layer: PhysicalLayer) -> None:
        drives = np.zeros((8, 7), dtype=np.float32)
        drives[1:] = np.eye(7)
        (responses,) = layer.measure(drives, np.arange(8), stop=threading.Event())
        assert (responses.values[1:] != responses.values[0]).any(axis=1).all()


class TestDriftingLayer(LayerContract):
    answers_to_drive: ClassVar[bool] = False
    repeatability: ClassVar[float] = 4.0

    @pytest.fixture
    def layer(self) -> PhysicalLayer:
        return DriftingLayer(7, 9)

    def test_neighbours_in_time_resemble_each_other(self, layer: PhysicalLayer) -> None:
        drives = np.zeros((2000, 7), dtype=np.float32)
        chunks = layer.measure(drives, np.arange(2000), stop=threading.Event())
        values = np.concatenate([chunk.values for chunk in chunks])
        change = np.square(np.diff(values, axis=0)).mean()
        assert change < 0.5 * 2.0 * values.var()
