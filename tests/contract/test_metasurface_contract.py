"""What every metasurface's driver keeps, on the virtual controller of its protocol."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from labctl_drivers.metasurface.base import PatternedSurface
from labctl_drivers.metasurface.labctl_v1 import LabctlV1Rules, LabctlV1Surface
from labctl_drivers.metasurface.raw12 import Raw12Rules, Raw12Surface
from labctl_drivers.metasurface.ris_ascii import RisAsciiRules, RisAsciiSurface
from labctl_drivers.metasurface.tile_tcp import TileTcpRules, TileTcpSurface
from labctl_simulators.instruments.metasurface.labctl_v1 import VirtualLabctlV1
from labctl_simulators.instruments.metasurface.panel import Panel, PanelTiming
from labctl_simulators.instruments.metasurface.raw12 import VirtualLeonardo, VirtualUno
from labctl_simulators.instruments.metasurface.ris_ascii import VirtualRis
from labctl_simulators.instruments.metasurface.tile_tcp import VirtualTileServer

from labctl.contract.clock import SimulatedClock
from labctl.contract.errors import InputError, InstrumentError
from labctl.contract.microwave import Metasurface, Pattern

TIMING = PanelTiming(latch_s=0.002, settle_s=0.01)


class BareCavity:
    """Elements without a field: what a panel needs when nobody looks."""

    n_ports = 2

    def __init__(self, n_elements: int, levels: int) -> None:
        self.n_elements = n_elements
        self.levels = levels


@dataclass(frozen=True)
class Kind:
    """How driver and virtual controller of a protocol are made, and whether the controller says who and what it is."""

    driver: Callable[..., PatternedSurface]
    rules: Any
    settings: dict[str, Any]
    virtual: Callable[[Panel], Any]
    levels: int = 2
    speaks: bool = True


RAW12 = {"rows": 8, "columns": 12, "boot": "0 s"}
KINDS = {
    "labctl-v1": Kind(LabctlV1Surface, LabctlV1Rules, {"rows": 5, "columns": 3}, VirtualLabctlV1),
    "labctl-v1 of three levels": Kind(
        LabctlV1Surface, LabctlV1Rules, {"rows": 5, "columns": 3, "levels": 3}, VirtualLabctlV1, 3
    ),
    "raw12 uno": Kind(Raw12Surface, Raw12Rules, RAW12 | {"sketch": "uno"}, VirtualUno, speaks=False),
    "raw12 leonardo": Kind(Raw12Surface, Raw12Rules, RAW12 | {"sketch": "leonardo"}, VirtualLeonardo, speaks=False),
    "ris-ascii": Kind(RisAsciiSurface, RisAsciiRules, {}, VirtualRis),
    "tile-tcp": Kind(
        TileTcpSurface, TileTcpRules, {"rows": 32, "columns": 32, "tiles": [1, 2]}, VirtualTileServer, speaks=False
    ),
}
EVERY = sorted(KINDS)
SPEAKING = sorted(name for name, kind in KINDS.items() if kind.speaks)


class Wire:
    """What is between driver and controller; `lose` loses byte number k of the next request."""

    def __init__(self, controller: Callable[[bytes], bytes]) -> None:
        self.lose: int | None = None
        self._controller = controller

    def __call__(self, request: bytes) -> bytes:
        if self.lose is not None:
            request, self.lose = request[: self.lose] + request[self.lose + 1 :], None
        return self._controller(request)


@dataclass
class Bench:
    surface: PatternedSurface
    panel: Panel
    wire: Wire
    link: Any
    clock: SimulatedClock

    def pattern(self, seed: int = 0) -> Pattern:
        levels = np.random.default_rng(seed).integers(0, self.panel.levels, self.panel.n_elements)
        return levels.astype(np.uint8)


@pytest.fixture
def build(memory_byte_link: Callable[..., Any]) -> Callable[..., Bench]:
    def build(name: str, *, wiring: Any = None, timing: PanelTiming = TIMING, **changes: Any) -> Bench:
        kind = KINDS[name]
        rules = kind.rules.model_validate({"settle": "10 ms", "simulated": True} | kind.settings | changes)
        clock = SimulatedClock(float("inf"))
        cavity: Any = BareCavity(rules.n_elements, kind.levels)
        panel = Panel(cavity, clock, timing, wiring)
        wire = Wire(kind.virtual(panel))
        link = memory_byte_link(wire)
        return Bench(kind.driver(rules, link, clock), panel, wire, link, clock)

    return build


@pytest.fixture
def opened(build: Callable[..., Bench]) -> Callable[..., Bench]:
    def opened(name: str, **options: Any) -> Bench:
        bench = build(name, **options)
        bench.surface.open()
        return bench

    return opened


@pytest.mark.parametrize("name", EVERY)
def test_is_a_metasurface(name: str, build: Callable[..., Bench]) -> None:
    bench = build(name)
    assert isinstance(bench.surface, Metasurface)
    assert bench.surface.levels == bench.panel.levels
    assert bench.surface.simulated


@pytest.mark.parametrize("name", EVERY)
def test_a_pattern_is_latched_when_show_returns(name: str, opened: Callable[..., Bench]) -> None:
    bench = opened(name)
    pattern = bench.pattern()
    bench.surface.show(pattern)
    # The Leonardo acknowledges before it writes: only settling makes sure of it.
    assert bench.panel.pattern.tolist() == pattern.tolist()
    assert bench.surface.latched.tolist() == pattern.tolist()


@pytest.mark.parametrize("name", EVERY)
def test_the_field_has_followed_when_show_returns(name: str, opened: Callable[..., Bench]) -> None:
    bench = opened(name, settle="13 ms")
    for seed in range(3):
        bench.surface.show(bench.pattern(seed))
        assert bench.panel.shown.tolist() == bench.pattern(seed).tolist()


def test_settling_that_is_too_short_shows_the_pattern_before(opened: Callable[..., Bench]) -> None:
    bench = opened("labctl-v1", settle="9 ms")
    bench.surface.show(bench.pattern(1))
    assert bench.panel.pattern.tolist() == bench.pattern(1).tolist()
    assert not bench.panel.shown.any()


@pytest.mark.parametrize("name", EVERY)
def test_element_map_and_wiring_undo_each_other(name: str, opened: Callable[..., Bench], build: Any) -> None:
    n_elements = build(name).panel.n_elements
    wiring = np.random.default_rng(5).permutation(n_elements)
    bench = opened(name, wiring=wiring.tolist(), map=np.argsort(wiring).tolist())
    bench.surface.show(bench.pattern())
    bench.clock.sleep_s(1.0)
    assert bench.panel.pattern.tolist() == bench.pattern().tolist()


@pytest.mark.parametrize("name", EVERY)
def test_it_rests_when_opened_and_when_made_safe(name: str, build: Callable[..., Bench]) -> None:
    bench = build(name, rest=1)
    bench.surface.make_safe()
    bench.surface.open()
    bench.clock.sleep_s(1.0)
    assert (bench.panel.pattern == 1).all()
    bench.surface.show(bench.pattern())
    for _ in range(2):
        bench.surface.make_safe()
        bench.clock.sleep_s(1.0)
        assert (bench.panel.pattern == 1).all()
    bench.surface.show(bench.pattern())
    bench.link.close()
    bench.link.open = lambda: None
    with pytest.raises(InstrumentError, match="the link is closed"):
        bench.surface.make_safe()
    bench.surface.close()
    bench.surface.close()
    bench.surface.make_safe()


@pytest.mark.parametrize("name", EVERY)
def test_a_pattern_that_does_not_fit_is_refused_before_anything_is_sent(
    name: str, opened: Callable[..., Bench]
) -> None:
    bench = opened(name)
    sent = len(bench.link.sent)
    pattern = bench.pattern()
    beyond = pattern.copy()
    beyond[3] = bench.panel.levels
    for wrong, says in (
        (pattern[:-1], "a pattern is"),
        (beyond, "element 3 cannot take level"),
        (pattern.astype(np.float32), "whole numbers"),
    ):
        with pytest.raises(InputError, match=says):
            bench.surface.show(wrong)
    assert len(bench.link.sent) == sent


@pytest.mark.parametrize("name", EVERY)
def test_a_pattern_is_left_alone_and_toggles_are_counted(name: str, opened: Callable[..., Bench]) -> None:
    bench = opened(name)
    pattern = bench.pattern()
    pattern.setflags(write=False)
    for _ in range(3):
        bench.surface.show(pattern)
    bench.surface.make_safe()
    np.testing.assert_array_equal(bench.surface.toggles, 2 * (pattern != 0))


@pytest.mark.parametrize("name", EVERY)
def test_patterns_come_no_faster_than_allowed(name: str, opened: Callable[..., Bench]) -> None:
    bench = opened(name, max_rate="5 Hz")
    bench.surface.show(bench.pattern())
    begin_s = bench.clock.now_s()
    for seed in range(10):
        bench.surface.show(bench.pattern(seed))
    assert bench.clock.now_s() - begin_s >= 10 / 5 - 0.02
    free = opened(name)
    begin_s = free.clock.now_s()
    for seed in range(10):
        free.surface.show(free.pattern(seed))
    assert free.clock.now_s() - begin_s < 10 / 5


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("lost", [0, 1, 4, 9])
def test_a_lost_byte_is_found_and_the_next_pattern_is_whole(name: str, lost: int, opened: Callable[..., Bench]) -> None:
    bench = opened(name, settle="13 ms")
    if isinstance(bench.surface, LabctlV1Surface):
        # In memory no time passes between requests.
        bench.wire._controller._byte_patience_s = -1.0
    bench.wire.lose = lost
    with pytest.raises(InstrumentError) as caught:
        bench.surface.show(bench.pattern())
    assert caught.value.instrument == bench.surface.name
    assert caught.value.command
    for seed in (1, 2):
        bench.surface.show(bench.pattern(seed))
        assert bench.panel.shown.tolist() == bench.pattern(seed).tolist()
    assert bench.surface.resyncs == 1


@pytest.mark.parametrize("name", SPEAKING)
def test_a_simulator_is_not_taken_for_hardware(name: str, build: Callable[..., Bench]) -> None:
    bench = build(name, simulated=False)
    with pytest.raises(InstrumentError, match="a simulator answers"):
        bench.surface.open()
    assert not bench.link.is_open


@pytest.mark.parametrize("name", EVERY)
def test_closed_it_shows_nothing(name: str, build: Callable[..., Bench]) -> None:
    bench = build(name)
    with pytest.raises(InstrumentError, match="not open during show"):
        bench.surface.show(bench.pattern())
    assert bench.link.sent == []


@pytest.mark.parametrize("name", ["labctl-v1", "labctl-v1 of three levels"])
def test_uploaded_patterns_are_shown_by_number(name: str, opened: Callable[..., Bench]) -> None:
    bench = opened(name, settle="13 ms")
    assert isinstance(bench.surface, LabctlV1Surface)
    patterns = np.stack([bench.pattern(seed) for seed in range(256)])
    bench.surface.upload(patterns)
    for index in (255, 0, 17):
        bench.surface.show_stored(index)
        assert bench.panel.shown.tolist() == patterns[index].tolist()
    with pytest.raises(InputError, match="257 patterns are more than the 256"):
        bench.surface.upload(np.concatenate([patterns, patterns[:1]]))
    with pytest.raises(InstrumentError, match="none of number 256"):
        bench.surface.show_stored(256)
