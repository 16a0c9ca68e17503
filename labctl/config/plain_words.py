"""Values and expectations in the words of somebody who writes YAML."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, cast

from labctl.config.errors import Keys

Node = Mapping[str, Any]
"""A node of a JSON schema, references already followed."""

_LONGEST = 60


def quote(text: str) -> str:
    """Return `text` in double quotes, shortened if it is long."""
    return json.dumps(text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…", ensure_ascii=False)


def show(value: Any, *, textual: bool = True) -> str:
    """Return what was written; where no text belongs (`textual` false) say that it is text."""
    if value is None:
        return "empty"
    if isinstance(value, str):
        return quote(value) if textual else f"the text {quote(value)}"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "an empty list" if not value else "a list"
    return repr(value)


def name_of(keys: Keys) -> str:
    """Return the last key, with the list indices that follow it: `blocks[0]`."""
    indices = ""
    for key in reversed(keys):
        if isinstance(key, str):
            return key + indices
        indices = f"[{key}]{indices}"
    return indices or "this mapping"


def describe(node: Node) -> str:
    """Return what a value must be to fit `node`."""
    if "form" in node:
        return str(node["form"])
    if "unit" in node:
        return f'a number with a unit, such as "1.5 {node["unit"]}"'
    if "const" in node:
        return quote(str(node["const"]))
    if "enum" in node:
        return f"one of: {', '.join(map(str, node['enum']))}"
    if "anyOf" in node:
        return " or ".join(dict.fromkeys(describe(choice) for choice in cast("Iterable[Node]", node["anyOf"])))
    if "discriminator" in node:
        short = [f"{describe(choice)}; or " for choice in cast("Iterable[Node]", node["oneOf"]) if "enum" in choice]
        return f'{"".join(short)}a mapping with the key "{node["discriminator"]["propertyName"]}"'
    return _describe_type(node)


def _describe_type(node: Node) -> str:
    match node.get("type"):
        case "integer":
            return "a whole number" + _limits(node)
        case "number":
            return "a number" + _limits(node)
        case "boolean":
            return "true or false"
        case "string":
            return _describe_text(node)
        case "array":
            return "a list" + _size(node)
        case "object":
            return "a mapping"
        case "null":
            return "nothing"
        case _:
            return "another value"


def _describe_text(node: Node) -> str:
    if "pattern" in node:
        return f"text of the form {node['pattern']}"
    return "text that is not empty" if node.get("minLength") else "text"


def _limits(node: Node) -> str:
    if "minimum" in node and "maximum" in node:
        return f" from {node['minimum']:g} to {node['maximum']:g}"
    words = {
        "minimum": "of at least",
        "exclusiveMinimum": "above",
        "maximum": "of at most",
        "exclusiveMaximum": "below",
    }
    parts = [f"{word} {node[key]:g}" for key, word in words.items() if key in node]
    return " " + " and ".join(parts) if parts else ""


def _size(node: Node) -> str:
    low, high = node.get("minItems"), node.get("maxItems")
    if low == high is not None:
        return f" of {low} items"
    if low is not None:
        return f" of at least {low} item{'s' * (low != 1)}"
    return f" of at most {high} items" if high is not None else ""
