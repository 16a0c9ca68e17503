"""What a rig file may say of a metasurface, and what is refused before anything is sent."""

from pathlib import Path
from typing import Any

import pytest
from labctl_drivers.metasurface import labctl_v1, raw12, ris_ascii, tile_tcp
from pydantic import ValidationError

from labctl.contract.clock import SimulatedClock
from labctl.contract.driver import BuildContext, InstrumentDriver
from labctl.contract.errors import SettingError
from labctl.contract.microwave import Metasurface

PORT = {"address": "ASRL/dev/ttyACM0::INSTR", "settle": "5 ms"}
SMALL = PORT | {"rows": 2, "columns": 3}
KINDS: dict[str, tuple[InstrumentDriver[Any], dict[str, Any]]] = {
    "labctl-v1": (labctl_v1.DRIVER, SMALL),
    "raw12": (raw12.DRIVER, PORT | {"rows": 8, "columns": 12, "sketch": "uno"}),
    "ris-ascii": (ris_ascii.DRIVER, PORT),
    "tile-tcp": (
        tile_tcp.DRIVER,
        {"address": "TCPIP::192.168.4.1::13591::SOCKET", "rows": 16, "columns": 32, "settle": "5 ms"},
    ),
}


def build(kind: str, **changes: Any) -> Metasurface:
    driver, settings = KINDS[kind]
    context = BuildContext("surface", Path(), SimulatedClock(float("inf")))
    surface = driver.build(driver.settings.model_validate(settings | changes), context)
    assert isinstance(surface, Metasurface)
    return surface


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_building_touches_no_hardware(kind: str) -> None:
    surface = build(kind)
    surface.make_safe()
    surface.close()
    assert surface.name == "surface"
    assert surface.levels == 2
    assert not surface.simulated


@pytest.mark.parametrize(
    ("element_map", "says"),
    [
        ([0, 1, 2, 3, 4], "5 cells for 6 elements"),
        ([0, 1, 2, 2, 4, 5], "elements 2 and 3 both have cell 2, and no element has cell 3"),
        ([0, 1, 2, 3, 4, 6], "element 5 has cell 6, beyond the last, 5, and no element has cell 5"),
    ],
)
def test_a_map_that_is_no_permutation_is_one_error_that_names_the_element(element_map: list[int], says: str) -> None:
    with pytest.raises(ValidationError) as caught:
        build("labctl-v1", map=element_map)
    assert caught.value.error_count() == 1
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "changes", "says"),
    [
        ("raw12", {"rows": 8, "columns": 8}, "64 elements; this controller has 96"),
        ("raw12", {"settle": "0 s"}, "greater than 0"),
        ("raw12", {"sketch": "mega"}, "'uno' or 'leonardo'"),
        ("ris-ascii", {"columns": 8}, "128 elements; this controller has 256"),
        ("tile-tcp", {"tiles": [1, 2]}, "2 tiles of 512 cells have 1024"),
        ("tile-tcp", {"tiles": [1, 1], "rows": 32}, "named once"),
        ("tile-tcp", {"address": "ASRL1::INSTR"}, "no address of a TCP connection"),
        ("labctl-v1", {"levels": 1}, "greater than or equal to 2"),
        ("labctl-v1", {"max_rate": "0 Hz"}, "greater than 0"),
        ("labctl-v1", {"rate": "5 Hz"}, "Extra inputs are not permitted"),
    ],
)
def test_settings_that_cannot_be_are_refused(kind: str, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError) as caught:
        build(kind, **changes)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("rest", "says"), [([0, 1], "2 levels for 6 elements"), (2, "there is no level 2; an element has 0 to 1")]
)
def test_a_rest_pattern_has_a_level_for_every_element(rest: Any, says: str) -> None:
    with pytest.raises(SettingError, match=says) as caught:
        build("labctl-v1", rest=rest)
    assert caught.value.at == ("rest",)


def test_the_state_names_what_changes_the_field() -> None:
    states = [
        build("labctl-v1").state_id,
        build("labctl-v1", map=[1, 0, 2, 3, 4, 5]).state_id,
        build("labctl-v1", settle="6 ms").state_id,
        build("labctl-v1", levels=4).state_id,
        build("labctl-v1", rows=3, columns=2).state_id,
    ]
    assert len(set(states)) == len(states)
    assert build("labctl-v1", max_rate="9 Hz", address="ASRL/dev/ttyACM1::INSTR").state_id == states[0]
