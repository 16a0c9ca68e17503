"""A rig from its file: every mistake at its line, everything opened, everything made safe on every way out."""

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from labctl.config.errors import ConfigError
from labctl.config.loading import LoadedRig
from labctl.contract.errors import InputError, InstrumentError
from labctl.orchestrator.stopping import Stopped
from labctl.rig.drivers import INSTRUMENTS, LAYERS, installed
from labctl.rig.rig import build_rig, find_layer, made_safe, opened

ReadRig = Callable[..., LoadedRig]
Happened = list[tuple[str, str]]

TWO = "  first: {driver: attenuator.test}\n  second: {driver: attenuator.test}"
PARTS = ["first", "second", "box"]


def complaint(rig: LoadedRig, folder: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        build_rig(rig)
    return str(caught.value).replace(f"{folder}/", "")


def done(happened: Happened, action: str) -> list[str]:
    return [name for what, name in happened if what == action]


def use(rig: LoadedRig, error: BaseException) -> None:
    with opened([build_rig(rig)]):
        raise error


@pytest.mark.parametrize(
    ("instruments", "layers", "message"),
    [
        (
            "  a: {driver: attenuator.tets}",
            "  box: {kind: test-box}",
            'rig.yaml:5:15: unknown instrument driver "attenuator.tets"; did you mean "attenuator.test"?',
        ),
        (
            "",
            "  box: {kind: test-bok}",
            'rig.yaml:5:15: unknown layer kind "test-bok"; did you mean "test-box"?',
        ),
        (
            "  a: {driver: attenuator.test, levle: 3}",
            "  box: {kind: test-box}",
            'rig.yaml:5:32: unknown key "levle"; did you mean "level"?',
        ),
        (
            "  a: {driver: attenuator.test, settle: 3}",
            "  box: {kind: test-box}",
            "rig.yaml:5:40: settle is 3; has no unit: write '3 s'",
        ),
        (
            "  a: {driver: attenuator.test, level: 95}",
            "  box: {kind: test-box}",
            "rig.yaml:5:6: instrument 'a': 95 dB is more than it can do",
        ),
        (
            "  a: {driver: attenuator.test}",
            "  box: {kind: test-box, through: b}",
            "rig.yaml:7:8: layer 'box' uses instrument 'b', which the rig does not define; it has: a",
        ),
        (
            "",
            "  box: {kind: test-box, through: b}",
            "rig.yaml:5:8: layer 'box' uses instrument 'b', which the rig does not define; it has: none",
        ),
        (
            "  a: {driver: gone}",
            "  box: {kind: test-box}",
            'rig.yaml:5:15: instrument driver "gone" (rig_test_package.removed:ATTENUATOR) cannot be loaded: No module',
        ),
        (
            "  a: {driver: renamed}",
            "  box: {kind: test-box}",
            'rig.yaml:5:15: instrument driver "renamed" (rig_test_package:SPECTRUM) cannot be loaded: module',
        ),
        (
            "  a: {driver: wrong.kind}",
            "  box: {kind: test-box}",
            'rig.yaml:5:15: instrument driver "wrong.kind": rig_test_package:NOT_A_DRIVER is no InstrumentDriver',
        ),
    ],
)
def test_a_mistake_is_reported_at_its_place_with_what_to_do(
    tmp_path: Path, happened: Happened, read_rig: ReadRig, instruments: str, layers: str, message: str
) -> None:
    assert complaint(read_rig(instruments, layers), tmp_path).startswith(message)
    assert happened == []


def test_without_a_similar_name_the_installed_ones_are_listed(
    tmp_path: Path, happened: Happened, read_rig: ReadRig
) -> None:
    found = complaint(read_rig(layers="  box: {kind: zzz}"), tmp_path)
    assert re.fullmatch(r'rig.yaml:5:15: unknown layer kind "zzz"; installed: (\S+, )*test-box(, \S+)*', found)


def test_drivers_are_found_by_their_entry_points(happened: Happened) -> None:
    assert "attenuator.test" in installed(INSTRUMENTS)
    assert "audio.simulated" in installed(INSTRUMENTS)
    assert "test-box" in installed(LAYERS)
    assert list(installed(LAYERS)) == sorted(installed(LAYERS))


def test_a_factory_is_told_name_folder_and_clock(tmp_path: Path, happened: Happened, read_rig: ReadRig) -> None:
    rig = build_rig(read_rig("  a: {driver: attenuator.test, level: 3, settle: 5 ms}"))
    instrument: Any = rig.instruments["a"]
    context = instrument.context
    assert (context.name, context.folder) == ("a", tmp_path)
    context.clock.sleep_s(1e6)
    assert context.clock.now_s() == 1e6
    assert instrument.settings.settle == pytest.approx(0.005)
    assert rig.name == "bench"
    assert rig.simulated


def test_building_touches_nothing(happened: Happened, read_rig: ReadRig) -> None:
    build_rig(read_rig(TWO))
    assert happened == []


def test_a_layer_is_found_by_name_unless_two_rigs_have_it(happened: Happened, read_rig: ReadRig) -> None:
    left = build_rig(read_rig(layers="  box: {kind: test-box}\n  attic: {kind: test-box}", file="left.yaml"))
    right = build_rig(read_rig(file="right.yaml"))
    rigs = {"left": left, "right": right}
    assert find_layer(rigs, "attic") is left.layers["attic"]
    assert find_layer(rigs, "left.box") is left.layers["box"]
    assert find_layer(rigs, "right.box") is right.layers["box"]
    with pytest.raises(InputError, match=r"layer 'box' is in more than one rig; write one of: left.box, right.box"):
        find_layer(rigs, "box")
    with pytest.raises(InputError, match=r"no rig has a layer 'cellar'; there are: box, attic, box"):
        find_layer(rigs, "cellar")
    with pytest.raises(InputError, match=r"no rig has a layer 'middle.box'"):
        find_layer(rigs, "middle.box")


def test_all_parts_are_opened_used_made_safe_and_closed_in_reverse(happened: Happened, read_rig: ReadRig) -> None:
    with opened([build_rig(read_rig(TWO))]):
        assert happened == [("open", part) for part in PARTS]
        happened.clear()
    expected = [("make_safe", part) for part in reversed(PARTS)] + [("close", part) for part in reversed(PARTS)]
    assert happened == expected


def test_what_cannot_be_opened_is_named_all_at_once_and_the_rest_is_left_safe(
    happened: Happened, read_rig: ReadRig
) -> None:
    rig = build_rig(
        read_rig(
            "  first: {driver: attenuator.test, fails: [open]}\n"
            "  second: {driver: attenuator.test}\n"
            "  third: {driver: attenuator.test, fails: [open]}"
        )
    )
    with pytest.raises(InstrumentError) as caught, opened([rig]):
        raise AssertionError("the body must not run")
    assert caught.value.instrument == "first, third"
    assert "first: no answer during open; third: no answer during open" in str(caught.value)
    assert done(happened, "open") == ["first", "second", "third", "box"]
    assert sorted(done(happened, "make_safe")) == sorted(done(happened, "close")) == ["box", "first", "second", "third"]


def test_one_that_cannot_be_opened_says_so_itself(happened: Happened, read_rig: ReadRig) -> None:
    rig = build_rig(read_rig("  first: {driver: attenuator.test, fails: [open]}"))
    with pytest.raises(InstrumentError, match=r"^first: no answer during open$"), opened([rig]):
        raise AssertionError("the body must not run")


def test_an_unexpected_error_while_opening_leaves_everything_safe(happened: Happened, read_rig: ReadRig) -> None:
    second = "  second: {driver: attenuator.test, fails: [open], error: OSError}"
    rig = build_rig(read_rig(f"  first: {{driver: attenuator.test}}\n{second}"))
    with pytest.raises(OSError, match="open"), opened([rig]):
        raise AssertionError("the body must not run")
    assert done(happened, "make_safe") == done(happened, "close") == ["box", "second", "first"]


@pytest.mark.parametrize(
    "error",
    [ValueError("defect"), InstrumentError("x", "broke"), Stopped(), KeyboardInterrupt(), SystemExit(5), MemoryError()],
    ids=lambda error: type(error).__name__,
)
def test_every_way_out_makes_every_part_safe(happened: Happened, read_rig: ReadRig, error: BaseException) -> None:
    with pytest.raises(type(error)):
        use(read_rig(TWO), error)
    assert done(happened, "make_safe") == done(happened, "close") == ["box", "second", "first"]


@pytest.mark.parametrize("action", ["make_safe", "close"])
@pytest.mark.parametrize("kind", ["InstrumentError", "OSError"])
@pytest.mark.parametrize("culprit", ["first", "second", "box"])
def test_a_part_that_fails_to_be_made_safe_keeps_no_other_from_it(
    happened: Happened,
    read_rig: ReadRig,
    caplog: pytest.LogCaptureFixture,
    action: str,
    kind: str,
    culprit: str,
) -> None:
    fails = f", fails: [{action}], error: {kind}"
    text = {name: fails if name == culprit else "" for name in PARTS}
    rig = read_rig(
        f"  first: {{driver: attenuator.test{text['first']}}}\n  second: {{driver: attenuator.test{text['second']}}}",
        f"  box: {{kind: test-box{text['box']}}}",
    )
    with pytest.raises(ValueError, match="the reason"), caplog.at_level(logging.ERROR):
        use(rig, ValueError("the reason"))
    assert done(happened, "make_safe") == done(happened, "close") == ["box", "second", "first"]
    assert [record.getMessage() for record in caplog.records] == [f"could not {action.replace('_', ' ')} '{culprit}'"]


def test_an_impatient_interrupt_waits_until_every_part_is_safe(happened: Happened, read_rig: ReadRig) -> None:
    rig = read_rig(TWO, "  box: {kind: test-box, fails: [make_safe], error: KeyboardInterrupt}")
    with pytest.raises(KeyboardInterrupt):
        use(rig, Stopped())
    assert done(happened, "make_safe") == done(happened, "close") == ["box", "second", "first"]


def test_all_rigs_are_made_safe(happened: Happened, read_rig: ReadRig) -> None:
    rigs = [
        build_rig(read_rig("  a: {driver: attenuator.test, fails: [make_safe]}", file="left.yaml")),
        build_rig(read_rig("  b: {driver: attenuator.test}", "  cellar: {kind: test-box}", file="right.yaml")),
    ]
    with made_safe(rigs):
        assert happened == []
    assert done(happened, "make_safe") == ["cellar", "b", "box", "a"]
    assert done(happened, "close") == []
