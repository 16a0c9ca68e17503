"""She moves an experiment to another rig."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .conftest import Labctl, Tree

QUIET_ROOM = "noise: -80 dBFS"


def changed_rig(desk: Path, name: str, old: str, new: str) -> Path:
    text = (desk / "desk.yaml").read_text(encoding="utf-8")
    assert text.count(old) == 1
    (desk / name).write_text(text.replace(old, new), encoding="utf-8")
    return Path(name)


def test_the_same_experiment_on_another_rig(labctl: "Labctl", desk: Path) -> None:
    """The room next door has a rig like mine. I do not want to edit my experiment to use it."""
    other = changed_rig(desk, "next-door.yaml", "name: desk", "name: next-door")
    before = (desk / "wine.yaml").read_bytes()
    result = labctl("run", "wine.yaml", "--rig", other, "--json").json
    assert result["passes"] == 3 * (134 + 44)
    (run,) = labctl.runs()
    assert (run / "rig-main.yaml").read_text(encoding="utf-8") == (desk / "next-door.yaml").read_text(encoding="utf-8")
    assert (desk / "wine.yaml").read_bytes() == before


def test_a_rig_with_fewer_loudspeakers(labctl: "Labctl", desk: Path, tree_of: "Tree") -> None:
    """The rig in the basement has two loudspeakers. Say that it does not fit and what I can do about it."""
    small = changed_rig(desk, "basement.yaml", "      south: {max_level: -12 dBFS}\n", "")
    text = (desk / "wine.yaml").read_text(encoding="utf-8").replace("{kind: fitted-range, mix: orthogonal}", "direct")
    (desk / "wine.yaml").write_text(text, encoding="utf-8")
    before = tree_of(desk)
    said = labctl("run", "wine.yaml", "--rig", small, code=2).err
    assert said.startswith("wine.yaml:9:32: block 1 on layer 'cavity': ")
    assert "sends 16 values, but the layer has 14 inputs" in said
    assert "mix: orthogonal" in said
    assert tree_of(desk) == before


def test_a_trained_run_on_another_rig(labctl: "Labctl", desk: Path, run: Path) -> None:
    """Does what I trained here also work on the rig next door? And may I break it by asking?"""
    noisy = changed_rig(desk, "noisy.yaml", QUIET_ROOM, "noise: -70 dBFS")
    here, there = (labctl("evaluate", "latest", *rig, "--json").json for rig in ([], ["--rig", noisy]))
    assert 0.8 < there["accuracy"] <= 1 >= here["accuracy"] > 0.8
    assert there["interval"][0] < there["accuracy"] < there["interval"][1]
    shown = labctl.quick("runs", "show", "latest", "--json").json
    assert shown["passes"]["evaluate"] == 2 * 3 * 44
    assert "verified" in labctl.quick("runs", "verify", "latest").out


def test_a_trained_run_on_a_rig_of_another_kind(labctl: "Labctl", desk: Path, run: Path, tree_of: "Tree") -> None:
    """The other rig has two microphones instead of three. The weights cannot fit: tell me so before anything plays."""
    deaf = changed_rig(desk, "deaf.yaml", "[mic-a, mic-b, mic-c]", "[mic-a, mic-b]")
    before = tree_of(desk)
    for command in (["evaluate", "latest", "--rig", deaf], ["predict", "latest", "wine.csv", "--live", deaf]):
        said = labctl(*command, code=2).err
        assert "block 1 was trained on a layer with 21 outputs" in said
        assert "'cavity' here has 14 outputs" in said
        assert "labctl run EXPERIMENT --rig RIG" in said
    assert tree_of(desk) == before


def test_one_value_of_the_rig_changed_for_one_run(labctl: "Labctl", run: Path) -> None:
    """I want the same box with the loudspeakers elsewhere, without a second rig file, and a record of what I did."""
    labctl("run", "wine.yaml", "--json", "--set", "rig.instruments.interface.seed=2", "--set", "training.epochs=2")
    changed = labctl.runs()[1].name
    lines = labctl.quick("runs", "diff", run.name, changed).out.splitlines()
    assert "rig.main.instruments.interface.seed: 1 -> 2" in lines
    assert "verified" in labctl.quick("runs", "verify", changed).out
    assert labctl("evaluate", changed, "--json").json["accuracy"] > 0.5, "the bench is built as it was changed"
    labctl.quick("report", changed)
    assert "rig.instruments.interface.seed=2" in (labctl.runs()[1] / "report.html").read_text(encoding="utf-8")
    refused = labctl.quick("validate", "wine.yaml", "--set", "rig.instruments.interface.sed=2", code=2).err
    assert 'unknown key "sed"; did you mean "seed"?' in refused
