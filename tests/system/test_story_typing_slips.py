"""She mistypes something: she is told where and what was meant, and nothing has happened yet."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Labctl, Tree

SLIPS = [
    ("wine.yaml", "epochs: 10", "epoch: 10", "wine.yaml:10:43", 'unknown key "epoch"; did you mean "epochs"?'),
    ("desk.yaml", "settle: 40 ms", "settle: 40 mss", "desk.yaml:23:13", "'mss' is not a unit known here: s, ms,"),
    (
        "wine.yaml",
        "layer: cavity",
        "layer: cavty",
        "wine.yaml:9:15",
        "no rig has a layer 'cavty'; did you mean 'cavity'?",
    ),
    ("wine.yaml", "rule: phyll", "rule: phylll", "wine.yaml:10:18", 'rule is "phylll"; did you mean "phyll"?'),
    ("wine.yaml", "rig: desk.yaml", "rig: desc.yaml", "wine.yaml:3:6", 'did you mean "desk.yaml"?'),
]


@pytest.mark.parametrize(("file", "right", "wrong", "place", "said"), SLIPS)
def test_a_slip_of_the_pen(
    labctl: "Labctl", desk: Path, tree_of: "Tree", file: str, right: str, wrong: str, place: str, said: str
) -> None:
    """I mistyped one word. Tell me the line, tell me the word I meant, and do not start anything."""
    text = (desk / file).read_text(encoding="utf-8")
    assert text.count(right) == 1
    (desk / file).write_text(text.replace(right, wrong), encoding="utf-8")
    before = tree_of(desk)
    answer = labctl("run", "wine.yaml", code=2)
    assert answer.err.startswith(f"{place}: ")
    assert said in answer.err
    assert answer.err.count("\n") == 1
    assert answer.out == ""
    assert tree_of(desk) == before


def test_two_slips_are_told_at_once(labctl: "Labctl", desk: Path) -> None:
    """I made two mistakes. I want to hear of both now, not of the second tomorrow."""
    text = (desk / "wine.yaml").read_text(encoding="utf-8")
    (desk / "wine.yaml").write_text(text.replace("epochs", "epoch").replace("units", "unit"), encoding="utf-8")
    lines = labctl("run", "wine.yaml", code=2).err.splitlines()
    assert [line.split(": ")[0] for line in lines] == ["wine.yaml:9:83", "wine.yaml:10:43"]


def test_a_file_that_is_not_there(labctl: "Labctl", desk: Path, tree_of: "Tree") -> None:
    """I mistyped the name of the file itself."""
    before = tree_of(desk)
    assert labctl("run", "whine.yaml", code=2).err == 'whine.yaml: no such file; did you mean "wine.yaml"?\n'
    assert 'did you mean "desk.yaml"?' in labctl("run", "wine.yaml", "--rig", "dsk.yaml", code=2).err
    assert tree_of(desk) == before
