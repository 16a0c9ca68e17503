"""A rig in a host process is like any other, and safe whatever ends."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labctl.config.loading import rig_from_text
from labctl.contract.capabilities import (
    Differentiable,
    DomainLimited,
    Finding,
    HealthCheckable,
    Identifiable,
    ParameterSink,
)
from labctl.contract.errors import DriveError, InstrumentError
from labctl.contract.layer import Misfit, PhysicalLayer
from labctl.rig.client import HostedLayer, hosted
from labctl.rig.doctor import examine
from labctl.rig.messages import HostDefectError
from labctl.rig.rig import Rig, build_rig, identities, name_run, opened, put_away
from labctl.testing.layer_contract import LayerContract

DRIVERS = Path(__file__).parents[2] / "fixtures" / "drivers"
SAFE_WITHIN_S = 2.0
PATIENCE_S = 120.0
IN_ORDER = ["OUTP OFF", "PATT rest", "TELL safe"]


@pytest.fixture(scope="module")
def driver_installed() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(sys, "path", [str(DRIVERS), *sys.path])
        yield
    sys.modules.pop("rf_bench", None)


@pytest.fixture
def bench(driver_installed: None) -> Iterator[Any]:
    """Instruments behind a server in a process of its own."""
    import rf_bench  # pyright: ignore[reportMissingImports]

    command = [sys.executable, str(DRIVERS / "rf_bench.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stdin is not None
        bench = rf_bench.Bench(*map(int, server.stdout.readline().split()))
        yield bench
        bench.close()
        server.stdin.close()


def build(text: str, folder: Path) -> Rig:
    loaded = rig_from_text(text, folder / "rig.yaml", folder)
    return hosted(loaded, build_rig(loaded))


def drives(n_rows: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(5).random((n_rows, 3), dtype=np.float32)


def measured(layer: PhysicalLayer, ids: range = range(3), stop: threading.Event | None = None) -> list[int]:
    rows = np.array(ids)
    chunks = layer.measure(drives(len(rows)), rows, stop=stop or threading.Event())
    return [int(row) for chunk in chunks for row in chunk.ids]


def interrupted(layer: PhysicalLayer) -> None:
    with pytest.raises(InstrumentError):
        measured(layer)


def until(reached: Callable[[], object], within_s: float = PATIENCE_S) -> None:
    deadline_s = time.monotonic() + within_s
    while not reached():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def host_of(rig: Rig) -> int:
    host: Any = rig.host
    return host._host._process.pid


def is_off_soon(bench: Any, since_s: float, *, in_order: bool = True) -> None:
    """Wait until all is safe; a link that comes back in mid-plan may let a later step be done before an earlier one."""
    until(lambda: bench.ask()["rf"] is False)
    assert bench.ask()["turned_off_s"] - since_s < SAFE_WITHIN_S
    until(lambda: {what for what, _ in bench.ask()["safe"]} == set(IN_ORDER))
    assert not in_order or [what for what, _ in bench.ask()["safe"]][:3] == IN_ORDER


def instant_layer(folder: Path) -> PhysicalLayer:
    text = "schema: labctl/rig/1\nname: r\nhost: {when: always}\nlayers: {c: {kind: scripted, inputs: 3, outputs: 2}}\n"
    return build(text, folder).layers["c"]


@pytest.fixture(scope="module")
def opened_layer(driver_installed: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PhysicalLayer]:
    """A hosted layer that stays open: starting a process for every test takes long."""
    layer = instant_layer(tmp_path_factory.mktemp("rig"))
    layer.open()
    yield layer
    layer.close()


class TestHostedInstantLayer(LayerContract):
    repeatability = 0.0

    @pytest.fixture
    def layer(self, driver_installed: None, tmp_path: Path) -> PhysicalLayer:
        layer = instant_layer(tmp_path)
        assert isinstance(layer, HostedLayer)
        return layer

    @pytest.fixture
    def opened(self, opened_layer: PhysicalLayer) -> PhysicalLayer:
        return opened_layer


def test_a_rig_without_power_of_its_own_needs_no_host(tmp_path: Path, driver_installed: None) -> None:
    rig = build("schema: labctl/rig/1\nname: r\nlayers: {c: {kind: scripted, inputs: 3, outputs: 2}}\n", tmp_path)
    assert rig.host is None
    assert not isinstance(rig.layers["c"], HostedLayer)


def test_a_hosted_rig_measures_what_the_rig_itself_does(bench: Any, tmp_path: Path) -> None:
    text = bench.rig()
    rig = build(text, tmp_path)
    itself = build_rig(rig_from_text(text, tmp_path / "rig.yaml", tmp_path))
    layer = rig.layers["cavity"]
    assert layer.info == itself.layers["cavity"].info
    ids = np.arange(30)
    values: list[Any] = []
    for each in (rig, itself):
        with opened([each]):
            chunks = each.layers["cavity"].measure(drives(30), ids, stop=threading.Event())
            values.append(np.concatenate([chunk.values for chunk in chunks]))
            assert bench.ask()["rf"]
            bench.ask("CLEAR")
        assert [what for what, _ in bench.ask()["safe"]][:3] == IN_ORDER
    np.testing.assert_array_equal(*values)
    assert layer.state_id == itself.layers["cavity"].state_id


def test_a_drive_that_is_refused_and_a_defect_come_back_as_themselves(bench: Any, tmp_path: Path) -> None:
    rig = build(bench.rig(", defect_at: 2"), tmp_path)
    layer = rig.layers["cavity"]
    with pytest.raises(InstrumentError, match="cavity: it is not open during measure"):
        measured(layer)
    with opened([rig]):
        with pytest.raises(DriveError, match="row id 1, input x0: 9 is outside 0 to 1"):
            list(layer.measure(np.array([[0, 0, 0], [9, 0, 0]], np.float32), np.arange(2), stop=threading.Event()))
        assert measured(layer, range(10, 12)) == [10, 11]
        with pytest.raises(HostDefectError, match="ZeroDivisionError: a defect of the driver"):
            measured(layer)
    assert bench.ask()["rf"] is False


def test_a_stop_ends_after_the_pass_under_way(bench: Any, tmp_path: Path) -> None:
    rig = build(bench.rig(", pass: 50 ms"), tmp_path)
    stop = threading.Event()
    with opened([rig]):
        layer = rig.layers["cavity"]
        rows: list[int] = []
        for chunk in layer.measure(drives(1000), np.arange(1000), stop=stop):
            rows += chunk.ids.tolist()
            stop.set()
        assert rows == list(range(bench.ask()["passes"]))
        assert len(rows) < 1000
    assert bench.ask()["rf"] is False


def test_making_safe_does_not_wait_for_a_long_pass(bench: Any, tmp_path: Path) -> None:
    rig = build(bench.rig(", pass: 1000 s"), tmp_path)
    with opened([rig]):
        thread = threading.Thread(target=interrupted, args=[rig.layers["cavity"]])
        thread.start()
        until(lambda: bench.ask()["rf"])
        bench.ask("CLEAR")
        since_s = time.monotonic()
        assert rig.host is not None
        rig.host.make_safe()
        is_off_soon(bench, since_s)
        thread.join(PATIENCE_S)


def test_an_instrument_in_use_names_its_user(bench: Any, tmp_path: Path) -> None:
    rig, other = (build(bench.rig(), tmp_path) for _ in range(2))
    with opened([rig]):
        name_run([rig], "2026-11-22-wine")
        assert measured(rig.layers["cavity"]) == [0, 1, 2]
        bench.ask("CLEAR")
        with pytest.raises(InstrumentError, match=rf"is in use by process {os.getpid()} of .* \(run 2026-11-22-wine, "):
            other.layers["cavity"].open()
        assert bench.ask()["rf"]
        assert bench.ask()["safe"] == []
    with opened([other]):
        assert measured(other.layers["cavity"]) == [0, 1, 2]


def what_comes_of(fault: str, rig: Rig, bench: Any) -> tuple[str, float]:
    """Return what is said when a fault strikes in mid-measurement, and when it struck."""
    since_s = 0.0
    try:
        with opened([rig]):
            rows = rig.layers["cavity"].measure(drives(10_000), np.arange(10_000), stop=threading.Event())
            assert next(iter(rows)).ids == [0]
            bench.ask("CLEAR")
            since_s = time.monotonic()
            strike(fault, host_of(rig), bench)
            list(rows)
    except InstrumentError as error:
        return str(error), since_s
    raise AssertionError("it went on")


def strike(fault: str, host: int, bench: Any) -> None:
    if fault == "guard killed":
        (guard,) = Path(f"/proc/{host}/task/{host}/children").read_text(encoding="utf-8").split()
        os.kill(int(guard), signal.SIGKILL)
    elif fault == "link cut":
        bench.ask("CUT 0.3")
    elif fault != "hung in a driver":
        os.kill(host, {"killed": signal.SIGKILL, "stopped": signal.SIGSTOP}[fault])


@pytest.mark.parametrize("fault", ["killed", "stopped", "link cut", "hung in a driver", "guard killed"])
def test_power_is_off_soon_after(bench: Any, tmp_path: Path, fault: str) -> None:
    hangs = ", hangs_at: 7" if fault == "hung in a driver" else ""
    rig = build(bench.rig(f", pass: 5 ms{hangs}", "host: {patience: 500 ms}\n"), tmp_path)
    error, since_s = what_comes_of(fault, rig, bench)
    is_off_soon(bench, since_s, in_order=fault != "link cut")
    said = {
        "killed": "the rig host ended before all was safe; done: source safe; done: surface safe",
        "stopped": "the rig host was not heard of for 1 s and was killed; done: source safe",
        "link cut": "the link was cut",
        "hung in a driver": "an instrument call takes longer than it may; the rig host ended before all was safe",
        "guard killed": "rig rf-bench: the guard is gone during measure",
    }
    assert said[fault] in error


@pytest.mark.parametrize(("kind", "offers"), [("rf-bench", False), ("rf-bench.tunable", True)])
def test_a_hosted_layer_offers_what_its_layer_does(bench: Any, tmp_path: Path, kind: str, offers: bool) -> None:
    layer = build(bench.rig(kind=kind), tmp_path).layers["cavity"]
    for capability in (DomainLimited, Identifiable, HealthCheckable, ParameterSink):
        assert isinstance(layer, capability) is offers
    assert not isinstance(layer, Differentiable)
    assert isinstance(layer, HostedLayer)
    assert isinstance(layer, PhysicalLayer)


def test_what_a_layer_can_do_besides_it_does_in_its_host(bench: Any, tmp_path: Path) -> None:
    layer: Any = build(bench.rig(kind="rf-bench.tunable"), tmp_path).layers["cavity"]
    assert layer.misfit(np.array([[0.1, 0, 0], [0.95, 0, 0]], dtype=np.float32)) == Misfit(1, 0, "too much")
    assert [channel.name for channel in layer.parameters] == ["gain0", "gain1"]
    assert layer.written.applied.tolist() == [0.0, 0.0]
    assert layer.identity == ""
    for refused in (layer.health, lambda: layer.write_parameters(np.zeros(2))):
        with pytest.raises(InstrumentError, match="cavity: it is not open"):
            refused()
    layer.open()
    assert layer.identity == "RF bench no. 1"
    assert layer.health() == (Finding("temperature", "warm", "open a window"),)
    before = layer.state_id
    written = layer.write_parameters(np.array([0.2, 0.9]))
    assert (written.commanded.tolist(), written.applied.tolist()) == ([0.2, 0.9], [0.25, 1.0])
    assert layer.written is written
    assert layer.state_id == f"{before.split()[0]} [0.25, 1.0]"
    assert bench.ask()["pattern"] == "gains"
    with pytest.raises(DriveError, match="gains are 0 to 1"):
        layer.write_parameters(np.array([0.2, 1.1]))
    assert layer.written is written
    rows = layer.measure(drives(9), np.arange(9), stop=threading.Event())
    next(rows)
    with pytest.raises(InstrumentError, match="it is being measured"):
        layer.health()
    rows.close()
    assert layer.health()
    layer.close()
    assert layer.identity == ""


def test_who_answers_is_known_while_the_rig_is_open(bench: Any, tmp_path: Path) -> None:
    rig = build(bench.rig(), tmp_path)
    assert identities(rig) == {}
    with opened([rig]):
        assert identities(rig)["source"] == "RF bench, source, firmware 1.0"
        assert set(identities(rig)) == set(rig.instruments)
    assert identities(rig) == {}


def test_parameters_outlive_their_host(bench: Any, tmp_path: Path) -> None:
    """A layer keeps its parameters when it is closed and opened; so does one whose process was another then."""
    rig = build(bench.rig(kind="rf-bench.tunable"), tmp_path)
    layer: Any = rig.layers["cavity"]
    layer.open()
    layer.write_parameters(np.array([0.2, 0.9]))
    state = layer.state_id
    os.kill(host_of(rig), signal.SIGKILL)
    interrupted(layer)
    layer.open()
    assert layer.written.applied.tolist() == [0.25, 1.0]
    assert layer.state_id == state
    assert bench.ask()["pattern"] == "gains"
    layer.close()


def test_examined_in_its_host_a_rig_gets_the_same_report(bench: Any, tmp_path: Path) -> None:
    loaded = rig_from_text(bench.rig(), tmp_path / "rig.yaml", tmp_path)
    reports: list[list[Any]] = []
    for rig in (hosted(loaded, build_rig(loaded)), build_rig(loaded)):
        with put_away([rig]):
            reports.append([(each.kind, each.name, each.failure) for each in examine(rig, loaded)])
        assert bench.ask()["rf"] is False
    assert reports[0] == reports[1]
    assert [name for _, name, _ in reports[0]] == ["interlock", "surface", "source", "cavity"]
    assert bench.ask()["passes"] == 2


def test_an_examination_that_fails_leaves_the_rig_to_the_guard(bench: Any, tmp_path: Path) -> None:
    loaded = rig_from_text(bench.rig(", defect_at: 1"), tmp_path / "rig.yaml", tmp_path)
    rig = hosted(loaded, build_rig(loaded))
    with put_away([rig]), pytest.raises(HostDefectError, match="a defect of the driver"):
        list(examine(rig, loaded))
    assert bench.ask()["rf"] is False
