"""She disturbs a run on purpose, to see what the rule makes of it, and wants to be told so ever after."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

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
