"""Whatever is wrong with what a person wrote: one message that says where and what is expected, and nothing happens."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from .conftest import Labctl, Tree

Spoil = Callable[[Path], None]


def edit(file: str, old: str, new: str) -> Spoil:
    """Replace the one `old` in a file."""

    def spoil(desk: Path) -> None:
        text = (desk / file).read_text(encoding="utf-8")
        assert text.count(old) == 1, (file, old)
        (desk / file).write_text(text.replace(old, new), encoding="utf-8")

    return spoil


def hold(file: str, content: str | bytes) -> Spoil:
    """Let a file hold something else."""
    data = content.encode() if isinstance(content, str) else content
    return lambda desk: void((desk / file).write_bytes(data))


def cell(line: int, column: int, text: str) -> Spoil:
    """Write into a cell of wine.csv."""

    def spoil(desk: Path) -> None:
        rows = [row.split(",") for row in (desk / "wine.csv").read_text(encoding="utf-8").splitlines()]
        rows[line - 1][column] = text
        (desk / "wine.csv").write_text("\n".join(",".join(row) for row in rows) + "\n", encoding="utf-8")

    return spoil


def npz(**arrays: np.ndarray) -> Spoil:
    """Let the experiment learn from an npz file of these arrays."""

    def spoil(desk: Path) -> None:
        edit("wine.yaml", "source: csv, path: wine.csv, label: cultivar", "source: npz, path: wine.npz")(desk)
        np.savez(desk / "wine.npz", allow_pickle=True, **arrays)

    return spoil


def both(*spoils: Spoil) -> Spoil:
    """Do one after the other."""
    return lambda desk: void(*[spoil(desk) for spoil in spoils])


def void(*_: object) -> None:
    """Return nothing."""


def truncated(desk: Path) -> None:
    npz(x=np.ones((30, 3)), y=np.arange(30) % 3)(desk)
    file = desk / "wine.npz"
    file.write_bytes(file.read_bytes()[:200])


X = np.random.default_rng(0).random((30, 13))
Y = np.arange(30) % 3

IN_FILES = {
    # keys and values of the experiment
    "unknown key": (edit("wine.yaml", "seed: 7", "sede: 7"), "wine.yaml:4:1", 'did you mean "seed"?'),
    "unknown key deep down": (edit("wine.yaml", "lr: 5e-3", "learning: 1"), "wine.yaml:10:", 'unknown key "learning"'),
    "missing key": (edit("wine.yaml", "seed: 7\n", ""), "wine.yaml:1:1", 'missing key "seed"'),
    "text for a number": (edit("wine.yaml", "epochs: 10", "epochs: ten"), "wine.yaml:10:51", "a whole number"),
    "a fraction": (edit("wine.yaml", "epochs: 10", "epochs: 1.5"), "wine.yaml:10:51", "a whole number"),
    "nought epochs": (edit("wine.yaml", "epochs: 10", "epochs: 0"), "wine.yaml:10:51", "of at least 1"),
    "a yes that is no boolean": (edit("wine.yaml", "skip: true", "skip: yes"), "wine.yaml:9:", "true or false"),
    "not a number": (edit("wine.yaml", "theta: 10", "theta: .nan"), "wine.yaml:10:", "finite"),
    "no unit": (edit("wine.yaml", "20 ms", "20"), "wine.yaml:11:24", "has no unit"),
    "wrong unit": (edit("wine.yaml", "20 ms", "20 Hz"), "wine.yaml:11:24", "'Hz' is not a unit known here: s, ms"),
    "unknown layer": (edit("wine.yaml", "layer: cavity", "layer: cave"), "wine.yaml:9:15", "no rig has a layer 'cave'"),
    "unknown rule": (
        edit("wine.yaml", "rule: phyll", "rule: backprop"),
        "wine.yaml:10:18",
        'did you mean "backpropagation"?',
    ),
    "no blocks": (
        both(edit("wine.yaml", "  blocks:\n", "  blocks: []\n"), edit("wine.yaml", "    - {layer", "#   - {layer")),
        "wine.yaml:8:11",
        "blocks is",
    ),
    "encoder does not fit": (
        edit("wine.yaml", "{kind: fitted-range, mix: orthogonal}", "direct"),
        "wine.yaml:9:32",
        "sends 16 values, but the layer has 21 inputs",
    ),
    "a name that is no name": (edit("wine.yaml", "name: wine", "name: ../wine"), "wine.yaml:2:7", "a name of letters"),
    "label kind": (edit("wine.yaml", "kind: one-hot", "kind: none"), "wine.yaml:7:17", "expected one-hot"),
    # the file itself
    "empty file": (hold("wine.yaml", ""), "wine.yaml:1:1", "the file is empty"),
    "a list": (hold("wine.yaml", "- 1\n- 2\n"), "wine.yaml:1:1", "the file holds a list"),
    "broken off": (edit("wine.yaml", "lr: 5e-3}}", "lr: 5e-3"), "wine.yaml:11:", ""),
    "a tab": (edit("wine.yaml", "  label:", "\tlabel:"), "wine.yaml:7:1", "a tab"),
    "not text": (hold("wine.yaml", b"schema: labctl\nname: \xff\xfe\n"), "wine.yaml:2:7", "byte 0xFF is not UTF-8"),
    "duplicate key": (edit("wine.yaml", "seed: 7", "seed: 7\nseed: 8"), "wine.yaml:5:1", "seed"),
    "python": (
        edit("wine.yaml", "seed: 7", 'seed: !!python/object/apply:os.system ["touch owned"]'),
        "wine.yaml:4:7",
        "python",
    ),
    "later version": (
        edit("wine.yaml", "experiment/1", "experiment/2"),
        "wine.yaml:1:9",
        'schema "labctl/experiment/2" is not supported; supported: labctl/experiment/1',
    ),
    "no schema": (edit("wine.yaml", "schema: labctl/experiment/1\n", ""), "wine.yaml:1:1", 'missing key "schema"'),
    # the rig
    "no such rig": (edit("wine.yaml", "rig: desk.yaml", "rig: dusk.yaml"), "wine.yaml:3:6", 'did you mean "desk.yaml"'),
    "an experiment for a rig": (edit("wine.yaml", "rig: desk.yaml", "rig: wine.yaml"), "wine.yaml:1:9", "this is an"),
    "unknown driver": (edit("desk.yaml", "audio.simulated", "audio.simulate"), "desk.yaml:7:13", 'mean "audio.simul'),
    "unknown kind": (edit("desk.yaml", "kind: acoustic", "kind: acustic"), "desk.yaml:20:11", 'mean "acoustic"'),
    "unknown interface": (
        edit("desk.yaml", "interface: interface", "interface: x"),
        "desk.yaml:21:16",
        "it has: interf",
    ),
    "unknown rig key": (edit("desk.yaml", "settle: 40", "setle: 40"), "desk.yaml:23:5", 'did you mean "settle"?'),
    "a tone too high": (edit("desk.yaml", "800 Hz", "8 kHz"), "desk.yaml:22:61", "8000"),
    "a tone out of step": (edit("desk.yaml", "800 Hz", "801 Hz"), "desk.yaml:22:61", "801"),
    "a level too high": (
        edit("desk.yaml", "south: {max_level: -12", "south: {max_level: 12"),
        "desk.yaml:12:",
        "at most",
    ),
    "a box too small": (edit("desk.yaml", "length: 1.0 m", "length: 1 mm"), "desk.yaml:14:10", "box"),
    "hours for milliseconds": (
        edit("desk.yaml", "settle: 40 ms", "settle: 40 h"),
        "desk.yaml:23:13",
        "a burst of 1440",
    ),
    "time runs backwards": (edit("desk.yaml", "time_scale: instant", "time_scale: -1"), "desk.yaml:3:13", "time_scale"),
    # the data
    "no such data": (
        edit("wine.yaml", "path: wine.csv", "path: wein.csv"),
        "wine.yaml:5:7",
        'did you mean "wine.csv"?',
    ),
    "no such column": (edit("wine.yaml", "label: cultivar", "label: cultivr"), "wine.yaml:5:7", 'mean "cultivar"?'),
    "a folder for data": (
        both(lambda d: (d / "f.csv").mkdir(), edit("wine.yaml", "wine.csv", "f.csv")),
        "wine.yaml:5:7",
        "",
    ),
    "nan": (cell(4, 2, "nan"), "wine.yaml:5:7", 'wine.csv:4: column "ash": is NaN'),
    "infinity": (cell(9, 2, "-inf"), "wine.yaml:5:7", 'wine.csv:9: column "ash": is'),
    "no number": (cell(4, 2, "2,4"), "wine.yaml:5:7", "wine.csv:4: has 15 cells, the header has 14"),
    "text": (cell(4, 2, "much"), "wine.yaml:5:7", 'wine.csv:4: column "ash": "much" is not a number'),
    "no label": (cell(4, 13, ""), "wine.yaml:5:7", 'wine.csv:4: column "cultivar": is empty'),
    "a class of one": (cell(4, 13, "merlot"), "wine.yaml:5:7", '"merlot"'),
    "a class left empty": (npz(x=X, y=np.where(Y == 1, 2, Y)), "wine.yaml:5:7", "wine.npz"),
    "a label out of range": (npz(x=X, y=np.where(Y == 1, -1, Y)), "wine.yaml:5:7", "-1"),
    "labels that are no classes": (npz(x=X, y=Y / 2), "wine.yaml:5:7", "wine.npz"),
    "not as many labels": (npz(x=X, y=Y[:-1]), "wine.yaml:5:7", "29"),
    "nan in an archive": (npz(x=np.where(X > 0.99, np.nan, X), y=Y), "wine.yaml:5:7", "is NaN"),
    "an array missing": (npz(x=X, labels=Y), "wine.yaml:5:7", '"y"'),
    "a truncated archive": (truncated, "wine.yaml:5:7", "wine.npz"),
    "pickled objects": (npz(x=X, y=np.array([{}] * 30, dtype=object)), "wine.yaml:5:7", "wine.npz"),
    "no images to shift": (
        edit("wine.yaml", "schedule: cached,", "schedule: joint, shifts: 1,"),
        "wine.yaml:10:",
        'normalise is "min-max"',
    ),
    "shifts of table rows": (
        both(
            edit("wine.yaml", "schedule: cached,", "schedule: joint, shifts: 1,"),
            edit("wine.yaml", "label: cultivar,", "label: cultivar, normalise: max,"),
        ),
        "wine.yaml:10:",
        "no images of rows and columns",
    ),
    "shifts out of a cache": (
        edit("wine.yaml", "schedule: cached,", "schedule: cached, shifts: 1,"),
        "wine.yaml:10:",
        "expected shifts: 0 or schedule: joint",
    ),
    "no test sample": (edit("wine.yaml", "test_fraction: 0.25", "test_fraction: 0"), "wine.yaml:5:", "above 0"),
}


@pytest.mark.parametrize(("spoil", "place", "expected"), IN_FILES.values(), ids=IN_FILES)
def test_a_file_that_is_wrong(
    labctl: "Labctl", desk: Path, tree_of: "Tree", spoil: Spoil, place: str, expected: str
) -> None:
    spoil(desk)
    before = tree_of(desk)
    for command in ("run", "validate"):
        said = labctl.quick(command, "wine.yaml", code=2)
        assert said.err.startswith(place), said.err
        assert re.match(r"\w+\.yaml:\d+:\d+: \S", said.err), said.err
        assert expected in said.err
        assert said.err.count("\n") == 1, said.err
        assert said.out == ""
    assert tree_of(desk) == before


ON_THE_LINE = {
    "no experiment": (["run", "nothing.yaml"], "nothing.yaml: no such file"),
    "a rig for an experiment": (["run", "desk.yaml"], "this is a rig file; expected an experiment file"),
    "a folder": (["run", "."], "cannot be read: Is a directory"),
    "mistyped setting": (["run", "wine.yaml", "--set", "training.epoch=3"], 'did you mean "epochs"?'),
    "mistyped section": (["run", "wine.yaml", "--set", "trainin.epochs=3"], 'did you mean "training"?'),
    "no value": (["run", "wine.yaml", "--set", "training.epochs"], "expected KEY.KEY=VALUE"),
    "no key": (["run", "wine.yaml", "--set", "=3"], "expected KEY.KEY=VALUE"),
    "no such block": (["run", "wine.yaml", "--set", "network.blocks.7.units=3"], "expected an index from 0 to 0"),
    "a key below a value": (["run", "wine.yaml", "--set", "seed.x=3"], "seed is 7, which has no keys"),
    "a value of the wrong type": (["run", "wine.yaml", "--set", "training.epochs=[1"], "--set training.epochs=[1"),
    "a value that is too large": (["run", "wine.yaml", "--set", "data.test_fraction=2"], "below 1"),
    "another rig that is none": (["run", "wine.yaml", "--rig", "wine.yaml"], "this is an experiment file"),
    "another rig of no role": (
        ["run", "wine.yaml", "--rig", "desk.yaml", "--set", "rig=null", "--set", "rigs={left: desk.yaml}"],
        'no rig here has the role "main"',
    ),
    "no runs": (["resume", "latest"], "there are no runs in runs"),
    "nothing to report": (["report", "x"], "there are no runs in runs"),
    "nothing to predict with": (["predict", "latest", "wine.csv"], "there are no runs in runs"),
    "nothing to compare": (["runs", "diff", "a", "b"], "there are no runs in runs"),
    "runs in a file": (["run", "wine.yaml", "--runs", "wine.csv"], "wine.csv"),
    "runs below a file": (["run", "wine.yaml", "--runs", "wine.csv/runs"], "a run cannot be kept in wine.csv/runs"),
    "init into a file": (["init", "wine.csv"], "wine.csv"),
    "unknown command": (["trian", "wine.yaml"], "labctl --help"),
    "unknown option": (["run", "wine.yaml", "--dryrun"], "--dry-run"),
    "nothing at all": (["run"], "EXPERIMENT"),
    "unknown schema": (["schema", "experimnt"], "experiment"),
    "nothing to verify": (["runs", "verify", ""], "there are no runs in runs"),
}


@pytest.mark.parametrize(("arguments", "expected"), ON_THE_LINE.values(), ids=ON_THE_LINE)
def test_a_command_line_that_is_wrong(
    labctl: "Labctl", desk: Path, tree_of: "Tree", arguments: list[str], expected: str
) -> None:
    before = tree_of(desk)
    said = labctl.quick(*arguments, code=2)
    assert expected in said.err
    assert said.err.count("\n") == 1 or (said.err.startswith("Usage: ") and said.err.count("Error: ") == 1)
    assert said.out == ""
    assert tree_of(desk) == before


NASTY = [
    *("", "~", "{}", "[]", "{a: b}", "[[]]", "- a", "? a", "|", "%", "@", "`", "*x", "&x y", "!!int a", "!x y"),
    *("-1", "-0.0", "0", "0x7", "10000", "1e308", "1e999", ".nan", "true", "2026-01-01", "5 GHz", "1 ms"),
    *("'text'", "é\u2028", "\x07"),
]


@st.composite
def spoilt(draw: st.DrawFn, text: str) -> str:
    """Spoil one to three places of a YAML text: cut, double, exchange, insert, or put something nasty for a value."""
    for _ in range(draw(st.integers(1, 3))):
        values = [match.span(1) for match in re.finditer(r": *([^\s,{}\[\]]+)", text)] or [(0, 0)]
        start, end = draw(st.sampled_from(values)) if draw(st.booleans()) else _span(draw, len(text))
        new = draw(st.sampled_from([*NASTY, text[start:end] * 2]) | st.text(max_size=3))
        text = text[:start] + new + text[end:]
    return text


def _span(draw: st.DrawFn, n: int) -> tuple[int, int]:
    start = draw(st.integers(0, n))
    return start, min(n, start + draw(st.integers(0, 12)))


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")  # an amplitude of 1e308 is unwise, but not wrong
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_file_is_so_bad_that_it_is_not_explained(labctl: "Labctl", desk: Path, data: st.DataObject) -> None:
    file = data.draw(st.sampled_from(["wine.yaml", "desk.yaml"]))
    text = (desk / file).read_text(encoding="utf-8")
    try:
        (desk / file).write_text(data.draw(spoilt(text)), encoding="utf-8", newline="")
        said = labctl.quick("validate", "wine.yaml", code=None)
    finally:
        (desk / file).write_text(text, encoding="utf-8")
    assert said.code in (0, 2), said
    assert (said.code == 0) == ("is valid" in said.out)
    assert (said.code == 2) == (said.err != "")
    for line in said.err.rstrip("\n").split("\n") if said.err else []:
        assert re.match(r"\S+\.(yaml|csv)(:\d+:\d+)?: \S", line), said.err
