"""The JSON schemas accept what labctl accepts and refuse unknown keys."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import Field

from labctl.config.document import Document
from labctl.config.schema import experiment_schema, rig_schema
from labctl.contract.driver import Settings
from labctl.contract.units import DecibelFullScale, Hertz, Seconds


class Output(Settings):
    name: str
    max_level: DecibelFullScale


class InterfaceSettings(Settings):
    samplerate: Hertz
    outputs: dict[int, Output]


class CavitySettings(Settings):
    interface: str
    tones: tuple[Hertz, ...] = Field(min_length=1)
    settle: Seconds


class Nothing(Settings):
    """A driver without settings."""


DRIVERS = {"audio.test": InterfaceSettings, "audio.spare": InterfaceSettings, "none": Nothing}
LAYERS = {"acoustic": CavitySettings, "nothing": Nothing}


def errors(schema: dict[str, Any], text: str) -> list[str]:
    """Return what the schema has against a YAML text, as an editor reads it (keys are text there)."""
    data = json.loads(json.dumps(Document.parse(text, Path("f.yaml")).data))
    return [error.message for error in Draft202012Validator(schema).iter_errors(data)]


@pytest.mark.parametrize("schema", [experiment_schema(), rig_schema(DRIVERS, LAYERS), rig_schema({}, {})])
def test_the_schemas_are_schemas(schema: dict[str, Any]) -> None:
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert json.loads(json.dumps(schema)) == schema


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("seed", "seed"),
        ("rig: ../rigs/sim_acoustic.yaml", "rigs: {main: a.yaml, other: b.yaml}"),
        ("fitted-range", "{kind: fitted-range, low_quantile: 0.05, mix: orthogonal}"),
        ("source: digits", "source: csv, path: a.csv, label: y, features: [a, b]"),
        ("seed: 7", "seed: 7\nrecord: {commit_every: 500 ms}\nreport: {baselines: []}"),
    ],
)
def test_good_experiments_are_accepted(quickstart: str, old: str, new: str) -> None:
    assert errors(experiment_schema(), quickstart.replace(old, new)) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("epochs", "epoch"),
        ("seed: 7", "seed: 7\nsede: 8"),
        ("fitted-range", "fited-range"),
        ("fitted-range", "{kind: direct, low_quantile: 0.1}"),
        ("amplitude", "amplitud"),
        ("epochs: 60", "epochs: 0"),
        ("experiment/1", "experiment/2"),
        ("rig: ../rigs/sim_acoustic.yaml", ""),
        ("rig: ../rigs/sim_acoustic.yaml", "rig: a\nrigs: {main: b}"),
        ("rig: ../rigs/sim_acoustic.yaml", "rigs: {a.b: c}"),
        ("seed: 7", "seed: 7\nrecord: {commit_every: 500}"),
        ("name: digits-acoustic", "name: my run"),
    ],
)
def test_bad_experiments_are_refused(quickstart: str, old: str, new: str) -> None:
    assert errors(experiment_schema(), quickstart.replace(old, new))


def test_good_rigs_are_accepted(rig_text: str) -> None:
    assert errors(rig_schema(DRIVERS, LAYERS), rig_text) == []
    assert errors(rig_schema(DRIVERS, LAYERS), rig_text.replace("audio.test", "audio.spare")) == []
    plain = "schema: labctl/rig/1\nname: r\ntime_scale: instant\nlayers: {a: {kind: nothing}}"
    assert errors(rig_schema(DRIVERS, LAYERS), plain) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("audio.test", "audio.absent"),
        ("driver: audio.test", "drver: audio.test"),
        ("kind: acoustic", "kind: nothing"),
        ("settle", "setle"),
        ("max_level: -12 dBFS}}", "max_level: -12 dB}}"),
        ("150 ms", "150"),
        ("power_w", "power"),
        ("  cavity:", "  ca vity:"),
        ("[330 Hz, 485 Hz]", "[]"),
    ],
)
def test_bad_rigs_are_refused(rig_text: str, old: str, new: str) -> None:
    assert errors(rig_schema(DRIVERS, LAYERS), rig_text.replace(old, new))


def test_editors_show_what_a_key_means() -> None:
    training = experiment_schema()["$defs"]["PhyllTraining"]["properties"]
    assert training["epochs"]["description"] == "passes over the training data"
    undescribed = [
        f"{name}.{key}"
        for name, model in experiment_schema()["$defs"].items()
        for key, node in model["properties"].items()
        if "description" not in node and "const" not in node
    ]
    assert undescribed == []


def test_defaults_are_written_as_the_reader_wants_them() -> None:
    assert experiment_schema()["$defs"]["Record"]["properties"]["commit_every"]["default"] == "0.2 s"
