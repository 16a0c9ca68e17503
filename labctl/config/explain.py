"""From pydantic's errors to sentences a lab operator can act on.

Pydantic says where an error lies in terms of its own types; the JSON schema of the same model says what belongs
there. Walking the two together finds the key in the file, the keys that are valid beside it and what was expected.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from labctl.config.errors import Key, Keys, closest
from labctl.config.plain_words import Node, describe, name_of, quote, show
from labctl.contract.errors import SettingError

_ABSENT = ("missing", "union_tag_not_found")
_LIMITS = {
    "greater_than": ("gt", "above"),
    "greater_than_equal": ("ge", "of at least"),
    "less_than": ("lt", "below"),
    "less_than_equal": ("le", "of at most"),
}


@dataclass(frozen=True, slots=True)
class Complaint:
    """What is wrong at `keys`: with the last key itself (`of_key`) or with the value it leads to."""

    keys: Keys
    message: str
    of_key: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """A pydantic error brought home.

    `keys` lead to the value in the data, `node` is the schema of what belongs there, `known` the keys that are
    valid in the mapping around it, `about_key` says that the key and not its value was refused.
    """

    error: ErrorDetails
    keys: Keys
    node: Node
    known: tuple[str, ...]
    about_key: bool


def explain(error: ValidationError, model: type[BaseModel], data: Mapping[Any, Any]) -> list[Complaint]:
    """Return what keeps `data` from being a valid `model`, one complaint for each thing to mend."""
    schema = _Schema(model.model_json_schema(by_alias=True, mode="validation"))
    findings = _without_echoes([schema.find(details, data) for details in error.errors(include_url=False)])
    complaints: dict[tuple[Keys, bool], Complaint] = {}
    for finding in sorted(findings, key=lambda finding: finding.error["type"] not in _ABSENT):
        for complaint in _complaints(finding, schema, data):
            complaints.setdefault((complaint.keys, complaint.of_key), complaint)
    return list(complaints.values())


def _without_echoes(findings: list[Finding]) -> list[Finding]:
    """Leave out lists that pydantic calls too short only because it did not count their wrong items."""
    return [
        finding
        for finding in findings
        if finding.error["type"] != "too_short"
        or not any(other.keys[: len(finding.keys)] == finding.keys != other.keys for other in findings)
    ]


class _Schema:
    """The JSON schema of a model, with the few rules of how pydantic words a location."""

    def __init__(self, root: Node) -> None:
        self._root = root

    def find(self, error: ErrorDetails, data: Mapping[Any, Any]) -> Finding:
        """Follow the location of `error` through schema and data, past the names of union members."""
        keys: Keys = ()
        known: tuple[str, ...] = ()
        node = around = self.plain(self._root)
        rest = list(error["loc"])
        while rest and not _is_union(node):
            item = rest.pop(0)
            if item == "[key]":
                return Finding(error, keys, around.get("propertyNames", {}), known, about_key=True)
            if "discriminator" in node:
                node = self.variants(node).get(str(item), {})
                continue
            known = tuple(node.get("properties", ()))
            keys = (*keys, _actual_key(_value_at(data, keys), item))
            around, node = node, self._child(node, item)
        return Finding(error, keys, node, known, about_key=False)

    def plain(self, node: Node) -> Node:
        """Return what `node` refers to, without the alternative of giving nothing."""
        while "$ref" in node:
            node = self._root["$defs"][node["$ref"].removeprefix("#/$defs/")]
        choices = [choice for choice in node.get("anyOf", ()) if choice.get("type") != "null"]
        return self.plain(choices[0]) if len(choices) == 1 else node

    def variants(self, node: Node) -> dict[str, Node]:
        """Return the members of a discriminated union by tag."""
        return {tag: self.plain({"$ref": ref}) for tag, ref in node["discriminator"]["mapping"].items()}

    def _child(self, node: Node, item: int | str) -> Node:
        if isinstance(item, int):
            prefix = node.get("prefixItems", ())
            return self.plain(prefix[item] if item < len(prefix) else _mapping(node.get("items")))
        child = node.get("properties", {}).get(item)
        if child is None:
            child = next(iter(node.get("patternProperties", {}).values()), node.get("additionalProperties"))
        return self.plain(_mapping(child))


def _is_union(node: Node) -> bool:
    return "anyOf" in node or ("oneOf" in node and "discriminator" not in node and "properties" not in node)


def _mapping(node: object) -> Node:
    return cast("Node", node) if isinstance(node, Mapping) else {}


def _value_at(data: Any, keys: Keys) -> Any:
    """Return the value at `keys`, or None where the data do not go that far."""
    for key in keys:
        if isinstance(data, list):
            items = cast("list[Any]", data)
            data = items[key] if isinstance(key, int) and key < len(items) else None
        else:
            data = cast("dict[Key, Any]", data).get(key) if isinstance(data, dict) else None
    return data


def _actual_key(container: Any, item: int | str) -> int | str:
    """Return the key that pydantic names `item`: it knows an integer key as text."""
    if isinstance(container, dict):
        return next((key for key in cast("dict[int | str, Any]", container) if str(key) == str(item)), item)
    return item


def _complaints(finding: Finding, schema: _Schema, data: Mapping[Any, Any]) -> Iterator[Complaint]:
    match finding.error["type"]:
        case "missing":
            *way, key = finding.keys
            yield _missing(tuple(way), str(key), finding.node, finding.known, _value_at(data, tuple(way)))
        case "union_tag_not_found":
            yield from _missing_tag(finding, schema, data)
        case "union_tag_invalid":
            yield _wrong_tag(finding, schema, data)
        case "extra_forbidden":
            yield _unknown(finding.keys, finding.known, _value_at(data, finding.keys[:-1]))
        case "value_error" | "assertion_error":
            yield _refused(finding, _value_at(data, finding.keys))
        case _:
            yield _wrong(finding, _value_at(data, finding.keys))


def _missing(way: Keys, key: str, node: Node, known: Iterable[str], siblings: Mapping[Any, Any]) -> Complaint:
    """Say that `key` is missing, or show the slip it was written as."""
    known = tuple(known)
    for given in siblings:
        if str(given) not in known and _suggestion(given, known, siblings) == key:
            return _unknown((*way, given), known, siblings)
    what = f'add "{key}: {node["const"]}"' if "const" in node else f"expected {describe(node)}"
    return Complaint(way, f'missing key "{key}"; {what}')


def _unknown(keys: Keys, known: Iterable[str], siblings: Mapping[Any, Any]) -> Complaint:
    known = tuple(known)
    suggestion = _suggestion(keys[-1], known, siblings) or closest(str(keys[-1]), known)
    hint = f'did you mean "{suggestion}"?' if suggestion else f"expected one of: {', '.join(known) or 'no key at all'}"
    return Complaint(keys, f'unknown key "{keys[-1]}"; {hint}', of_key=True)


def _suggestion(given: object, known: Iterable[str], siblings: Mapping[Any, Any]) -> str | None:
    return closest(str(given), [key for key in known if key not in siblings])


def _missing_tag(finding: Finding, schema: _Schema, data: Mapping[Any, Any]) -> Iterator[Complaint]:
    """Without its tag a mapping was not looked into: say so, and which keys fit none of the variants."""
    tag: str = finding.node["discriminator"]["propertyName"]
    variants = schema.variants(finding.node)
    known = tuple(dict.fromkeys(key for variant in variants.values() for key in variant.get("properties", ())))
    siblings = _value_at(data, finding.keys)
    yield _missing(finding.keys, tag, {"enum": list(variants)}, known, siblings)
    for key in siblings:
        if str(key) not in known:
            yield _unknown((*finding.keys, key), known, siblings)


def _wrong_tag(finding: Finding, schema: _Schema, data: Mapping[Any, Any]) -> Complaint:
    tag: str = finding.node["discriminator"]["propertyName"]
    value = _value_at(data, finding.keys)
    keys = finding.keys
    if isinstance(value, dict):
        keys = (*keys, tag)
        value = cast("dict[str, Any]", value).get(tag)
    return Complaint(keys, _not_one_of(keys, value, list(schema.variants(finding.node))))


def _not_one_of(keys: Keys, value: Any, words: list[Any]) -> str:
    suggestion = closest(value, map(str, words)) if isinstance(value, str) else None
    hint = f'did you mean "{suggestion}"?' if suggestion else f"expected {describe({'enum': words})}"
    return f"{name_of(keys)} is {show(value)}; {hint}"


def _refused(finding: Finding, value: Any) -> Complaint:
    """Say what a validator said; it knows best what it expected."""
    refusal = finding.error.get("ctx", {}).get("error")
    if isinstance(refusal, SettingError):
        return Complaint((*finding.keys, *refusal.at), str(refusal))
    if finding.about_key:
        return Complaint(finding.keys, f"key {quote(str(finding.keys[-1]))} is not valid; {refusal}", of_key=True)
    if isinstance(value, dict):
        return Complaint(finding.keys, str(refusal))
    return Complaint(finding.keys, f"{name_of(finding.keys)} is {show(value)}; {refusal}")


def _wrong(finding: Finding, value: Any) -> Complaint:
    """Say what stands there and what the schema expects."""
    kind, node, keys = finding.error["type"], finding.node, finding.keys
    if finding.about_key:
        expected = f"expected {describe(node)}" if node else _reworded(finding.error)
        return Complaint(keys, f"key {quote(str(keys[-1]))} is not valid; {expected}", of_key=True)
    if "enum" in node:
        return Complaint(keys, _not_one_of(keys, value, node["enum"]))
    if kind in _LIMITS and "unit" in node:
        limit, word = _LIMITS[kind]
        expected = f"expected a value {word} {finding.error.get('ctx', {})[limit]:g} {node['unit']}"
    elif kind == "finite_number":
        expected = f"expected {describe(node).replace('a number', 'a finite number')}"
    elif kind.endswith(("_type", "_from_float", "_error", "_mismatch", "_short", "_long")) or kind in _LIMITS:
        expected = f"expected {describe(node)}"
    else:
        expected = _reworded(finding.error)
    return Complaint(keys, f"{name_of(keys)} is {show(value, textual=node.get('type') == 'string')}; {expected}")


def _reworded(error: ErrorDetails) -> str:
    message = error["msg"]
    message = message.replace("Input should be", "expected").replace("valid integer", "whole number")
    return message.replace("valid ", "").split(", unable to")[0]
