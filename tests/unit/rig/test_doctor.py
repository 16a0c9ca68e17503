"""What `examine` finds out about layers whose answers are not good."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from labctl.contract.capabilities import Finding
from labctl.contract.errors import InstrumentError
from labctl.contract.layer import Channel, Drives, LayerInfo, Responses, RowIds, RowStatus, Stop
from labctl.rig.doctor import examine, middle_drives
from labctl.rig.rig import Rig

INFO = LayerInfo(
    name="cavity",
    inputs=(Channel("a", "1", -1.0, 1.0), Channel("b", "1", 0.0, 1.0), Channel("c", "state", 0.0, 1.0, 4)),
    outputs=(Channel("x", "V", 0.0, 1.0), Channel("y", "V", 0.0, 1.0)),
    nominal_pass_s=0.1,
    resources=frozenset(),
    simulated=True,
)


class Answering:
    """A layer that gives one answer, or fails."""

    state_id = "s"

    def __init__(self, values: list[float], status: RowStatus = RowStatus.OK, failure: str = "") -> None:
        self.info = replace(INFO)
        self._values = values
        self._status = status
        self._failure = failure

    def open(self) -> None:
        if self._failure:
            raise InstrumentError("vna", self._failure)

    def measure(self, drives: Drives, ids: RowIds, *, stop: Stop) -> Iterator[Responses]:
        yield Responses(ids, np.array([self._values]), np.array([self._status], dtype=np.uint8), np.zeros(1))

    def make_safe(self) -> None: ...

    def close(self) -> None: ...


def test_the_reference_pass_is_in_the_middle_and_on_levels() -> None:
    drives = middle_drives(INFO)
    assert drives.shape == (1, 3)
    assert drives[0, :2].tolist() == [0.0, 0.5]
    assert drives[0, 2] in np.array([1 / 3, 2 / 3], dtype=np.float32)


@pytest.mark.parametrize(
    ("layer", "failure", "remedy"),
    [
        (Answering([0.1, 0.2]), None, ""),
        (Answering([0.1, 0.1]), None, "all are the same: is everything connected?"),
        (Answering([0.1, 0.2], RowStatus.OVERLOAD), "its status is OVERLOAD", "lower the power"),
        (
            Answering([0.1, 0.2], failure="no correction is active"),
            "vna: no correction is active",
            "mend what it names",
        ),
    ],
)
def test_a_layer_that_is_not_well_is_told_with_what_to_do(layer: Answering, failure: str | None, remedy: str) -> None:
    (found,) = examine(Rig("rig", {}, {"cavity": layer}, None), loaded=None)  # type: ignore[arg-type]
    told: Finding = found.failure or found.findings[0]
    assert (found.failure.text if found.failure else None) == failure
    assert told.remedy.startswith(remedy)
