# pyright: reportUnknownMemberType=false
"""YAML as labctl reads it: the scalars of YAML 1.2, no tags, and the position of every key and value.

PyYAML alone follows YAML 1.1, where `on` is a boolean, `12:30` a number of minutes and `1e9` a text. The scalars
here are those of the YAML 1.2.2 core schema (section 10.3.2), booleans written `true` and `false` only.
"""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode

from labctl.config.errors import ConfigError, Key, Keys, Position, Problem

MAX_DEPTH = 40
MAX_VALUES = 100_000
MAX_DIGITS = 100

Place = Callable[[int, int], Position]
"""Makes the position of a line and a column, both counted from 1."""

_TAG = "tag:yaml.org,2002:"
_ENVIRONMENT = re.compile(r"\$\{([^{}]*)\}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass
class Tree:
    """Plain data and the position of every key and value in it."""

    data: Any = None
    keys: dict[Keys, Position] = field(default_factory=dict[Keys, Position])
    values: dict[Keys, Position] = field(default_factory=dict[Keys, Position])


def read_tree(text: str, place: Place) -> Tree:
    """Return the one document of `text`; its data are None when there is none. Raises `ConfigError`."""
    node = _compose(text, place)
    builder = _Builder(place)
    if node is not None:
        builder.tree.data = builder.value(node, ())
    if builder.problems:
        raise ConfigError(builder.problems)
    return builder.tree


class _RefusedError(yaml.MarkedYAMLError):
    """Valid YAML that labctl does not read."""


class _Loader(yaml.SafeLoader):
    """Composes nodes of bounded depth and without tags, with the scalars of YAML 1.2."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - PyYAML looks the resolvers up in a class attribute of this name
    depth = 0

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        event = cast("Any", self.peek_event())
        tag: str | None = getattr(event, "tag", None)
        if tag is not None:
            raise _RefusedError(problem=f"tag {tag} is not allowed; expected plain YAML", problem_mark=event.start_mark)
        self.depth += 1
        if self.depth > MAX_DEPTH:
            what = f"nested more than {MAX_DEPTH} levels deep; expected a flatter file"
            raise _RefusedError(problem=what, problem_mark=event.start_mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


for _name, _pattern, _first in (
    ("bool", r"true|false", "tf"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+.0123456789",
    ),
):
    _Loader.add_implicit_resolver(_TAG + _name, re.compile(rf"(?:{_pattern})\Z"), list(_first))


def _compose(text: str, place: Place) -> Node | None:
    try:
        return _only_document(_Loader(text))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line, mark.column) if mark else (0, 0)
        raise ConfigError([Problem(place(line + 1, column + 1), _plain_words(error))]) from None
    except yaml.reader.ReaderError as error:
        before = text[: error.position].splitlines() or [""]
        what = f"character U+{ord(text[error.position]):04X} is not allowed in YAML; expected printable text"
        raise ConfigError([Problem(place(len(before), len(before[-1]) + 1), what)]) from None


def _only_document(loader: _Loader) -> Node | None:
    try:
        return loader.get_single_node()
    except (ValueError, OverflowError):
        what = "this escape names no character; expected a code up to \\U0010FFFF"
        raise _RefusedError(problem=what, problem_mark=loader.get_mark()) from None


def _plain_words(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or "unreadable"
    if isinstance(error, _RefusedError):
        return problem
    if "found another document" in problem:
        return "a second document starts here; expected one document per file"
    if "'\\t'" in problem:
        return "a tab stands where YAML allows spaces only; expected spaces"
    if "mapping values are not allowed" in problem:
        return 'not valid YAML: a second ":" in this line; expected one "key: value", or quotes around text with ": "'
    return "not valid YAML: " + ", ".join(filter(None, (error.context, problem)))


class _Builder:
    """Turns nodes into plain data, noting positions and collecting problems as it goes."""

    def __init__(self, place: Place) -> None:
        self.tree = Tree()
        self.problems: list[Problem] = []
        self._place = place
        self._open: set[int] = set()
        self._count = 0

    def value(self, node: Node, keys: Keys) -> Any:
        """Return the data of `node`, which lies at `keys`."""
        self.tree.values[keys] = self._position(node)
        self._count += 1
        if self._count > MAX_VALUES:
            self._fail(node, f"more than {MAX_VALUES} values, aliases included; expected a smaller file")
        if isinstance(node, ScalarNode):
            return self._scalar(node)
        if id(node) in self._open:
            self._fail(node, "an alias refers to the value it stands in; expected a value that ends")
        if len(keys) > MAX_DEPTH:
            self._fail(node, f"nested more than {MAX_DEPTH} levels deep by aliases; expected a flatter file")
        self._open.add(id(node))
        data = self._mapping(node, keys) if isinstance(node, MappingNode) else self._sequence(node, keys)
        self._open.remove(id(node))
        return data

    def _sequence(self, node: Node, keys: Keys) -> list[Any]:
        return [self.value(item, (*keys, index)) for index, item in enumerate(node.value)]

    def _mapping(self, node: MappingNode, keys: Keys) -> dict[Key, Any]:
        data: dict[Key, Any] = {}
        first: dict[str, Position] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node)
            if key is None:
                continue
            position = self._position(key_node)
            if str(key) in first:
                line = first[str(key)].line
                hint = f"first given in line {line}" if line else "expected it once"
                self._problem(key_node, f'duplicate key "{key}"; {hint}')
                continue
            first[str(key)] = self.tree.keys[*keys, key] = position
            data[key] = self.value(value_node, (*keys, key))
        return data

    def _key(self, node: Node) -> Key | None:
        if isinstance(node, ScalarNode):
            key = self._scalar(node, expand=False)
            if key == "<<" and node.style is None:
                self._problem(node, "merge keys (<<) are not supported; expected the keys themselves")
                return None
            if isinstance(key, str) or (isinstance(key, int) and not isinstance(key, bool)):
                return key
        self._problem(node, "this key is neither text nor a whole number; expected a name, in quotes if need be")
        return None

    def _scalar(self, node: ScalarNode, *, expand: bool = True) -> Any:
        text: str = node.value
        match node.tag.removeprefix(_TAG):
            case "bool":
                return text == "true"
            case "null":
                return None
            case "int":
                return self._integer(node)
            case "float":
                return float(re.sub(r"\.(?=[a-zA-Z])", "", text))
            case _:
                return self._text(node, expand=expand)

    def _integer(self, node: ScalarNode) -> int:
        text: str = node.value
        if len(text) > MAX_DIGITS:
            self._problem(node, f"a number of {len(text)} digits; expected at most {MAX_DIGITS}")
            return 0
        return int(text, {"0x": 16, "0o": 8}.get(text[:2], 10))

    def _text(self, node: ScalarNode, *, expand: bool) -> str:
        text: str = node.value
        if expand:
            text = _ENVIRONMENT.sub(lambda match: self._variable(node, match[1]), text)
        try:
            # As in JSON, the escapes \ud83d\ude00 are the two halves of one character.
            return text.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            self._problem(node, "this text holds half a character (a lone surrogate); expected whole characters")
            return ""

    def _variable(self, node: ScalarNode, name: str) -> str:
        if not _VARIABLE.fullmatch(name):
            self._problem(node, f'"${{{name}}}" names no environment variable; expected a form like ${{LABCTL_DATA}}')
            return ""
        if name not in os.environ:
            self._problem(node, f"environment variable {name} is not set; set it before starting labctl")
        return os.environ.get(name, "")

    def _position(self, node: Node) -> Position:
        return self._place(node.start_mark.line + 1, node.start_mark.column + 1)

    def _problem(self, node: Node, message: str) -> None:
        self.problems.append(Problem(self._position(node), message))

    def _fail(self, node: Node, message: str) -> None:
        raise ConfigError([*self.problems, Problem(self._position(node), message)])
