"""The microwave layer on a virtual analyser and a virtual metasurface that share one simulated cavity."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from labctl_drivers.layers import microwave
from labctl_drivers.layers.microwave import MicrowaveLayer, TunableMicrowaveLayer
from labctl_drivers.metasurface.base import PatternedSurface
from labctl_drivers.metasurface.labctl_v1 import Command, LabctlV1Rules, LabctlV1Surface
from labctl_drivers.vna.keysight_pna import KeysightPna, KeysightPnaRules
from labctl_simulators.instruments.metasurface.labctl_v1 import VirtualLabctlV1
from labctl_simulators.instruments.metasurface.panel import Panel, PanelTiming
from labctl_simulators.instruments.metasurface.trigger_output import TriggerOutput
from labctl_simulators.instruments.vna.dut import PatternedCavity
from labctl_simulators.instruments.vna.engine import Engine, Hardware
from labctl_simulators.instruments.vna.keysight_pna import VirtualKeysightPna
from labctl_simulators.loopback import microwave as simulated
from labctl_simulators.loopback import microwave_cavity
from labctl_simulators.loopback.microwave import SimulatedMicrowaveLayer
from labctl_simulators.loopback.microwave_cavity import SimulatedCavity
from pydantic import ValidationError

from labctl.contract.capabilities import ParameterSink
from labctl.contract.clock import Clock, SimulatedClock, WallClock
from labctl.contract.driver import BuildContext
from labctl.contract.errors import DriveError, InputError, InstrumentError, SettingError
from labctl.contract.layer import Drives, PhysicalLayer, Responses, RowStatus
from labctl.testing.layer_contract import LayerContract

CAVITY: dict[str, Any] = {
    "box": {"length": "0.6 m", "width": "0.45 m", "height": "20 mm", "quality": 200, "posts": 6},
    "elements": {"count": 8},
    "seed": 1,
    "vna": None,
    "drift": 0.0,
}
POINT: dict[str, Any] = {"frequencies": ["3.2 GHz", "3.3 GHz", "3.4 GHz"], "pass": "50 ms"}
OWN: dict[str, Any] = {"analyser": "vna", "metasurface": "surface", "power": "-15 dBm", "if_bandwidth": "10 kHz"}
ANALYSER: dict[str, Any] = {"max_power": "-10 dBm", "simulated": True, "max_frequency": "6 GHz"}
TIMING = PanelTiming(latch_s=0.002, settle_s=0.005)


@dataclass
class Bench:
    """Two instruments on one cavity. `sent` is what went to either, in order."""

    cavity: SimulatedCavity
    engine: Engine
    panel: Panel
    analyser: KeysightPna
    surface: PatternedSurface
    sent: list[str]
    clock: Clock

    def layer(self, **changes: Any) -> MicrowaveLayer:
        settings = microwave.DRIVER.settings.model_validate(POINT | OWN | changes)
        instruments = {"vna": self.analyser, "surface": self.surface}
        layer = microwave.DRIVER.build(settings, instruments, BuildContext("cavity", Path(), self.clock))
        assert isinstance(layer, MicrowaveLayer)
        return layer

    def twin(self, **changes: Any) -> SimulatedMicrowaveLayer:
        """Return the layer that computes what this bench measures."""
        settings = simulated.DRIVER.settings.model_validate(POINT | {"cavity": "box"} | changes)
        layer = SimulatedMicrowaveLayer(settings, self.cavity, "cavity", self.clock)
        layer.open()
        return layer


def cavity_of(levels: int) -> SimulatedCavity:
    elements = CAVITY["elements"] | {"levels": levels}
    settings = microwave_cavity.DRIVER.settings.model_validate(CAVITY | {"elements": elements})
    built = microwave_cavity.DRIVER.build(settings, BuildContext("box", Path(), SimulatedClock(float("inf"))))
    assert isinstance(built, SimulatedCavity)
    return built


StartBench = Callable[..., Bench]


@pytest.fixture
def bench(memory_link: Callable[..., Any], memory_byte_link: Callable[..., Any]) -> StartBench:
    def bench(
        levels: int = 2,
        settle: str = "5 ms",
        timing: PanelTiming = TIMING,
        clock: Clock | None = None,
        pulse_s: float | None = None,
    ) -> Bench:
        cavity, clock, sent = cavity_of(levels), clock or SimulatedClock(float("inf")), []
        panel = Panel(PatternedCavity(cavity), clock, timing)
        engine = Engine(panel)
        trigger = TriggerOutput(pulse_s or 0.0)
        if pulse_s is not None:
            trigger.wire(engine.edge)
        pna, controller = VirtualKeysightPna(engine, edge_patience_s=1.0), VirtualLabctlV1(panel, trigger=trigger)

        def to_analyser(message: bytes) -> bytes | None:
            sent.append(message.decode().strip())
            return pna.execute(message)

        def to_surface(request: bytes) -> bytes:
            sent.append(f"surface {request[3]}")
            return controller(request)

        rules = LabctlV1Rules.model_validate(
            {"rows": 2, "columns": 4, "levels": levels, "settle": settle, "simulated": True}
        )
        return Bench(
            cavity,
            engine,
            panel,
            KeysightPna(KeysightPnaRules.model_validate(ANALYSER), "vna", memory_link(to_analyser), timeout_s=2.0),
            LabctlV1Surface(rules, memory_byte_link(to_surface, "surface"), clock),
            sent,
            clock,
        )

    return bench


def drives(n_rows: int, levels: int = 2, n_inputs: int = 8) -> Drives:
    rng = np.random.default_rng(8)
    return (rng.integers(0, levels, (n_rows, n_inputs)) / (levels - 1)).astype(np.float32)


def measured(layer: PhysicalLayer, rows: Drives, stop: threading.Event | None = None) -> list[Responses]:
    ids = np.arange(len(rows), dtype=np.int64)
    return list(layer.measure(rows, ids, stop=stop or threading.Event()))


def values_of(chunks: list[Responses]) -> np.ndarray:
    return np.concatenate([chunk.values for chunk in chunks])


class TestMicrowaveOnInstruments(LayerContract):
    @pytest.fixture
    def layer(self, bench: StartBench) -> PhysicalLayer:
        return bench().layer()


class TestMicrowaveOfThreeLevelsComplex(LayerContract):
    @pytest.fixture
    def layer(self, bench: StartBench) -> PhysicalLayer:
        return bench(levels=3).layer(readout="complex", driven=[0, 2, 3, 5, 7])


@pytest.mark.parametrize("readout", ["amplitude", "complex", "power", "decibel"])
@pytest.mark.parametrize(
    ("levels", "frequencies"),
    [(2, POINT["frequencies"]), (4, {"start": "3.1 GHz", "stop": "3.5 GHz", "points": 5})],
)
def test_responses_are_those_of_the_simulated_layer(
    readout: str, levels: int, frequencies: Any, bench: StartBench
) -> None:
    both = {"readout": readout, "frequencies": frequencies, "parameters": ["S21", "S11", "S43"]}
    instruments = bench(levels=levels)
    layer, twin = instruments.layer(**both), instruments.twin(**both)
    layer.open()
    rows = drives(6, levels)
    chunks = measured(layer, rows)
    assert all((chunk.status == RowStatus.OK).all() for chunk in chunks)
    expected = twin.signals(rows)
    np.testing.assert_allclose(values_of(chunks), expected, rtol=1e-12, atol=1e-12 * np.abs(expected).max())
    assert layer.info.outputs == twin.info.outputs
    assert [channel.name for channel in layer.info.inputs] == [channel.name for channel in twin.info.inputs]


def test_a_pattern_is_acknowledged_read_back_and_settled_before_its_sweep(bench: StartBench) -> None:
    instruments = bench()
    layer = instruments.layer()
    layer.open()
    begin = len(instruments.sent)
    measured(layer, drives(3))
    steps = [line for line in instruments.sent[begin:] if line.startswith("surface") or line.endswith("MODE SING")]
    assert steps == ["surface 2", "surface 3", "SENS1:SWE:MODE SING"] * 3


def test_settling_that_is_too_short_gives_the_row_before(bench: StartBench) -> None:
    """What the virtual cavity is for: a driver that does not wait is found out."""
    rows = drives(5)
    hasty, patient = bench(settle="4 ms"), bench()
    results: list[np.ndarray] = []
    for instruments in (hasty, patient):
        layer = instruments.layer()
        layer.open()
        results.append(values_of(measured(layer, rows)))
    # Each sweep comes 4 ms after the latch, with the field 5 ms behind: it sees the pattern of the row before.
    np.testing.assert_allclose(results[0][1:], results[1][:-1], rtol=1e-12)


AT_EDGE: dict[str, Any] = {"clock": WallClock(), "settle": "60 ms", "timing": PanelTiming(0.002, 0.05)}
"""A real clock: the controller's pulses come from a thread of its own."""


def test_with_an_external_trigger_every_sweep_sees_its_settled_pattern(bench: StartBench) -> None:
    instruments = bench(pulse_s=0.06, **AT_EDGE)
    layer = instruments.layer(trigger="external-rising")
    layer.open()
    begin = len(instruments.sent)
    rows = drives(5)
    values = values_of(measured(layer, rows))
    np.testing.assert_allclose(values, instruments.twin().signals(rows), rtol=1e-12)
    steps = [line for line in instruments.sent[begin:] if line in ("surface 2", "SENS1:SWE:MODE SING", "*OPC?")]
    assert steps == ["SENS1:SWE:MODE SING", "surface 2", "*OPC?"] * 5


def test_a_pulse_that_is_still_to_come_begins_no_sweep(bench: StartBench) -> None:
    instruments = bench(pulse_s=0.06, **AT_EDGE)
    layer = instruments.layer(trigger="external-falling")
    layer.open()
    rows = drives(2)
    for _ in range(2):
        values = values_of(measured(layer, rows))
        np.testing.assert_allclose(values, instruments.twin().signals(rows), rtol=1e-12)
        layer.make_safe()  # shows the rest pattern, whose pulse comes later


def test_an_edge_before_the_pattern_has_settled_is_an_error(bench: StartBench) -> None:
    instruments = bench(pulse_s=0.0, **AT_EDGE | {"settle": "300 ms"})
    layer = instruments.layer(trigger="external-rising")
    layer.open()
    instruments.engine.dut.s_parameters(np.array([3.2e9, 3.3e9, 3.4e9]))  # solves the cavity, which takes its time
    says = r"vna: was triggered before the pattern had settled \(0\.3 s\): .* the controller of 'surface'"
    with pytest.raises(InstrumentError, match=says):
        measured(layer, drives(1))


def test_an_edge_that_does_not_come_is_an_error_that_names_the_wire(bench: StartBench) -> None:
    instruments = bench(**AT_EDGE)
    layer = instruments.layer(trigger="external-rising")
    layer.open()
    says = "does the rising edge reach its trigger input[?] Look at the wire from the trigger output of the metasurface"
    with pytest.raises(InstrumentError, match=says):
        measured(layer, drives(1))
    assert not instruments.engine.rf_on


def test_an_overload_marks_its_row_and_the_next_is_measured(bench: StartBench) -> None:
    instruments = bench()
    layer = instruments.layer()
    layer.open()
    instruments.engine.hardware = Hardware(receiver_limit_dbm=-60.0)
    chunks = measured(layer, drives(2))
    assert [status for chunk in chunks for status in chunk.status.tolist()] == [RowStatus.OVERLOAD] * 2
    assert not instruments.engine.rf_on
    instruments.engine.hardware = Hardware()
    assert measured(layer, drives(1))[0].status.tolist() == [RowStatus.OK]


def test_rows_measured_before_a_failure_are_yielded(bench: StartBench) -> None:
    instruments = bench()
    layer = instruments.layer()
    layer.open()
    received: list[Responses] = []
    rows = iter(layer.measure(drives(200), np.arange(200), stop=threading.Event()))
    received.append(next(rows))
    instruments.surface.close()
    with pytest.raises(InstrumentError, match="surface: the metasurface is not open"):
        received.extend(rows)
    ids = [row for chunk in received for row in chunk.ids.tolist()]
    assert ids == list(range(len(ids)))


def test_the_next_pattern_settles_while_a_sweep_is_read(bench: StartBench) -> None:
    instruments = bench()
    layer = instruments.layer()
    layer.open()
    measured(layer, drives(1))
    instruments.sent.clear()
    measured(layer, drives(2))
    shown, begun, read = f"surface {Command.SHOW}", "SENS1:SWE:MODE SING", "CALC1:DATA? SDATA"
    order = [each for each in instruments.sent if each in (shown, begun, "*OPC?", read)]
    assert order == [shown, begun, "*OPC?", shown, read, begun, "*OPC?", read]


def test_a_pattern_that_is_refused_costs_no_sweep_before_it(bench: StartBench) -> None:
    instruments = bench()
    layer = instruments.layer()
    layer.open()
    latch, latched = instruments.surface.latch, [0]

    def refuse_the_third(pattern: Any) -> None:
        latched[0] += 1
        if latched[0] == 3:
            raise InstrumentError("surface", "element 5 is stuck", command="show")
        latch(pattern)

    instruments.surface.latch = refuse_the_third
    rows = layer.measure(drives(4), np.arange(4), stop=threading.Event())
    received: list[int] = []
    with pytest.raises(InstrumentError, match="element 5 is stuck"):
        received.extend(row for chunk in rows for row in chunk.ids.tolist())
    assert received == [0, 1]


def test_stop_ends_between_passes(bench: StartBench) -> None:
    instruments = bench()
    layer = instruments.layer()
    layer.open()
    stop = threading.Event()
    latch = instruments.surface.latch

    def latch_and_stop(pattern: Any) -> None:
        latch(pattern)
        stop.set()

    instruments.surface.latch = latch_and_stop
    assert [chunk.ids.tolist() for chunk in measured(layer, drives(9), stop)] == [[0]]


def test_made_safe_it_radiates_nothing_and_rests(bench: StartBench) -> None:
    instruments = bench()
    layer = instruments.layer()
    layer.open()
    assert not instruments.engine.rf_on
    measured(layer, np.ones((1, 8), dtype=np.float32))
    assert instruments.engine.rf_on
    assert instruments.panel.pattern.all()
    layer.make_safe()
    assert not instruments.engine.rf_on
    assert not instruments.panel.pattern.any()


def test_operating_points_of_one_cavity_take_turns(bench: StartBench) -> None:
    instruments = bench()
    layers = {name: instruments.layer(parameters=[name]) for name in ("S21", "S31")}
    for layer in layers.values():
        layer.open()
    states = {name: layer.state_id for name, layer in layers.items()}
    assert len(set(states.values())) == 2
    for _ in range(2):
        for name, layer in layers.items():
            expected = instruments.twin(parameters=[name]).signals(drives(2))
            np.testing.assert_allclose(values_of(measured(layer, drives(2))), expected, rtol=1e-12)
    assert {name: layer.state_id for name, layer in layers.items()} == states
    assert layers["S21"].info.resources == {"vna", "surface"}


def test_elements_that_no_drive_sets_are_parameters(bench: StartBench) -> None:
    instruments = bench(levels=3)
    layer = instruments.layer(driven=[1, 6, 4])
    assert isinstance(layer, TunableMicrowaveLayer)
    assert isinstance(layer, ParameterSink)
    assert not isinstance(instruments.layer(), ParameterSink)
    assert [channel.name for channel in layer.info.inputs] == ["element1", "element6", "element4"]
    assert [channel.name for channel in layer.parameters] == [f"element{e}" for e in (0, 2, 3, 5, 7)]
    layer.open()
    before = layer.state_id
    written = layer.write_parameters(np.array([0.0, 0.2, 0.3, 0.9, 1.0]))
    assert written.commanded.tolist() == [0.0, 0.2, 0.3, 0.9, 1.0]
    assert written.applied.tolist() == [0.0, 0.0, 0.5, 1.0, 1.0]
    assert layer.written is written
    assert layer.state_id != before
    rows = drives(3, levels=3, n_inputs=3)
    whole = np.zeros((3, 8), dtype=np.float32)
    whole[:, [1, 6, 4]] = rows
    whole[:, [0, 2, 3, 5, 7]] = written.applied
    np.testing.assert_allclose(values_of(measured(layer, rows)), instruments.twin().signals(whole), rtol=1e-12)


@pytest.mark.parametrize("values", [np.zeros(4), np.full(5, 1.1), np.array([0, 0, -0.1, 0, 0]), np.full(5, np.nan)])
def test_parameters_out_of_range_are_refused_before_anything_is_sent(values: np.ndarray, bench: StartBench) -> None:
    instruments = bench()
    layer = instruments.layer(driven=[1, 6, 4])
    assert isinstance(layer, TunableMicrowaveLayer)
    layer.open()
    sent = len(instruments.sent)
    with pytest.raises(DriveError, match="takes 5 parameters from 0 to 1"):
        layer.write_parameters(values)
    assert len(instruments.sent) == sent
    assert not layer.written.applied.any()


def test_a_drive_between_levels_is_refused(bench: StartBench) -> None:
    layer = bench().layer()
    with pytest.raises(DriveError, match=r"input element0: 0\.5 is none of the 2 levels 0, 1"):
        layer.measure(np.full((1, 8), 0.5, dtype=np.float32), np.array([0]), stop=threading.Event())


def test_a_failed_open_leaves_nothing_connected(bench: StartBench) -> None:
    instruments = bench()
    instruments.engine.corrected = False
    with pytest.raises(InstrumentError, match="no correction is active"):
        instruments.layer().open()
    with pytest.raises(InstrumentError, match="not open"):
        instruments.surface.show(np.zeros(8, dtype=np.uint8))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"power": "0 dBm"}, "vna: power 0 dBm is above -10 dBm"),
        ({"frequencies": ["6.1 GHz"]}, "frequency 6100000000 Hz is above"),
        ({"driven": [0, 8]}, "'surface' has elements 0 to 7, and no 8"),
        ({"analyser": "vma"}, "uses instrument 'vma', which the rig does not define; it has: surface, vna"),
        ({"metasurface": "vna"}, "needs instrument 'vna' to be a Metasurface"),
    ],
)
def test_what_the_instruments_cannot_do_is_refused_at_validation(
    changes: dict[str, Any], says: str, bench: StartBench
) -> None:
    instruments = bench()
    with pytest.raises(InputError) as caught:
        instruments.layer(**changes)
    assert says in str(caught.value)
    assert instruments.sent == []


def test_an_error_of_an_instruments_name_leads_to_its_key(bench: StartBench) -> None:
    with pytest.raises(SettingError) as caught:
        bench().layer(metasurface="surfer")
    assert caught.value.at == ("metasurface",)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"frequencies": []}, "at least one"),
        ({"frequencies": ["3 GHz", "3 GHz"]}, "frequencies: name each once"),
        ({"frequencies": {"start": "3 GHz", "stop": "2 GHz", "points": 3}}, "stop must lie above start"),
        ({"parameters": ["S21", "S21"]}, "parameters: name each once"),
        ({"driven": [1, 1]}, "driven: name each once"),
        ({"driven": []}, "at least 1 item"),
        ({"trigger": "external"}, "'external-rising' or 'external-falling'"),
        ({"if_bandwidth": "0 Hz"}, "greater than 0"),
        ({"power": -15}, "has no unit"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, Any], says: str, bench: StartBench) -> None:
    with pytest.raises(ValidationError) as caught:
        bench().layer(**changes)
    assert says in str(caught.value)


@pytest.mark.parametrize("readout", ["complex", "power", "decibel"])
def test_a_sweep_that_was_kept_is_read_out_in_another_way(readout: str, bench: StartBench) -> None:
    instruments, rows = bench(), drives(3)
    sender, other = instruments.layer(), instruments.layer(readout=readout)
    sender.open()
    sender.deliver_raw(wanted=True)
    raw = [chunk.raw for chunk in measured(sender, rows) if chunk.raw is not None]
    sender.deliver_raw(wanted=False)
    values, status = other.rereading(sender)(np.concatenate(raw), rows)
    np.testing.assert_array_equal(values, values_of(measured(other, rows)))
    assert not status.any()
    with pytest.raises(SettingError, match="it decides what is sent") as refused:
        instruments.layer(readout=readout, if_bandwidth="1 kHz").rereading(sender)
    assert refused.value.at == ("if_bandwidth",)
