"""`--set`: as if the file had been edited."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labctl.config.document import Document
from labctl.config.errors import ConfigError, Key, Position
from labctl.config.experiment import Experiment

BASE = {
    "schema": "labctl/experiment/1",
    "name": "full",
    "rigs": {"main": "a.yaml", "second": "b.yaml"},
    "seed": 1,
    "data": {"source": "csv", "path": "x.csv", "label": "y", "features": ["a", "b"], "group": "g", "split": "group"},
    "network": {
        "label": {"kind": "one-hot", "amplitude": 1.0, "pad": 0},
        "blocks": [
            {"layer": "cavity", "encoder": {"kind": "fitted-range", "low_quantile": 0.1}, "skip": True, "units": 9},
            {"layer": "second.cavity", "encoder": "direct", "skip": False, "units": 9, "standardise": False},
        ],
    },
    "training": {"rule": "phyll", "epochs": 3, "batch": 10, "optimizer": {"kind": "adam", "lr": 0.001, "beta1": 0.5}},
    "record": {"retries": 1, "commit_every": "1 s"},
    "report": {"baselines": ["linear"]},
}

LEAVES: list[tuple[str, st.SearchStrategy[Any]]] = [
    ("seed", st.integers(0, 2**64)),
    ("name", st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]*", fullmatch=True)),
    ("description", st.text(st.characters(exclude_categories=["C", "Z"]), max_size=20)),
    ("rigs.second", st.sampled_from(["c.yaml", "../d.yaml"])),
    ("data.features.1", st.sampled_from(["c", "on", "1e9"])),
    ("data.test_fraction", st.floats(0.01, 0.99)),
    ("network.label.amplitude", st.floats(1e-300, 1e300)),
    ("network.blocks.0.encoder.low_quantile", st.floats(0, 0.9)),
    ("network.blocks.1.encoder", st.sampled_from(["two-bit", {"kind": "unit-energy", "mix": "orthogonal"}])),
    ("network.blocks.1.units", st.integers(1, 10**6)),
    ("network.blocks.0.standardise", st.booleans()),
    ("training.theta", st.floats(1e-3, 1e3)),
    ("training.precision", st.sampled_from(["float32", "float64"])),
    ("training.optimizer.lr", st.floats(1e-12, 1)),
    ("training.optimizer.epsilon", st.floats(1e-12, 1)),
    ("record.commit_every", st.sampled_from(["5 ms", "1e-3 min"])),
    ("report.baselines", st.lists(st.sampled_from(["linear", "shuffled"]))),
]


def edited(path: str, value: Any) -> dict[str, Any]:
    data = json.loads(json.dumps(BASE))
    here = data
    *way, last = [int(part) if part.isdecimal() else part for part in path.split(".")]
    for key in way:
        here = here[key]
    here[last] = value
    return data


def read(data: dict[str, Any]) -> Document:
    return Document.parse(json.dumps(data), Path("full.yaml"))


@settings(deadline=None)
@given(st.sampled_from(LEAVES).flatmap(lambda leaf: st.tuples(st.just(leaf[0]), leaf[1])))
def test_setting_any_leaf_equals_editing_the_file(assignment: tuple[str, Any]) -> None:
    path, value = assignment
    changed = read(BASE).with_overrides([f"{path}={json.dumps(value)}"])
    assert changed.data == edited(path, value)
    assert changed.validate(Experiment) == read(edited(path, value)).validate(Experiment)


def test_a_default_is_set_where_the_file_says_nothing() -> None:
    data = {key: value for key, value in BASE.items() if key != "record"}
    experiment = read(data).with_overrides(["record.retries=7", "training.theta=1e1"]).validate(Experiment)
    assert experiment.record.retries == 7
    assert experiment.training.rule == "phyll"
    assert experiment.training.theta == 10.0


def test_later_assignments_win_and_the_document_itself_stays_as_it_was() -> None:
    document = read(BASE)
    changed = document.with_overrides(["seed=5", "seed=6"])
    assert changed.validate(Experiment).seed == 6
    assert changed.overrides == ("seed=5", "seed=6")
    assert document.validate(Experiment).seed == 1


@pytest.mark.parametrize("keys", [("training",), ("training", "epochs"), ("training", "optimizer", "lr")])
def test_everything_below_an_override_stands_in_it(keys: tuple[Key, ...]) -> None:
    assignment = "training={rule: phyll, epochs: 4, optimizer: {lr: 1}}"
    document = read(BASE).with_overrides([assignment])
    assert document.position(keys) == document.key_position(keys) == Position(f"--set {assignment}")
    assert document.position(("training", "batch")) == Position(f"--set {assignment}")
    assert document.position(("seed",)).source == "full.yaml"


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("training.epoch=3", 'unknown key "epoch"; did you mean "epochs"?'),
        ("trainning.epochs=3", 'unknown key "trainning"; did you mean "training"?'),
        ("training.epochs=x", 'epochs is the text "x"; expected a whole number of at least 1'),
        ("training.epochs=", "epochs is empty; expected a whole number of at least 1"),
        ("training.rule=phylll", 'rule is "phylll"; did you mean "phyll"?'),
        ("record=5", "record is 5; expected a mapping"),
        ("record.retries=60", "retries is 60; expected a whole number from 0 to 20"),
        ("network.blocks.1.units=3", 'network.blocks has no item "1"; expected an index from 0 to 0'),
        ("network.blocks.x.units=3", 'network.blocks has no item "x"; expected an index from 0 to 0'),
        ("network.blocks.0.units=0", "units is 0; expected a whole number above 0"),
        (
            "network.blocks.0.encoder.mix=none",
            'network.blocks.0.encoder is "fitted-range", which has no keys; '
            "expected --set 'network.blocks.0.encoder={kind: fitted-range, mix: none}'",
        ),
        ("seed.x=3", "seed is 7, which has no keys; expected seed=VALUE"),
        (
            "rigs.main=x.yaml",
            'both "rig" and "rigs" are given; expected one ("rig: FILE" means the main rig)',
        ),
        ("seed", "not an assignment; expected KEY.KEY=VALUE, as in training.epochs=3"),
        ("=3", "not an assignment; expected KEY.KEY=VALUE, as in training.epochs=3"),
        ("a..b=3", "not an assignment; expected KEY.KEY=VALUE, as in training.epochs=3"),
        (
            "seed=[",
            "not valid YAML: while parsing a flow node, expected the node content, but found '<stream end>'",
        ),
        ("training={rule: phyll, rule: phyll}", 'duplicate key "rule"; expected it once'),
        ("seed=!!int 3", "tag tag:yaml.org,2002:int is not allowed; expected plain YAML"),
        (
            "seed=${LABCTL_SURELY_UNSET}",
            "environment variable LABCTL_SURELY_UNSET is not set; set it before starting labctl",
        ),
    ],
)
def test_a_mistake_on_the_command_line(complaint, assignment: str, said: str) -> None:
    assert complaint("seed: 7", "seed: 7", assignment) == f"--set {assignment}: {said}"


def test_what_is_said_of_an_encoder_in_short_can_be_typed(complaint) -> None:
    said = complaint("seed: 7", "seed: 7", "network.blocks.0.encoder.mix=orthogonal")
    typed = shlex.split(said.partition("expected ")[2])
    assert typed == ["--set", "network.blocks.0.encoder={kind: fitted-range, mix: orthogonal}"]
    encoder = read(BASE).with_overrides(typed[1:]).validate(Experiment).network.blocks[0].encoder
    assert (encoder.kind, encoder.mix) == ("fitted-range", "orthogonal")


@settings(deadline=None)
@given(st.text(max_size=30), st.text(max_size=30))
def test_no_assignment_raises_anything_but_a_config_error(path: str, value: str) -> None:
    error = None
    try:
        read(BASE).with_overrides([f"{path}={value}"]).validate(Experiment)
    except ConfigError as refusal:
        error = refusal
    assert error is None or error.problems
