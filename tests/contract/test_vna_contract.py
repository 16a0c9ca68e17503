"""What every network analyser's driver keeps, on the virtual analyser of its dialect."""

import dataclasses
import threading
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pytest
from labctl_drivers.vna.base import Analyser
from labctl_drivers.vna.copper_mountain import CopperMountain
from labctl_drivers.vna.keysight_ena import KeysightEna
from labctl_drivers.vna.keysight_pna import KeysightPna, KeysightPnaRules
from labctl_drivers.vna.librevna import LibreVna, LibreVnaRules
from labctl_drivers.vna.nanovna import NanoVnaRules
from labctl_drivers.vna.nanovna_binary import NanoVnaBinary
from labctl_drivers.vna.nanovna_shell import NanoVnaShell
from labctl_drivers.vna.rohde_schwarz import RohdeSchwarz
from labctl_drivers.vna.settings import AnalyserRules
from labctl_simulators.instruments.vna.copper_mountain import VirtualCopperMountain
from labctl_simulators.instruments.vna.dut import Resonator
from labctl_simulators.instruments.vna.engine import Engine, Hardware
from labctl_simulators.instruments.vna.keysight_ena import VirtualKeysightEna
from labctl_simulators.instruments.vna.keysight_pna import VirtualKeysightPna
from labctl_simulators.instruments.vna.librevna import VirtualLibreVna
from labctl_simulators.instruments.vna.nanovna_binary import VirtualNanoVnaBinary
from labctl_simulators.instruments.vna.nanovna_shell import VirtualNanoVnaShell
from labctl_simulators.instruments.vna.rohde_schwarz import VirtualRohdeSchwarz

from labctl.contract.errors import InputError, InstrumentError
from labctl.contract.microwave import NetworkAnalyser, Segment, Sweep

SWEEP = Sweep(("S21", "S11"), (Segment(3.2e9, 3.4e9, 41),), power_dbm=-15.0, if_bandwidth_hz=1000.0)
RULES: dict[str, Any] = {"max_power": "-10 dBm", "simulated": True, "max_frequency": "6 GHz", "trigger_wait": "1 s"}


@dataclass(frozen=True)
class Dialect:
    """How driver and virtual analyser of a dialect are made. `resolution` is that of the numbers it sends."""

    driver: Callable[..., Analyser]
    virtual: Callable[[Engine], Any]
    rules: type[AnalyserRules] = AnalyserRules
    settings: dict[str, Any] = field(default_factory=dict)
    resolution: float = 1e-15
    bytewise: bool = False


DIALECTS = {
    "keysight-pna": Dialect(KeysightPna, VirtualKeysightPna, KeysightPnaRules),
    "keysight-ena": Dialect(KeysightEna, VirtualKeysightEna),
    "rohde-schwarz": Dialect(RohdeSchwarz, VirtualRohdeSchwarz),
    "copper-mountain": Dialect(CopperMountain, VirtualCopperMountain),
    "copper-mountain-text": Dialect(
        CopperMountain, partial(VirtualCopperMountain, sends_blocks=False), resolution=1e-11
    ),
    "librevna": Dialect(LibreVna, partial(VirtualLibreVna, stale_s=0.02), LibreVnaRules, resolution=1e-5),
    "nanovna-shell": Dialect(
        NanoVnaShell, VirtualNanoVnaShell, NanoVnaRules, {"output_power": "-15 dBm"}, resolution=1e-6, bytewise=True
    ),
    "nanovna-binary": Dialect(
        NanoVnaBinary,
        partial(VirtualNanoVnaBinary, next_index=3),
        NanoVnaRules,
        {"output_power": "-15 dBm", "correction": "allowed"},
        resolution=1e-8,
        bytewise=True,
    ),
}

EVERY = sorted(DIALECTS)
SCPI = [name for name in EVERY if "nano" not in name]
SWITCHED = [name for name in SCPI if name != "librevna"]
"""Those whose RF is on from the first sweep on, also between sweeps."""
CORRECTING = [name for name in EVERY if name != "nanovna-binary"]
TRIGGERED = [name for name in EVERY if name not in ("librevna", "nanovna-shell", "nanovna-binary")]


@dataclass
class Bench:
    """An analyser, its hardware and the link between them."""

    analyser: Analyser
    engine: Engine
    link: Any

    @property
    def sent(self) -> list[Any]:
        return self.link.sent


@pytest.fixture
def build(memory_link: Callable[..., Any], memory_byte_link: Callable[..., Any]) -> Callable[..., Bench]:
    def build(name: str, rules: dict[str, Any] | None = None, **engine: Any) -> Bench:
        dialect = DIALECTS[name]
        hardware = Engine(Resonator(), **engine)
        link = (memory_byte_link if dialect.bytewise else memory_link)(dialect.virtual(hardware).execute)
        settings = dialect.rules.model_validate(RULES | dialect.settings | (rules or {}))
        return Bench(dialect.driver(settings, "vna", link, timeout_s=2.0), hardware, link)

    return build


@pytest.fixture
def opened(build: Callable[..., Bench]) -> Callable[..., Bench]:
    def opened(name: str, **options: Any) -> Bench:
        bench = build(name, **options)
        bench.analyser.open()
        return bench

    return opened


def expected(engine: Engine, sweep: Sweep) -> np.ndarray:
    frequencies_hz = np.concatenate([np.linspace(s.start_hz, s.stop_hz, s.points) for s in sweep.segments])
    matrices = engine.dut.s_parameters(frequencies_hz)
    return np.stack([matrices[:, int(p[1]) - 1, int(p[2]) - 1] for p in sweep.parameters])


@pytest.mark.parametrize("name", EVERY)
def test_is_a_network_analyser(name: str, build: Callable[..., Bench]) -> None:
    assert isinstance(build(name).analyser, NetworkAnalyser)


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize(
    "segments",
    [
        pytest.param((Segment(3.2e9, 3.4e9, 41),), id="linear"),
        pytest.param((Segment(3.1e9, 3.2e9, 5), Segment(3.3e9, 3.5e9, 11)), id="segments"),
        pytest.param(tuple(Segment(hz, hz, 1) for hz in (3.1e9, 3.17e9, 3.3e9)), id="list"),
        pytest.param((Segment(3.3e9, 3.3e9, 7),), id="one frequency"),
    ],
)
def test_a_sweep_is_what_the_device_under_test_does(
    name: str, segments: tuple[Segment, ...], opened: Callable[..., Bench]
) -> None:
    bench = opened(name)
    sweep = dataclasses.replace(SWEEP, segments=segments)
    frequencies_hz = bench.analyser.configure(sweep)
    asked_hz = np.concatenate([np.linspace(s.start_hz, s.stop_hz, s.points) for s in segments])
    np.testing.assert_allclose(frequencies_hz, asked_hz, rtol=1e-6)
    result = bench.analyser.sweep()
    np.testing.assert_allclose(result.values, expected(bench.engine, sweep), atol=DIALECTS[name].resolution, rtol=0)
    assert result.values.dtype == np.complex128
    assert not result.overload


@pytest.mark.parametrize("name", EVERY)
def test_averages_make_one_result(name: str, opened: Callable[..., Bench]) -> None:
    bench = opened(name)
    bench.analyser.configure(dataclasses.replace(SWEEP, averages=4))
    result = bench.analyser.sweep()
    np.testing.assert_allclose(result.values, expected(bench.engine, SWEEP), atol=DIALECTS[name].resolution, rtol=0)


@pytest.mark.parametrize("name", EVERY)
def test_one_configuration_serves_many_sweeps(name: str, opened: Callable[..., Bench]) -> None:
    bench = opened(name)
    bench.analyser.configure(SWEEP)
    first = bench.analyser.sweep()
    bench.engine.dut = Resonator(resonance_hz=3.25e9)
    second = bench.analyser.sweep()
    assert np.abs(first.values - second.values).max() > 0.1
    np.testing.assert_allclose(second.values, expected(bench.engine, SWEEP), atol=DIALECTS[name].resolution, rtol=0)


@pytest.mark.parametrize("name", SWITCHED)
def test_power_is_off_until_the_first_sweep_and_after_make_safe(name: str, opened: Callable[..., Bench]) -> None:
    bench = opened(name)
    bench.analyser.configure(SWEEP)
    assert not bench.engine.rf_on
    bench.analyser.sweep()
    assert bench.engine.rf_on
    bench.analyser.make_safe()
    assert not bench.engine.rf_on
    bench.analyser.make_safe()
    bench.analyser.sweep()
    assert bench.engine.rf_on


@pytest.mark.parametrize("name", EVERY)
def test_make_safe_says_when_an_open_analyser_cannot_be_told(name: str, build: Callable[..., Bench]) -> None:
    bench = build(name)
    bench.analyser.make_safe()
    bench.analyser.open()
    bench.link.close()
    with nullcontext() if "nanovna" in name else pytest.raises(InstrumentError):
        bench.analyser.make_safe()
    bench.analyser.close()
    bench.analyser.close()
    bench.analyser.make_safe()


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"power_dbm": -9.0}, "power -9 dBm is above -10 dBm"),
        ({"segments": (Segment(5.9e9, 6.1e9, 3),)}, "frequency 6100000000 Hz is above 6000000000 Hz"),
        ({"parameters": ("S31",)}, "S31"),
        ({"parameters": ("A",)}, "'A' is no S-parameter"),
        ({"parameters": ()}, "at least one S-parameter"),
        ({"parameters": ("S21", "S21")}, "named once"),
        ({"segments": ()}, "at least one segment"),
        ({"segments": (Segment(3.2e9, 3.3e9, 1),)}, "one point cannot run"),
        ({"segments": (Segment(3.3e9, 3.2e9, 3),)}, "runs upwards"),
        ({"segments": (Segment(3.2e9, 3.3e9, 200_002),)}, "points are more than"),
        ({"averages": 0}, "at least one sweep"),
        ({"if_bandwidth_hz": 0.0}, "not positive"),
    ],
)
def test_what_lies_beyond_limits_is_refused_before_anything_is_sent(
    name: str, change: dict[str, Any], complaint: str, opened: Callable[..., Bench]
) -> None:
    bench = opened(name)
    before = len(bench.sent)
    with pytest.raises(InputError, match=complaint):
        bench.analyser.configure(dataclasses.replace(SWEEP, **change))
    assert len(bench.sent) == before


@pytest.mark.parametrize("name", EVERY)
def test_the_rig_files_limits_hold_before_opening(name: str, build: Callable[..., Bench]) -> None:
    bench = build(name)
    with pytest.raises(InputError, match="a limit of the rig file"):
        bench.analyser.check(dataclasses.replace(SWEEP, power_dbm=0.0))
    with pytest.raises(InstrumentError, match="not open"):
        bench.analyser.configure(SWEEP)
    assert bench.sent == []


@pytest.mark.parametrize("name", EVERY)
def test_a_sweep_needs_a_configuration(name: str, opened: Callable[..., Bench]) -> None:
    with pytest.raises(InstrumentError, match="no sweep is configured"):
        opened(name).analyser.sweep()


@pytest.mark.parametrize("name", EVERY)
def test_the_state_names_configuration_and_rules(name: str, opened: Callable[..., Bench]) -> None:
    bench, other = opened(name), opened(name)
    unconfigured = bench.analyser.state_id
    bench.analyser.configure(SWEEP)
    configured = bench.analyser.state_id
    bench.analyser.sweep()
    assert bench.analyser.state_id == configured != unconfigured
    other.analyser.configure(SWEEP)
    assert other.analyser.state_id == configured
    other.analyser.configure(dataclasses.replace(SWEEP, parameters=("S21",)))
    assert other.analyser.state_id != configured


@pytest.mark.parametrize("name", CORRECTING)
def test_uncorrected_data_are_an_error_where_correction_is_required(name: str, opened: Callable[..., Bench]) -> None:
    bench = opened(name, corrected=False)
    with pytest.raises(InstrumentError, match="no correction is active"):
        bench.analyser.configure(SWEEP)
    assert not bench.engine.rf_on or DIALECTS[name].bytewise
    with pytest.raises(InstrumentError, match="no sweep is configured"):
        bench.analyser.sweep()
    lenient = opened(name, corrected=False, rules={"correction": "allowed"})
    lenient.analyser.configure(SWEEP)
    assert not lenient.analyser.sweep().overload


@pytest.mark.parametrize("name", SCPI)
def test_power_left_on_is_switched_off_and_told(name: str, build: Callable[..., Bench]) -> None:
    bench = build(name, rf_on=True)
    with pytest.raises(InstrumentError, match="RF was left on by someone else"):
        bench.analyser.open()
    assert not bench.engine.rf_on
    assert not bench.link.is_open
    bench.analyser.open()


@pytest.mark.parametrize("name", CORRECTING)
def test_a_simulator_is_not_taken_for_hardware(name: str, build: Callable[..., Bench]) -> None:
    bench = build(name, rules={"simulated": False})
    with pytest.raises(InstrumentError, match="a simulator answers"):
        bench.analyser.open()
    assert not bench.link.is_open


@pytest.mark.parametrize("name", SCPI)
def test_another_dialects_model_is_refused_and_told_nothing(name: str, memory_link: Callable[..., Any]) -> None:
    dialect = DIALECTS[name]
    answers = {b"*IDN?\n": b"Siglent Technologies,SSA3032X,1,1\n"}
    link = memory_link(answers.get)
    analyser = dialect.driver(dialect.rules.model_validate(RULES), "vna", link, timeout_s=2.0)
    with pytest.raises(InstrumentError, match="SSA3032X"):
        analyser.open()
    assert link.sent == ["*IDN?"]
    assert not link.is_open


@pytest.mark.parametrize("name", SCPI)
def test_an_overload_is_flagged_and_the_power_goes_off(name: str, opened: Callable[..., Bench]) -> None:
    bench = opened(name, hardware=Hardware(receiver_limit_dbm=-20.0))
    bench.analyser.configure(SWEEP)
    assert bench.analyser.sweep().overload
    assert not bench.engine.rf_on
    bench.engine.hardware = Hardware()
    assert not bench.analyser.sweep().overload
    assert bench.engine.rf_on == (name in SWITCHED)


@pytest.mark.parametrize("name", TRIGGERED)
@pytest.mark.parametrize("slope", ["rising", "falling"])
def test_an_external_edge_starts_the_sweep(name: str, slope: Any, opened: Callable[..., Bench]) -> None:
    bench = opened(name)
    bench.analyser.configure(dataclasses.replace(SWEEP, trigger=f"external-{slope}"))
    given_up = threading.Event()

    def pulse() -> None:
        while not bench.engine.waits_for_edge and not given_up.wait(0.001):
            pass
        bench.engine.edge("falling" if slope == "rising" else "rising")
        bench.engine.edge(slope)

    pulses = threading.Thread(target=pulse)
    pulses.start()
    try:
        result = bench.analyser.sweep()
    finally:
        given_up.set()
        pulses.join()
    np.testing.assert_allclose(result.values, expected(bench.engine, SWEEP), atol=DIALECTS[name].resolution, rtol=0)


@pytest.mark.parametrize("name", TRIGGERED)
def test_an_armed_sweep_begins_with_its_edge_and_not_before(name: str, opened: Callable[..., Bench]) -> None:
    bench = opened(name)
    bench.analyser.configure(dataclasses.replace(SWEEP, trigger="external-rising"))
    for resonance_hz in (3.3e9, 3.25e9):
        bench.analyser.arm()
        assert bench.engine.rf_on
        assert not bench.analyser.swept()
        bench.engine.edge("falling")
        assert not bench.analyser.swept()
        bench.engine.dut = Resonator(resonance_hz=resonance_hz)
        bench.engine.edge("rising")
        assert bench.analyser.swept()
        result = bench.analyser.read()
        np.testing.assert_allclose(result.values, expected(bench.engine, SWEEP), atol=DIALECTS[name].resolution, rtol=0)


@pytest.mark.parametrize("name", EVERY)
def test_a_sweep_that_is_over_does_not_see_what_changes_then(name: str, opened: Callable[..., Bench]) -> None:
    bench = opened(name)
    bench.analyser.configure(SWEEP)
    bench.analyser.arm()
    over = bench.analyser.wait()
    assert over == bench.analyser.wait()
    wanted = expected(bench.engine, SWEEP)
    if over:
        bench.engine.dut = Resonator(resonance_hz=3.25e9)
    result = bench.analyser.read()
    np.testing.assert_allclose(result.values, wanted, atol=DIALECTS[name].resolution, rtol=0)
    with pytest.raises(InstrumentError, match="no sweep is armed"):
        bench.analyser.wait()


def test_analysers_with_an_operation_complete_query_tell_when_a_sweep_is_over(opened: Callable[..., Bench]) -> None:
    told: set[str] = set()
    for name in EVERY:
        bench = opened(name)
        bench.analyser.configure(SWEEP)
        bench.analyser.arm()
        told |= {name} if bench.analyser.wait() else set()
    assert told == set(TRIGGERED)


@pytest.mark.parametrize("name", EVERY)
def test_what_is_not_armed_is_not_read(name: str, opened: Callable[..., Bench]) -> None:
    bench = opened(name)
    bench.analyser.configure(SWEEP)
    for disarm in (
        lambda: None,
        bench.analyser.read,
        bench.analyser.make_safe,
        lambda: bench.analyser.configure(SWEEP),
    ):
        disarm()
        with pytest.raises(InstrumentError, match="no sweep is armed"):
            bench.analyser.read()
        bench.analyser.arm()
    with pytest.raises(InstrumentError, match="begins its sweeps itself"):
        bench.analyser.swept()


@pytest.mark.parametrize("name", [name for name in EVERY if name not in TRIGGERED])
def test_an_analyser_without_trigger_input_says_so(name: str, opened: Callable[..., Bench]) -> None:
    bench = opened(name)
    before = len(bench.sent)
    with pytest.raises(InputError, match="no trigger input"):
        bench.analyser.configure(dataclasses.replace(SWEEP, trigger="external-rising"))
    assert len(bench.sent) == before
