"""She disturbs a run on purpose, to see what the rule makes of it, and wants to be told so ever after."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from labctl.record.reader import LogReader

from .conftest import passes_of

if TYPE_CHECKING:
    from .conftest import Labctl

LIST = (
    "{kind: gain, at: 150, spread: 0.3}",
    "{kind: swapped, at: 300, channels: [mic-a 200 Hz, mic-b 300 Hz]}",
    "{kind: dead, at: after training, channel: mic-c 800 Hz}",
)
PLAN = f"disturbances=[{', '.join(LIST)}]"
JOINT = ("--set", "training={rule: phyll, schedule: joint, epochs: 2, batch: 20, optimizer: {lr: 5e-3}}")

CAVE = """\
schema: labctl/rig/1
name: cave
time_scale: instant
instruments:
  box:
    driver: microwave.simulated
    box: {length: 0.6 m, width: 0.45 m, height: 20 mm, quality: 200, posts: 6}
    elements: {count: 40}
    seed: 1
layers:
  cavity:
    kind: simulated-microwave
    cavity: box
    frequencies: {start: 3.1 GHz, stop: 3.5 GHz, points: 10}
    pass: 50 ms
"""
WATCHED = "drift: {every: 60, on_remixed: note}\nreport: {"


def test_a_disturbed_run_is_told_as_such_and_replays_to_the_bit(labctl: "Labctl", desk: Path) -> None:
    """Gains move and two cables change places while it trains; a channel dies before the test. Broken off once."""
    labctl("run", "wine.yaml", *JOINT, "--set", PLAN, "--pass-limit", "250", code=5)
    whole = labctl("run", "wine.yaml", *JOINT, "--set", PLAN, "--json", "--runs", "whole").json
    resumed = labctl("resume", "latest", "--json").json
    models = [(desk / each["run"] / "model" / "model.npz").read_bytes() for each in (whole, resumed)]
    assert models[0] == models[1]
    verified = labctl("runs", "verify", resumed["run"], "--json").json
    assert verified["identical"]
    assert verified["test_identical"]

    first_test = 134 + 2 * 2 * 134
    assert [(each["place"], each["first_id"]) for each in resumed["disturbances"]] == [
        (0, 150),
        (1, 300),
        (2, first_test),
    ]
    assert resumed["disturbances"] == whole["disturbances"]
    said = labctl.quick("resume", "latest").out
    assert "disturbed on purpose: gain (spread 0.3) from row 150 on; responses changed by arithmetic" in said
    assert resumed["report"] is None
    written = labctl.quick("report", "latest").out.strip()
    page = (desk / written).read_text(encoding="utf-8")
    assert page.count("Disturbed on purpose: ") == len(LIST)
    assert passes_of(desk / resumed["run"]) == passes_of(desk / whole["run"])


def test_another_medium_is_left_to_a_simulator_that_offers_it(labctl: "Labctl", desk: Path) -> None:
    """Warm the box before the test: the simulated box can; a surrogate of recordings, or hardware, cannot."""
    calm = labctl("run", "wine.yaml", "--json").json
    warm = "disturbances=[{kind: temperature, at: after training, temperature: 35 °C}]"
    warmed = labctl("run", "wine.yaml", "--set", warm, "--json").json
    assert warmed["disturbances"][0]["how"] == "simulated medium changed"
    assert warmed["accuracy"] != calm["accuracy"]
    models = [(desk / each["run"] / "model" / "model.npz").read_bytes() for each in (calm, warmed)]
    assert models[0] == models[1], "training came before"


@pytest.mark.parametrize("change", ["kind: temperature, temperature: 45 °C", "kind: moved, distance: 3 cm"])
def test_a_changed_metasurface_cavity_is_told_as_re_mixed(labctl: "Labctl", desk: Path, change: str) -> None:
    """The room warms up, or someone knocks a post over, in the middle of the night: the run goes on and says so."""
    (desk / "desk.yaml").write_text(CAVE, encoding="utf-8")
    text = (desk / "wine.yaml").read_text(encoding="utf-8")
    text = text.replace("kind: fitted-range", "kind: two-bit").replace("report: {", WATCHED)
    (desk / "wine.yaml").write_text(text, encoding="utf-8")
    plan = ("--set", f"disturbances=[{{{change}, at: 250}}]")
    disturbed = labctl("run", "wine.yaml", *JOINT, *plan, "--json").json
    (told,) = disturbed["disturbances"]
    assert (told["how"], told["first_id"]) == ("simulated medium changed", 250)
    with LogReader(desk / disturbed["run"] / "run.sqlite") as log:
        looks = [(event.detail["verdict"], event.detail["first_id"]) for event in log.events() if event.kind == "drift"]
    assert {verdict for verdict, first_id in looks if first_id < 250} == {"baseline", "steady"}
    assert next(verdict for verdict, first_id in looks if first_id >= 250) == "re-mixed"
    assert labctl.quick("runs", "verify", disturbed["run"], "--json").json["identical"]


@pytest.mark.parametrize(
    ("disturbance", "said"),
    [
        ("{kind: bent, at: 5, deformation: 3}", "a box of air is not bent; expected temperature or moved"),
        ("{kind: dead, at: 5, channel: mic-x}", "no channel 'mic-x'; there are mic-a 200 Hz, "),
        ("{kind: gain, at: 5, spread: 0.1, layer: hall}", "no block uses a layer 'hall'; expected one of: cavity"),
        ("{kind: gain, at: -1, spread: 0.1}", "at is -1"),
        ("{kind: gain, spread: 0.1}", 'missing key "at"'),
    ],
)
def test_what_cannot_be_is_refused(labctl: "Labctl", desk: Path, disturbance: str, said: str) -> None:
    """A slip in the plan is found before the night, not in it."""
    assert said in labctl.quick("validate", "wine.yaml", "--set", f"disturbances=[{disturbance}]", code=2).err
