"""An instrument of her own, with her own driver, fails while a run goes on."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Labctl, Tree

DRIVERS = Path(__file__).parents[1] / "fixtures" / "drivers"
ALL_PASSES = 3 * (134 + 44)

RIG = """\
schema: labctl/rig/1
name: bench
recovery: {recovery}
layers:
  cavity: {{kind: scripted, inputs: 21, outputs: 21, {script}}}
"""


@pytest.fixture
def driver_installed(labctl: "Labctl", monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that offers the layer kind `scripted`."""
    monkeypatch.setenv("PYTHONPATH", str(DRIVERS))


GIVE_UP = "{attempts: 0, rejected: {attempts: 0}}"


def bench(desk: Path, script: str, recovery: str = GIVE_UP) -> None:
    (desk / "desk.yaml").write_text(RIG.format(script=script, recovery=recovery), encoding="utf-8")


def test_my_own_driver_is_found(labctl: "Labctl", desk: Path, tree_of: "Tree", driver_installed: None) -> None:
    """I installed my driver. Its settings are checked like everybody else's, and my rig says what it is."""
    bench(desk, "clipped: {3: 1}")
    assert "layer cavity: 21 inputs, 21 outputs" in labctl("validate", "desk.yaml").out
    assert '"scripted"' in labctl("schema", "rig").out
    bench(desk, "clippd: {3: 1}")
    said = labctl("run", "wine.yaml", code=2).err
    assert said == 'desk.yaml:5:53: unknown key "clippd"; did you mean "clipped"?\n'


def test_a_driver_that_is_not_installed(labctl: "Labctl", desk: Path, tree_of: "Tree") -> None:
    """On this computer my driver is not installed."""
    bench(desk, "clipped: {3: 1}")
    before = tree_of(desk)
    said = labctl("run", "wine.yaml", code=2).err
    assert said.startswith('desk.yaml:5:18: unknown layer kind "scripted"; installed: acoustic')
    assert tree_of(desk) == before


def test_passes_that_were_no_good_are_repeated(labctl: "Labctl", desk: Path, driver_installed: None) -> None:
    """A lorry drove past, a sound card hiccuped. Those passes must not be learnt from, and I want to know of them."""
    bench(desk, "clipped: {3: 1, 100: 3}, xrun: {7: 2, 450: 1}")
    result = labctl("run", "wine.yaml", "--set", "report.page=true", "--json").json
    assert result["passes"] == ALL_PASSES + 7
    shown = labctl.quick("runs", "show", "latest")
    assert "  clipped: 4\n  xrun: 3\n" in shown.out
    assert "7 rejected" in labctl.quick("runs", "list").out
    assert "equal bit for bit, test scores too" in labctl.quick("runs", "verify", "latest").out
    log = (labctl.runs()[0] / "run.log").read_text(encoding="utf-8")
    assert " 1 of 132 rows of cavity are measured again" in log
    page = (labctl.runs()[0] / "report.html").read_text(encoding="utf-8")
    assert "clipped" in page


def test_a_pass_that_is_never_good(labctl: "Labctl", desk: Path, driver_installed: None) -> None:
    """One drive clips every time. Do not repeat it for ever; and when I have turned the gain down I want to go on."""
    bench(desk, "clipped: {30: 99}")
    answer = labctl("run", "wine.yaml", code=3)
    (run,) = labctl.runs()
    said = answer.err.splitlines()[-1]
    assert said.startswith("labctl: cavity: row 30 was rejected 4 times in a row")
    assert said.endswith(f"labctl resume runs/{run.name}")
    assert (desk / "SAFE").exists()
    assert not (desk / "OPEN").exists()
    (desk / "mended").touch()
    assert f"{ALL_PASSES + 4} passes" in labctl("resume", "latest").out


def test_the_cable_falls_out(labctl: "Labctl", desk: Path, driver_installed: None) -> None:
    """At four in the morning somebody tripped over the cable. In the morning I plug it in and go on."""
    bench(desk, "unplugged_at: 200")
    answer = labctl("run", "wine.yaml", code=3)
    (run,) = labctl.runs()
    assert answer.err.splitlines()[-1] == (
        f"labctl: cavity: the cable is unplugged during row 200; go on afterwards with: labctl resume runs/{run.name}"
    )
    assert answer.out == ""
    assert (desk / "SAFE").exists()
    assert not (desk / "OPEN").exists()
    shown = labctl.quick("runs", "show", "latest").out
    assert "reason: 'cavity: the cable is unplugged during row 200'" in shown
    assert "state: 'not finished: stopped'" in shown
    assert sum(labctl.quick("runs", "show", "latest", "--json").json["passes"].values()) == 200
    labctl("resume", "latest", code=3)  # not plugged in yet
    bench(desk, "unplugged_at: 1000, pass: 1 h")  # for another experiment: a run goes on with the rig it began with
    (desk / "mended").touch()
    assert "desk.yaml is not as it was when the run began (" in labctl.quick("resume", "latest", code=4).err
    assert f"{ALL_PASSES} passes" in labctl("resume", "latest", "--own-files").out
    assert "equal bit for bit" in labctl.quick("runs", "verify", "latest").out


def test_an_analyser_that_is_too_hot(labctl: "Labctl", desk: Path, driver_installed: None) -> None:
    """In August the analyser overheats. It says so; give it time and go on. What is broken need not be waited for."""
    bench(desk, "hot: {100: 3, 300: 1}", "{attempts: 0, not_ready: {attempts: 3, pause: 10 ms}}")
    assert f"{ALL_PASSES} passes" in labctl("run", "wine.yaml").out
    assert "recoveries:\n  not ready: 4\n" in labctl.quick("runs", "show", "latest").out
    log = (labctl.runs()[0] / "run.log").read_text(encoding="utf-8")
    assert "is 81 °C hot: let it cool; attempt 3 of 3 in 0.04 s" in log
    assert "equal bit for bit" in labctl.quick("runs", "verify", "latest").out


def test_an_analyser_that_stays_too_hot(labctl: "Labctl", desk: Path, driver_installed: None) -> None:
    """The fan is broken. Three looks are enough."""
    bench(desk, "hot: {100: 99}", "{not_ready: {attempts: 3, pause: 10 ms}}")
    answer = labctl("run", "wine.yaml", code=3)
    assert "labctl: cavity: is 81 °C hot: let it cool; the rig was opened again 3 times in vain" in answer.err
    assert (desk / "SAFE").exists()


def test_a_lorry_that_stands_before_the_window(labctl: "Labctl", desk: Path, driver_installed: None) -> None:
    """Repeating at once does not help against a lorry whose engine runs. Wait, and look again, but not for ever."""
    bench(desk, "clipped: {30: 6, 31: 4}", "{rejected: {attempts: 1, pause: 10 ms}}")
    assert f"{ALL_PASSES + 10} passes" in labctl("run", "wine.yaml").out
    shown = labctl.quick("runs", "show", "latest").out
    assert "recoveries:\n  rejected: 1\n" in shown
    assert "row 30 was rejected 4 times in a row" in shown
    bench(desk, "clipped: {30: 99}", "{rejected: {attempts: 1, pause: 10 ms}}")
    said = labctl("run", "wine.yaml", code=3).err.splitlines()[-1]
    assert said.startswith("labctl: cavity: row 30 was rejected 8 times in a row")
    assert "the rig was opened again 1 times in vain" in said


def test_another_instrument_answers(labctl: "Labctl", desk: Path, driver_installed: None) -> None:
    """Somebody has borrowed mine and put theirs in its place. Waiting is of no use; stop at once."""
    bench(desk, "exchanged_at: 200", "{attempts: 100, pause: 1 h}")
    said = labctl("run", "wine.yaml", code=3).err.splitlines()[-1]
    assert said.startswith("labctl: cavity: another one answers: was it exchanged?; go on afterwards with")
    assert (desk / "SAFE").exists()
