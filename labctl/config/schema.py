"""JSON schemas (draft 2020-12) of experiment and rig files, with which editors complete and check them."""

from collections.abc import Mapping
from typing import Any, cast

from pydantic.json_schema import JsonSchemaMode, models_json_schema

from labctl.config.experiment import Experiment
from labctl.config.rig import RigFile
from labctl.contract.driver import Settings

JsonSchema = dict[str, Any]

_DIALECT = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
_MODE: JsonSchemaMode = "validation"


def experiment_schema() -> JsonSchema:
    """Return the schema of experiment files."""
    return _as_read({**_DIALECT, **Experiment.model_json_schema(mode=_MODE)})


def rig_schema(instruments: Mapping[str, type[Settings]], layers: Mapping[str, type[Settings]]) -> JsonSchema:
    """Return the schema of rig files for the drivers given: settings by the name that `driver` or `kind` gives them."""
    models = list(dict.fromkeys([*instruments.values(), *layers.values()]))
    references, shared = models_json_schema([(model, _MODE) for model in models])
    definitions: JsonSchema = shared.get("$defs", {})
    bodies = {model: _body(references[model, _MODE], definitions) for model in models}
    rig = RigFile.model_json_schema(mode=_MODE)
    for place, key, drivers in (("instruments", "driver", instruments), ("layers", "kind", layers)):
        entry = _entry(key, {name: bodies[model] for name, model in drivers.items()})
        named = rig["properties"][place]["patternProperties"]
        named.update(dict.fromkeys(named, entry))
    return _as_read({**_DIALECT, **rig, "$defs": {**rig.get("$defs", {}), **definitions}})


def _body(reference: JsonSchema, definitions: JsonSchema) -> JsonSchema:
    return definitions[reference["$ref"].removeprefix("#/$defs/")] if "$ref" in reference else reference


def _entry(key: str, bodies: Mapping[str, JsonSchema]) -> JsonSchema:
    """Return what an instrument or layer is: the settings of one driver, and `key` saying of which."""
    if not bodies:
        return {"not": {}}
    naming = {"type": "object", "required": [key], "properties": {key: {"enum": sorted(bodies)}}}
    return {**naming, "oneOf": [_named(key, name, body) for name, body in bodies.items()]}


def _named(key: str, name: str, body: JsonSchema) -> JsonSchema:
    properties = {key: {"const": name}, **body.get("properties", {})}
    return {**body, "properties": properties, "required": [key, *body.get("required", ())]}


def _as_read(node: Any) -> Any:
    """Return `node` as strict as the reader is: no name outside the patterns, defaults with their unit."""
    if isinstance(node, list):
        return [_as_read(item) for item in cast("list[Any]", node)]
    if not isinstance(node, dict):
        return node
    strict = {key: _as_read(value) for key, value in cast("JsonSchema", node).items()}
    if "patternProperties" in strict:
        strict["additionalProperties"] = False
    if "unit" in strict and isinstance(strict.get("default"), float):
        strict["default"] = f"{strict['default']!r} {strict['unit']}"
    return strict
