"""A YAML file as data that know where they were written, and the door through which they become models."""

import json
from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import BaseModel, ValidationError

from labctl.config.errors import ConfigError, Key, Keys, Position, Problem, closest
from labctl.config.explain import Complaint, explain
from labctl.config.plain_words import show
from labctl.config.yaml12 import Tree, read_tree

M = TypeVar("M", bound=BaseModel)

_KINDS = {"experiment": "an experiment file", "rig": "a rig file"}

_SHORT_FOR_KIND = ("encoder",)
"""Keys under which a text is short for a mapping with that `kind`."""


@dataclass(frozen=True)
class Document:
    """One file: its data after `--set`, the text it was read from, and the position of every key and value.

    `path` is what messages call the file, `folder` what relative paths in it are relative to.
    """

    path: Path
    folder: Path
    text: str
    tree: Tree
    overrides: tuple[str, ...] = ()

    @classmethod
    def read(cls, path: Path) -> "Document":
        """Read a file. Raises `ConfigError`."""
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            slip = closest(path.name, [file.name for file in path.parent.glob("*.y*ml")])
            hint = f'did you mean "{slip}"?' if slip else "expected a YAML file"
            raise ConfigError([Problem(Position(str(path)), f"no such file; {hint}")]) from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ConfigError([Problem(Position(str(path)), f"cannot be read: {reason}")]) from None
        return cls.parse(content, path)

    @classmethod
    def parse(cls, content: str | bytes, path: Path, folder: Path | None = None) -> "Document":
        """Read the content of a file. `folder` is the path's own unless given. Raises `ConfigError`."""
        text = content if isinstance(content, str) else _decode(content, path)
        tree = read_tree(text, lambda line, column: Position(str(path), line, column))
        if tree.data is None:
            raise ConfigError([Problem(Position(str(path), 1, 1), 'the file is empty; expected lines of "key: value"')])
        if not isinstance(tree.data, dict):
            what = f'the file holds {_noun(tree.data)}; expected lines of "key: value"'
            raise ConfigError([Problem(tree.values[()], what)])
        return cls(path, path.parent if folder is None else folder, text, tree)

    @property
    def data(self) -> dict[Key, Any]:
        """Return the file as plain Python data."""
        return cast("dict[Key, Any]", self.tree.data)

    def value(self, keys: Keys) -> Any:
        """Return the plain data at `keys`. Raises `KeyError` or `IndexError`."""
        value: Any = self.data
        for key in keys:
            value = value[key]
        return value

    def position(self, keys: Keys) -> Position:
        """Return where the value at `keys` stands, or the nearest thing around it that was written."""
        while keys and keys not in self.tree.values:
            keys = keys[:-1]
        return self.tree.values[keys]

    def key_position(self, keys: Keys) -> Position:
        """Return where the last of `keys` stands, or the value for a list item."""
        return self.tree.keys.get(keys) or self.position(keys)

    def error(self, at: Keys, message: str) -> ConfigError:
        """Return an error about the value at `at`, for checks that no single model can make."""
        return ConfigError([Problem(self.position(at), message)])

    def require_schema(self, schema: str) -> None:
        """Raise `ConfigError` unless the file declares `schema`, such as `labctl/rig/1`."""
        given = self.data.get("schema")
        kind = schema.split("/")[1]
        if "schema" not in self.data:
            slip = next((key for key in self.data if closest(str(key), ["schema"])), None)
            if slip is not None:
                problem = Problem(self.key_position((slip,)), f'unknown key "{slip}"; did you mean "schema"?')
            else:
                problem = Problem(self.position(()), f'missing key "schema"; add "schema: {schema}" as the first line')
            raise ConfigError([problem])
        if given == schema:
            return
        given_kind = str(given).removeprefix("labctl/").split("/")[0]
        if given_kind != kind and given_kind in _KINDS:
            raise self.error(("schema",), f'this is {_KINDS[given_kind]}; expected {_KINDS[kind]}, "schema: {schema}"')
        raise self.error(("schema",), f"schema {json.dumps(given)} is not supported; supported: {schema}")

    def validate(self, model: type[M], at: Keys = (), *, ignoring: frozenset[str] = frozenset()) -> M:
        """Return the mapping at `at`, without the keys in `ignoring`, as a `model`; raise `ConfigError` if it is none.

        Types are strict, as JSON's are: text is no number, a number with a fraction no integer, `true` no number.
        """
        data = {key: value for key, value in self.value(at).items() if key not in ignoring}
        try:
            return model.model_validate_json(json.dumps(data), strict=True)
        except ValidationError as error:
            complaints = explain(error, model, data)
        raise ConfigError(self._problem(complaint, at) for complaint in complaints)

    def _problem(self, complaint: Complaint, at: Keys) -> Problem:
        keys = (*at, *complaint.keys)
        return Problem(self.key_position(keys) if complaint.of_key else self.position(keys), complaint.message)

    def with_overrides(self, assignments: Iterable[str], within: str = "") -> "Document":
        """Return the document with each `dotted.path=value` of `--set` put in place of what the file says.

        `within` is what every path begins with before it enters this document, such as `rig.`. Whether the path means
        anything is for `validate` to say. Raises `ConfigError` for what is no assignment, a value that is no YAML, a
        list index that does not exist and a path through something that has no keys.
        """
        document = self
        for assignment in assignments:
            document = _assign(document, assignment, within)
        return document


def _decode(content: bytes, path: Path) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8-sig", "replace")
        position = Position(str(path), before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)
        what = f"byte 0x{content[error.start]:02X} is not UTF-8; expected a file saved as UTF-8"
        raise ConfigError([Problem(position, what)]) from None


def _noun(value: object) -> str:
    return "a list" if isinstance(value, list) else "a single value"


def _assign(document: Document, assignment: str, within: str) -> Document:
    position = Position(f"--set {assignment}")
    path, equals, text = assignment.removeprefix(within).partition("=")
    if not equals or not all(path.split(".")):
        raise ConfigError([Problem(position, "not an assignment; expected KEY.KEY=VALUE, as in training.epochs=3")])
    new = read_tree(text, lambda _line, _column: position)
    data = deepcopy(document.data)
    keys = _set(data, path.split("."), new.data, assignment, within)
    tree = _graft(document.tree, data, keys, new, position)
    return replace(document, tree=tree, overrides=(*document.overrides, assignment))


def _set(data: dict[Key, Any], segments: list[str], value: Any, assignment: str, within: str) -> Keys:
    """Put `value` into `data` at the path of `segments`, making mappings on the way; return the path as keys."""
    way: list[Key] = []
    here: Any = data
    for segment in segments[:-1]:
        way.append(_key(here, segment, within + ".".join(map(str, way)), assignment))
        if isinstance(here, dict):
            here = cast("dict[Key, Any]", here).setdefault(way[-1], {})
        else:
            here = cast("list[Any]", here)[cast("int", way[-1])]
    way.append(_key(here, segments[-1], within + ".".join(map(str, way)), assignment))
    here[way[-1]] = value
    return tuple(way)


def _key(container: Any, segment: str, where: str, assignment: str) -> Key:
    """Return `segment` as the key it names in `container`, which lies at the path `where` of `assignment`."""
    if isinstance(container, dict):
        return next((key for key in cast("dict[Key, Any]", container) if str(key) == segment), segment)
    if not isinstance(container, list):
        what = f"{where} is {show(container)}, which has no keys; expected {_whole(container, where, assignment)}"
        raise ConfigError([Problem(Position(f"--set {assignment}"), what)])
    size = len(cast("list[Any]", container))
    if segment.isdecimal() and int(segment) < size:
        return int(segment)
    what = f'{where} has no item "{segment}"; expected an index from 0 to {size - 1}'
    raise ConfigError([Problem(Position(f"--set {assignment}"), what)])


def _whole(value: object, where: str, assignment: str) -> str:
    """Return how all of the `value` at the path `where` is set, of which `assignment` names a key it has not."""
    if not isinstance(value, str) or where.rpartition(".")[2] not in _SHORT_FOR_KIND:
        return f"{where}=VALUE"
    key, _, text = assignment.removeprefix(f"{where}.").partition("=")
    return f"--set '{where}={{kind: {value}, {key}: {text}}}'"


def _graft(old: Tree, data: Any, keys: Keys, new: Tree, position: Position) -> Tree:
    """Return `data` with the positions of `old`, except at `keys` and below, which come from an override."""
    outside = {at: where for at, where in old.values.items() if at[: len(keys)] != keys}
    way = {keys[:n]: position for n in range(1, len(keys) + 1)}
    values = {**way, **outside, **{(*keys, *at): position for at in new.values}}
    outer_keys = {at: where for at, where in old.keys.items() if at[: len(keys)] != keys}
    named = {**way, **outer_keys, **{(*keys, *at): position for at in new.keys}}
    return Tree(data, named, values)
