"""JSON for the record: whatever a run wants to note, as text every other program can read."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np


def to_json(value: object) -> str:
    """Return `value` as standard JSON: numpy values become plain, sets lists of text, and numbers that are
    not finite the text `nan`, `inf` or `-inf`.

    Raises `TypeError` for what has no JSON form.
    """
    return json.dumps(_plain(value), allow_nan=False, ensure_ascii=False)


def from_json(text: str) -> Any:
    """Return the value of JSON written by `to_json`; texts such as `nan` stay texts, as no type tells them apart."""
    return json.loads(text)


def _plain(value: object) -> object:
    if isinstance(value, (np.generic, np.ndarray)):
        return _plain(cast("np.ndarray[Any, Any]", value).tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in cast("Mapping[object, object]", value).items()}
    if isinstance(value, (set, frozenset)):
        return sorted(map(str, cast("set[object]", value)))
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return [_plain(item) for item in cast("Sequence[object]", value)]
    return value


def leaves(value: object, name: str = "") -> dict[str, object]:
    """Return the leaves of nested mappings and sequences by dotted name."""
    if isinstance(value, Mapping):
        entries = [(str(key), item) for key, item in cast("Mapping[object, object]", value).items()]
    elif isinstance(value, Sequence) and not isinstance(value, str):
        entries = [(str(index), item) for index, item in enumerate(cast("Sequence[object]", value))]
    else:
        return {name: value}
    return {
        key: leaf for part, item in entries for key, leaf in leaves(item, f"{name}.{part}" if name else part).items()
    }


def differences(first: object, second: object) -> dict[str, tuple[object, object]]:
    """Return the leaves that differ as (first, second) by dotted name; None stands for what one side lacks."""
    sides = leaves(first), leaves(second)
    both = {name: (sides[0].get(name), sides[1].get(name)) for name in dict.fromkeys([*sides[0], *sides[1]])}
    return {name: pair for name, pair in both.items() if pair[0] != pair[1]}
