"""Physics that cannot be: refused at the line that asks for it, before anything is opened or written."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from .conftest import Labctl, Tree

CAVE = """\
schema: labctl/rig/1
name: cave
time_scale: instant
instruments:
  box:
    driver: microwave.simulated
    box: {length: 0.6 m, width: 0.45 m, height: 20 mm, quality: 200, posts: 6, post_radius: 3 mm}
    elements: {count: 16, levels: 2, pitch: 28 mm, radius: 1 mm}
    antennas: {count: 4, radius: 2 mm}
    seed: 1
layers:
  cavity:
    kind: simulated-microwave
    cavity: box
    parameters: [S21, S43]
    frequencies: [3.2 GHz, 3.4 GHz]
    pass: 50 ms
"""

BENCH = """\
schema: labctl/rig/1
name: bench
time_scale: instant
layers:
  cavity:
    kind: simulated-optics
    modulator: {modulation: {kind: amplitude}, levels: 256}
    medium: {kind: measured, path: fibre.npz, key: tm, deformation: 1, declared: [passive, reciprocal]}
    camera: {bits: 8, exposure: 0.125, dark_level: 0, max_saturated: 0.05}
    pass: 60 ms
    seed: 1
"""

TAPE = """\
schema: labctl/rig/1
name: tape
time_scale: instant
layers:
  cavity: {kind: recorded, path: pairs.npz, keys: {drives: x, responses: y}, noise: false, seed: 1, pass: 1 s}
"""

ENCODERS = {
    "desk.yaml": "fitted-range",
    "cave.yaml": "two-bit",
    "bench.yaml": "fitted-range",
    "tape.yaml": "unit-energy",
}

Change = Callable[[Path], None]


def replaced(file: str, old: str, new: str) -> Change:
    """Replace the one `old` in a file by `new`."""

    def change(desk: Path) -> None:
        text = (desk / file).read_text(encoding="utf-8")
        assert text.count(old) == 1, (file, old)
        (desk / file).write_text(text.replace(old, new), encoding="utf-8")

    return change


def saved(file: str, **arrays: Any) -> Change:
    """Let an archive hold these arrays alone."""
    return lambda desk: np.savez(desk / file, allow_pickle=True, **arrays)


def cut_short(file: str) -> Change:
    """Break a file off after 300 bytes."""
    return lambda desk: void((desk / file).write_bytes((desk / file).read_bytes()[:300]))


def lost(file: str) -> Change:
    """Lose a file."""
    return lambda desk: (desk / file).unlink()


def void(*_: object) -> None:
    """Return nothing."""


def medium(n: int = 16) -> np.ndarray:
    """Two symmetric random matrices (2, n, n) whose largest singular value is 1."""
    rng = np.random.default_rng(3)
    matrices = rng.standard_normal((2, n, n)) + 1j * rng.standard_normal((2, n, n))
    matrices = matrices + matrices.transpose(0, 2, 1)
    return matrices / np.linalg.norm(matrices, ord=2, axis=(1, 2))[:, None, None]


def pairs(n_rows: int = 2000) -> Mapping[str, np.ndarray]:
    """Drives of a norm between 0.5 and 1.5 and what a quadratic system answers to them."""
    rng = np.random.default_rng(4)
    x = rng.random((n_rows, 16))
    x *= rng.uniform(0.5, 1.5, (n_rows, 1)) / np.linalg.norm(x, axis=1, keepdims=True)
    return {"x": x, "y": (x @ rng.uniform(0.3, 1.0, (16, 5))) ** 2}


@pytest.fixture
def rigs(desk: Path) -> Path:
    """The desk with a rig of every kind, and wine.yaml with no rig chosen yet."""
    for file, text in {"cave.yaml": CAVE, "bench.yaml": BENCH, "tape.yaml": TAPE}.items():
        (desk / file).write_text(text, encoding="utf-8")
    saved("fibre.npz", tm=medium())(desk)
    saved("pairs.npz", **pairs())(desk)
    return desk


def choose(desk: Path, rig: str) -> None:
    """Let wine.yaml use a rig, with an encoder that fits it."""
    replaced("wine.yaml", "rig: desk.yaml", f"rig: {rig}")(desk)
    replaced("wine.yaml", "kind: fitted-range", f"kind: {ENCODERS[rig]}")(desk)


def place(desk: Path, file: str, culprit: str) -> str:
    """Return file:line:column of the one place where the culprit is written."""
    text = (desk / file).read_text(encoding="utf-8")
    assert text.count(culprit) == 1, (file, culprit)
    before = text[: text.index(culprit)]
    return f"{file}:{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}: "


def refused(labctl: "Labctl", desk: Path, tree_of: "Tree", where: str, says: tuple[str, ...]) -> None:
    """Validating, planning and running all end with the one message, and nothing is written."""
    before = tree_of(desk)
    for command in (["validate", "wine.yaml"], ["run", "wine.yaml", "--dry-run"], ["run", "wine.yaml"]):
        said = labctl.quick(*command, code=2)
        assert said.err.startswith(where), said.err
        assert re.fullmatch(r"\w+\.yaml:\d+:\d+: [^\n]+\n", said.err), said.err
        assert all(each in said.err for each in says), said.err
        assert said.out == ""
    assert tree_of(desk) == before


@pytest.mark.parametrize("rig", ENCODERS)
def test_what_is_spoilt_below_is_good(labctl: "Labctl", rigs: Path, rig: str) -> None:
    choose(rigs, rig)
    assert "wine.yaml is valid" in labctl.quick("validate", "wine.yaml").out


# What is done to the rig's file or to its data, where the culprit then stands in the rig file, what the message says.
Case = tuple[Change, str, tuple[str, ...]]


def written(file: str, old: str, new: str, *says: str, culprit: str | None = None) -> Case:
    """The culprit is what was written, or the part of it that is named."""
    return replaced(file, old, new), culprit or new, says


DESK: dict[str, Case] = {
    "a tone above Nyquist": written("desk.yaml", "800 Hz", "4.1 kHz", "not between 0 and 4000 Hz (Nyquist)", "lower"),
    "a tone at Nyquist": written("desk.yaml", "800 Hz", "4 kHz", "not between 0 and 4000 Hz"),
    "half a period": written("desk.yaml", "800 Hz", "805 Hz", "80.5 periods", "whole periods have 800 Hz and 810 Hz"),
    "a tone longer than the window": written(
        "desk.yaml", "200 Hz", "5 Hz", "0.5 periods in the window of 100 ms", "whole periods have 10 Hz"
    ),
    "a tone twice": written("desk.yaml", "800 Hz", "0.7 kHz", "tone 700 Hz is listed twice"),
    "a tone of no frequency": written("desk.yaml", "800 Hz", "0.0 Hz", "above 0"),
    "a window of no period at all": written(
        "desk.yaml", "window: 100 ms", "window: 1 ms", "0.2 periods in the window of 1 ms", culprit="200 Hz"
    ),
    "a window between samples": written(
        "desk.yaml", "window: 100 ms", "window: 100.01 ms", "800.08 samples", "as 100 ms would be", culprit="100.01"
    ),
    "no time to settle": written("desk.yaml", "settle: 40 ms", "settle: 1 ms", "too short", culprit="1 ms"),
    "no gap": written("desk.yaml", "gap: 60 ms", "gap: 4 ms", "gap of 4 ms is too short", culprit="4 ms"),
    "a window of an hour": written("desk.yaml", "100 ms", "1 h", "it may last 120 s"),
    "an interface that is none": written(
        "desk.yaml", "interface: interface", "interface: mixer", "it has: interface", culprit="mixer"
    ),
    "a box without room": written(
        "desk.yaml", "{length: 1.0 m, width: 0.8 m", "{length: 0.3 m, width: 0.3 m", "no room for 6 transducers"
    ),
    "a box the size of a hangar": written("desk.yaml", "{length: 1.0 m", "{length: 5000 m", "modes", "make it smaller"),
    "a box that rings for ever": written(
        "desk.yaml", "absorption: 0.5", "absorption: 0.0001", "rings for", "raise its", culprit="{length"
    ),
    "a side of no length": written("desk.yaml", "height: 0.6 m", "height: -1 m", "above 0", culprit="-1 m"),
    "absorption of all": written("desk.yaml", "absorption: 0.5", "absorption: 1", "below 1", culprit="1, temp"),
    "a microphone twice": written("desk.yaml", "[mic-a, mic-b, mic-c]", "[mic-a, mic-b, mic-a]", "a name of its own"),
}

CAVITY: dict[str, Case] = {
    "half a wavelength fits": written("cave.yaml", "3.4 GHz", "7.6 GHz", "one vertical field only below 7.495 GHz"),
    "below the first mode": written("cave.yaml", "3.2 GHz", "0.3 GHz", "below the box's first mode, 0.4164 GHz"),
    "a sweep beyond the box": written(
        "cave.yaml", "[3.2 GHz, 3.4 GHz]", "{start: 3 GHz, stop: 8 GHz, points: 5}", "vertical", culprit="8 GHz"
    ),
    "a sweep backwards": written(
        "cave.yaml", "[3.2 GHz, 3.4 GHz]", "{start: 3 GHz, stop: 2 GHz, points: 5}", "above start", culprit="2 GHz"
    ),
    "a frequency twice": written("cave.yaml", "3.4 GHz", "3200 MHz", "listed twice"),
    "a box of no height": written("cave.yaml", "20 mm", "0 mm", "above 0"),
    "a box as large as a house": written(
        "cave.yaml", "{length: 0.6 m, width: 0.45 m", "{length: 9 m, width: 8 m", "box smaller", culprit="3.2 GHz"
    ),
    "posts without room": written("cave.yaml", "posts: 6", "posts: 500", "no room for 504 posts", culprit="{length"),
    "posts without number": written("cave.yaml", "posts: 6", "posts: 1000000", "from 0 to 3000", culprit="1000000"),
    "a post too thick": written(
        "cave.yaml", "post_radius: 3 mm", "post_radius: 9 mm", "posts of radius 9 mm", "up to", culprit="3.2 GHz"
    ),
    "posts that touch": written("cave.yaml", "post_radius: 3 mm", "post_radius: 30 mm", "touch", culprit="30 mm"),
    "an antenna too thick": written(
        "cave.yaml", "radius: 2 mm", "radius: 8 mm", "antennas of radius 8 mm", "up to 4.47 mm are", culprit="3.2 GHz"
    ),
    "antennas that touch": written("cave.yaml", "radius: 2 mm", "radius: 80 mm", "touch", culprit="80 mm"),
    "no such cavity": written("cave.yaml", "cavity: box", "cavity: bax", "it has: box", culprit="bax"),
    "elements without room": written("cave.yaml", "count: 16", "count: 90", "room for", "not 90", culprit="{count: 90"),
    "elements on top of one another": written(
        "cave.yaml", "pitch: 28 mm", "pitch: 1 mm", "touch", culprit="{count: 16"
    ),
    "a port too many": written("cave.yaml", "S43", "S51", "S51 needs more than the 4 antennas of 'box'"),
    "a parameter twice": written("cave.yaml", "[S21, S43]", "[S43, S43]", "listed twice", culprit="S43]"),
}

NAN = medium()
NAN[1, 3, 5] = np.nan
LOUD = medium() * 1.5
SKEW = medium()
SKEW[1, 0, 1] += 0.5

OPTICS: dict[str, Case] = {
    "no file": (lost("fibre.npz"), "fibre.npz", ("no such file",)),
    "another file": written("bench.yaml", "fibre.npz", "wine.csv", "not a readable .npz file", "copy it again"),
    "a file broken off": (cut_short("fibre.npz"), "fibre.npz", ("not a readable .npz file",)),
    "another array": written("bench.yaml", "key: tm", "key: T", "no array 'T'; the file holds tm", culprit="T, def"),
    "a vector": (saved("fibre.npz", tm=np.ones(16)), "tm,", ("a matrix of outputs x inputs", "of shape (16,)")),
    "no element": (saved("fibre.npz", tm=np.ones((2, 0, 16))), "tm,", ("of shape (2, 0, 16)",)),
    "text": (saved("fibre.npz", tm=np.full((2, 3), "x")), "tm,", ("not <U1",)),
    "objects": (saved("fibre.npz", tm=np.array([[{}]], dtype=object)), "fibre.npz", ("not a readable",)),
    "nan": (saved("fibre.npz", tm=NAN), "fibre.npz", ("not a finite number at output 3, input 5", "measure it again")),
    "dark": (saved("fibre.npz", tm=np.zeros((2, 16, 16))), "fibre.npz", ("zero everywhere",)),
    "amplifying": (saved("fibre.npz", tm=LOUD), "passive", ("largest singular value is 1.5,", "correct the file")),
    "one-way": (saved("fibre.npz", tm=SKEW), "reciprocal", ("‖T - Tᵀ‖ / ‖T‖ is 0.", "more than 0.01")),
    "oblong": (saved("fibre.npz", tm=medium()[:, :12] * 0.9), "reciprocal", ("not even square",)),
    "lossy": written("bench.yaml", "[passive, reciprocal]", "[unitary]", "‖T†T - 1‖", culprit="unitary"),
    "a squeeze not measured": written(
        "bench.yaml", "deformation: 1", "deformation: 2", "holds 2 deformations", culprit="2, de"
    ),
    "half a squeeze": written("bench.yaml", "deformation: 1", "deformation: 0.5", "whole number", culprit="0.5"),
    "no squeeze chosen": written(
        "bench.yaml", " deformation: 1,", "", "write `deformation: 0` to 1", culprit="{kind: measured"
    ),
    "a squeeze of one matrix": (saved("fibre.npz", tm=medium()[0]), "1, declared", ("leave out `deformation`",)),
    "a measured medium that drifts": written(
        "bench.yaml", "deformation: 1", "decorrelation: {time: 1 h}, deformation: 1", "unknown key", culprit="decorr"
    ),
    "overexposed": written("bench.yaml", "0.125", "0.9", "saturates", "expose less"),
    "all dark": written("bench.yaml", "dark_level: 0", "dark_level: 200", "too little", culprit="200"),
    "gain without electrons": written("bench.yaml", "dark_level: 0", "gain: 2", "full_well", culprit="2, max"),
}

ODD = dict(pairs())
ODD["x"] = ODD["x"].copy()
ODD["x"][7, 3] = np.nan

RECORDED: dict[str, Case] = {
    "no recording": (lost("pairs.npz"), "pairs.npz", ("no such file",)),
    "a recording broken off": (cut_short("pairs.npz"), "pairs.npz", ("not a readable .npz file",)),
    "another array": written("tape.yaml", "responses: y", "responses: z", "no array 'z'; the file holds", culprit="z}"),
    "nan": (saved("pairs.npz", **ODD), "pairs.npz", ("not a finite number at row 7, column 3",)),
    "no pairs": (saved("pairs.npz", x=pairs()["x"], y=pairs()["y"][:-1]), "pairs.npz", ("2000 drives but 1999",)),
    "a picture": (saved("pairs.npz", x=np.ones((9, 4, 4)), y=np.ones((9, 2))), "x, resp", ("a table of numbers",)),
    "too few": (saved("pairs.npz", **pairs(200)), "pairs.npz", ("200 recorded rows are too few",)),
    "nothing but noise": (
        saved("pairs.npz", x=pairs()["x"], y=np.random.default_rng(0).standard_normal((2000, 5))),
        "pairs.npz",
        ("no output can be predicted",),
    ),
    "silence": (
        saved("pairs.npz", x=np.zeros((2000, 16)), y=pairs()["y"]),
        "pairs.npz",
        ("every recorded drive is zero",),
    ),
}

CASES = {
    f"{rig[:-5]}: {name}": (rig, *case)
    for rig, cases in {"desk.yaml": DESK, "cave.yaml": CAVITY, "bench.yaml": OPTICS, "tape.yaml": RECORDED}.items()
    for name, case in cases.items()
}


@pytest.mark.parametrize(("rig", "change", "culprit", "says"), CASES.values(), ids=CASES)
def test_a_rig_that_cannot_be(
    labctl: "Labctl", rigs: Path, tree_of: "Tree", rig: str, change: Change, culprit: str, says: tuple[str, ...]
) -> None:
    choose(rigs, rig)
    change(rigs)
    refused(labctl, rigs, tree_of, place(rigs, rig, culprit), says)


DIRECT = "{kind: direct}"
PADDED = "{kind: one-hot, amplitude: 1.0, pad: 5}"

DRIVES = {
    "features out of range": (
        "desk.yaml",
        DIRECT,
        PADDED,
        "normalise: none, ",
        DIRECT,
        (
            "under label 'barbera', input east 300 Hz: ",
            "is outside -1 to 1 of full drive (feature 'alcohol')",
            "min-max",
        ),
    ),
    "test features out of range": (
        "desk.yaml",
        DIRECT,
        PADDED.replace("5}", "5}  # and polarity positive"),
        "",
        DIRECT,
        ("test sample", "is outside 0 to 1 of full drive (feature ", "write `encoder: fitted-range`"),
    ),
    "a label out of range": (
        "desk.yaml",
        DIRECT,
        PADDED.replace("1.0", "1.5"),
        "",
        "1.5",
        ("input north 200 Hz: 1.5 is outside", "write a `label: amplitude` that the input takes"),
    ),
    "mixed out of range": (
        "desk.yaml",
        "{kind: direct, mix: orthogonal}",
        PADDED.replace("1.0", "3"),
        "",
        "{kind: direct, mix: orthogonal}",
        ("is outside", "choose an encoder, label amplitude and normalisation"),
    ),
    "any drive onto one-bit elements": (
        "cave.yaml",
        "{kind: fitted-range, mix: orthogonal}",
        "{kind: one-hot}",
        "",
        "{kind: fitted-range, mix: orthogonal}",
        ("encoder fitted-range sends any values, but input element0 takes the 2 levels 0, 1 alone", "two-bit"),
    ),
    "amplitudes onto one-bit elements": (
        "cave.yaml",
        "{kind: unit-energy}",
        "{kind: one-hot}",
        "",
        "{kind: unit-energy}",
        ("encoder unit-energy sends any values",),
    ),
    "features onto one-bit elements": (
        "cave.yaml",
        DIRECT,
        "{kind: one-hot}",
        "",
        DIRECT,
        ("input element", " (feature '", "write `encoder: two-bit`"),
    ),
    "ranks onto one-bit elements": (
        "cave.yaml",
        "{kind: quantile}",
        "{kind: one-hot}",
        "",
        "{kind: quantile}",
        ("encoder quantile sends any values", "{kind: quantile, cells: 2, mix: orthogonal}"),
    ),
    "louder than was recorded": (
        "tape.yaml",
        "{kind: fitted-range}",
        "{kind: one-hot}",
        "",
        "{kind: fitted-range}",
        ("a drive of norm", "lies outside what was recorded, 0.5", "choose an encoder"),
    ),
}


@pytest.mark.parametrize(("rig", "encoder", "label", "data", "culprit", "says"), DRIVES.values(), ids=DRIVES)
def test_drives_that_cannot_be_sent(
    labctl: "Labctl",
    rigs: Path,
    tree_of: "Tree",
    rig: str,
    encoder: str,
    label: str,
    data: str,
    culprit: str,
    says: tuple[str, ...],
) -> None:
    """Data, labels and encoder are known before the first pass; so is whether the layer can be driven like that."""
    replaced("wine.yaml", "rig: desk.yaml", f"rig: {rig}")(rigs)
    replaced("wine.yaml", "{kind: fitted-range, mix: orthogonal}", encoder)(rigs)
    replaced("wine.yaml", "{kind: one-hot, amplitude: 1.0}", label)(rigs)
    replaced("wine.yaml", "test_fraction", f"{data}test_fraction")(rigs)
    if "polarity positive" in label:
        replaced("desk.yaml", "polarity: signed", "polarity: positive")(rigs)
    refused(labctl, rigs, tree_of, place(rigs, "wine.yaml", culprit), says)


def test_direct_drives_of_a_later_block_onto_levels(labctl: "Labctl", rigs: Path, tree_of: "Tree") -> None:
    """What one block hands to the next is no bit, whatever the data are."""
    choose(rigs, "cave.yaml")
    second = "{layer: cavity, encoder: direct, skip: true, units: 16}\n"
    replaced("wine.yaml", "training:", f"    - {second}training:")(rigs)
    replaced("wine.yaml", "units: 30", "units: 16")(rigs)
    says = ("block 2 on layer 'cavity': encoder direct sends any values", "two-bit")
    refused(labctl, rigs, tree_of, place(rigs, "wine.yaml", "direct, skip"), says)


@pytest.mark.parametrize(
    ("rig", "levels", "named", "instead"),
    [
        ("cave.yaml", 2, "the 2 levels 0, 1", "two-bit"),
        ("bench.yaml", 256, "the 256 levels 0, 0.003922", "fitted-range"),
    ],
)
def test_data_that_are_levels_are_sent_directly(
    labctl: "Labctl", rigs: Path, tree_of: "Tree", rig: str, levels: int, named: str, instead: str
) -> None:
    """Zeros and ones in the data are what one-bit elements can be set to, bytes what a panel can show."""
    choose(rigs, rig)
    replaced("wine.yaml", f"{{kind: {ENCODERS[rig]}, mix: orthogonal}}", "direct")(rigs)
    replaced(
        "wine.yaml", "source: csv, path: wine.csv, label: cultivar", "source: npz, path: data.npz, normalise: none"
    )(rigs)
    classes = np.arange(60) % 3
    values = np.random.default_rng(5).integers(0, levels, (60, 13)) / (levels - 1)
    saved("data.npz", x=values, y=classes)(rigs)
    assert "16 drives -> cavity" in labctl.quick("validate", "wine.yaml").out
    values[7, 4] = 0.5
    saved("data.npz", x=values, y=classes)(rigs)
    says = (f"sample 7 under label '0', input {'x' if rig == 'bench.yaml' else 'element'}7: 0.5 is none of {named}",)
    refused(labctl, rigs, tree_of, place(rigs, "wine.yaml", "direct"), (*says, " (feature ", f"encoder: {instead}"))
