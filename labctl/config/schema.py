"""JSON schemas (draft 2020-12) of experiment and rig files, with which editors complete and check them."""

from collections.abc import Mapping
from typing import Any

from pydantic.json_schema import JsonSchemaMode, models_json_schema

from labctl.config.experiment import Experiment
from labctl.config.rig import RigFile
from labctl.contract.driver import Settings

JsonSchema = dict[str, Any]

_DIALECT = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
_MODE: JsonSchemaMode = "validation"


def experiment_schema() -> JsonSchema:
    """Return the schema of experiment files."""
    return {**_DIALECT, **Experiment.model_json_schema(mode=_MODE)}


def rig_schema(instruments: Mapping[str, type[Settings]], layers: Mapping[str, type[Settings]]) -> JsonSchema:
    """Return the schema of rig files for the drivers given: settings by the name that `driver` or `kind` gives them."""
    models = list(dict.fromkeys([*instruments.values(), *layers.values()]))
    references, shared = models_json_schema([(model, _MODE) for model in models])
    definitions: JsonSchema = shared.get("$defs", {})
    bodies = {model: _body(references[model, _MODE], definitions) for model in models}
    rig = RigFile.model_json_schema(mode=_MODE)
    rig["properties"]["instruments"] |= _entries("driver", {name: bodies[model] for name, model in instruments.items()})
    rig["properties"]["layers"] |= _entries("kind", {name: bodies[model] for name, model in layers.items()})
    return {**_DIALECT, **rig, "$defs": {**rig.get("$defs", {}), **definitions}}


def _body(reference: JsonSchema, definitions: JsonSchema) -> JsonSchema:
    return definitions[reference["$ref"].removeprefix("#/$defs/")] if "$ref" in reference else reference


def _entries(key: str, bodies: Mapping[str, JsonSchema]) -> JsonSchema:
    """Return what the named entries are: the settings of one driver each, and `key` saying of which."""
    naming = {"type": "object", "required": [key], "properties": {key: {"enum": sorted(bodies)}}}
    return {"additionalProperties": {**naming, "oneOf": [_entry(key, name, body) for name, body in bodies.items()]}}


def _entry(key: str, name: str, body: JsonSchema) -> JsonSchema:
    properties = {key: {"const": name}, **body.get("properties", {})}
    return {**body, "properties": properties, "required": [key, *body.get("required", ())]}
