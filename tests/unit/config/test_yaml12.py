"""YAML 1.2 scalars, refusals and positions."""

import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labctl.config.document import Document
from labctl.config.errors import ConfigError, Position
from labctl.config.yaml12 import read_tree


def parse(text: str | bytes) -> Document:
    return Document.parse(text, Path("f.yaml"))


def message(text: str | bytes) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    return str(caught.value)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("1e9", 1e9),
        ("1.0e9", 1e9),
        ("2e-3", 2e-3),
        ("-.5", -0.5),
        ("1.", 1.0),
        (".inf", math.inf),
        ("-.Inf", -math.inf),
        ("12", 12),
        ("-12", -12),
        ("+12", 12),
        ("012", 12),
        ("0x1F", 31),
        ("0o17", 15),
        ("true", True),
        ("false", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("on", "on"),
        ("off", "off"),
        ("yes", "yes"),
        ("no", "no"),
        ("y", "y"),
        ("True", "True"),
        ("12:30:00", "12:30:00"),
        ("2026-11-20", "2026-11-20"),
        ("1_000", "1_000"),
        ("0b11", "0b11"),
        ("=", "="),
        ("5 GHz", "5 GHz"),
        ("'1e9'", "1e9"),
        ('"\\ud83d\\ude00"', "😀"),
        ('"true"', "true"),
        ("e9", "e9"),
        (".", "."),
        ("1e", "1e"),
        ("$HOME", "$HOME"),
    ],
)
def test_scalars_are_those_of_yaml_1_2(written: str, meant: object) -> None:
    value = parse(f"key: {written}").data["key"]
    assert value == meant
    assert type(value) is type(meant)


def test_not_a_number_is_a_float() -> None:
    assert math.isnan(parse("key: .nan").data["key"])


def test_integer_keys_stay_integers_and_words_stay_text() -> None:
    assert parse("outputs: {1: a, on: b, 'x y': c}").data == {"outputs": {1: "a", "on": "b", "x y": "c"}}


def test_aliases_are_copies() -> None:
    data = parse("a: &a {x: [1]}\nb: *a").data
    assert data["a"] == data["b"] == {"x": [1]}
    assert data["a"]["x"] is not data["b"]["x"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", 'f.yaml:1:1: the file is empty; expected lines of "key: value"'),
        ("# nothing\n", 'f.yaml:1:1: the file is empty; expected lines of "key: value"'),
        ("- 1", 'f.yaml:1:1: the file holds a list; expected lines of "key: value"'),
        ("\nword", 'f.yaml:2:1: the file holds a single value; expected lines of "key: value"'),
        ("a: 1\nb: 2\na: 3", 'f.yaml:3:1: duplicate key "a"; first given in line 1'),
        ("a: {1: x, '1': y}", 'f.yaml:1:11: duplicate key "1"; first given in line 1'),
        (
            "a: !!python/object/apply:os.system ['true']",
            "f.yaml:1:4: tag tag:yaml.org,2002:python/object/apply:os.system is not allowed; expected plain YAML",
        ),
        ("a: !foo 1", "f.yaml:1:4: tag !foo is not allowed; expected plain YAML"),
        ("a: !!int 1", "f.yaml:1:4: tag tag:yaml.org,2002:int is not allowed; expected plain YAML"),
        ("a: !!binary aGk=", "f.yaml:1:4: tag tag:yaml.org,2002:binary is not allowed; expected plain YAML"),
        ("a: ! 1", "f.yaml:1:4: tag ! is not allowed; expected plain YAML"),
        ("a: &a [*a]", "f.yaml:1:4: an alias refers to the value it stands in; expected a value that ends"),
        ("a: *b", "f.yaml:1:4: not valid YAML: found undefined alias 'b'"),
        ("<<: {a: 1}", "f.yaml:1:1: merge keys (<<) are not supported; expected the keys themselves"),
        (
            "[1]: 2",
            "f.yaml:1:1: this key is neither text nor a whole number; expected a name, in quotes if need be",
        ),
        (
            "true: 2",
            "f.yaml:1:1: this key is neither text nor a whole number; expected a name, in quotes if need be",
        ),
        ("a:\n\t- 1", "f.yaml:2:1: a tab stands where YAML allows spaces only; expected spaces"),
        ("a: 1\n---\nb: 2", "f.yaml:2:1: a second document starts here; expected one document per file"),
        (
            "a: b: c",
            'f.yaml:1:5: not valid YAML: a second ":" in this line; expected one "key: value", '
            'or quotes around text with ": "',
        ),
        (
            "a: [1",
            "f.yaml:1:6: not valid YAML: while parsing a flow sequence, expected ',' or ']', but got '<stream end>'",
        ),
        ("a: 1\nb: \x07", "f.yaml:2:4: character U+0007 is not allowed in YAML; expected printable text"),
        ('a: "\\UFFFFFFFF"', "f.yaml:1:7: this escape names no character; expected a code up to \\U0010FFFF"),
        (
            'a: "\\ud800"',
            "f.yaml:1:4: this text holds half a character (a lone surrogate); expected whole characters",
        ),
        ("a: " + "9" * 101, "f.yaml:1:4: a number of 101 digits; expected at most 100"),
        ("a: " + "[" * 60, "f.yaml:1:43: nested more than 40 levels deep; expected a flatter file"),
        (b"a: 1\nb: caf\xe9", "f.yaml:2:7: byte 0xE9 is not UTF-8; expected a file saved as UTF-8"),
        (b"\xff\xfea\x00", "f.yaml:1:1: byte 0xFF is not UTF-8; expected a file saved as UTF-8"),
        (
            "a: ${LABCTL_SURELY_UNSET}",
            "f.yaml:1:4: environment variable LABCTL_SURELY_UNSET is not set; set it before starting labctl",
        ),
        (
            "a: ${NO NAME}",
            'f.yaml:1:4: "${NO NAME}" names no environment variable; expected a form like ${LABCTL_DATA}',
        ),
    ],
)
def test_what_is_not_read_is_said_once_with_its_place(text: str | bytes, said: str) -> None:
    assert message(text) == said


def test_several_problems_are_told_together_in_the_order_of_the_file() -> None:
    assert message("a: 1\na: 2\nb: ${LABCTL_SURELY_UNSET}\n[c]: 1").splitlines() == [
        'f.yaml:2:1: duplicate key "a"; first given in line 1',
        "f.yaml:3:4: environment variable LABCTL_SURELY_UNSET is not set; set it before starting labctl",
        "f.yaml:4:1: this key is neither text nor a whole number; expected a name, in quotes if need be",
    ]


def test_aliases_cannot_grow_a_file_without_bound() -> None:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    assert message("\n".join(lines)).endswith("more than 100000 values, aliases included; expected a smaller file")


def test_aliases_cannot_nest_without_bound() -> None:
    lines = ["a0: &a0 [1]"] + [f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 500)]
    assert message("\n".join(lines)).endswith("nested more than 40 levels deep by aliases; expected a flatter file")


def test_environment_variables_are_expanded_in_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABCTL_DATA", "/data")
    data = parse("path: ${LABCTL_DATA}/x.npz\nlist: ['${LABCTL_DATA}${LABCTL_DATA}']\n${LABCTL_DATA}: 1").data
    assert data == {"path": "/data/x.npz", "list": ["/data/data"], "${LABCTL_DATA}": 1}


def test_a_byte_order_mark_is_no_key() -> None:
    assert parse(b"\xef\xbb\xbfa: 1").data == {"a": 1}


def test_positions_of_keys_and_values() -> None:
    document = parse("a: 1\nb:\n  - {c: 2}\n  - d:   x\n")
    assert document.position(("a",)) == Position("f.yaml", 1, 4)
    assert document.key_position(("b", 0, "c")) == Position("f.yaml", 3, 6)
    assert document.position(("b", 0, "c")) == Position("f.yaml", 3, 9)
    assert document.position(("b", 1, "d")) == Position("f.yaml", 4, 10)
    assert document.position(("b", 1, "absent", "deeper")) == document.position(("b", 1))


@pytest.mark.parametrize("name", ["absent.yaml", "with\0null", "."])
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"no such file|cannot be read"):
        Document.read(tmp_path / name)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(ConfigError) as caught:
        Document.read(Path("nowhere/quick.yaml"))
    assert str(caught.value) == f"{Path('nowhere/quick.yaml')}: no such file; expected a YAML file"


YAML_LIKE = st.text(
    st.sampled_from(list("ab01:-[]{},&*!|>'\"%@`#?<$ \n\t\r\\.eExuU~é\ufeff\x85\u2028\ud800\0")), max_size=40
)


@settings(deadline=None)
@given(st.one_of(st.text(), st.binary(), YAML_LIKE))
def test_no_input_raises_anything_but_a_config_error(content: str | bytes) -> None:
    said = None
    try:
        document = parse(content)
    except ConfigError as error:
        said = str(error)
    assert said.startswith("f.yaml:") if said is not None else isinstance(document.data, dict)


@settings(deadline=None)
@given(st.one_of(st.floats(allow_nan=False), st.integers(-(10**98), 10**98)))
def test_numbers_survive(number: float) -> None:
    written = repr(number).replace("inf", ".inf")
    value = read_tree(written, lambda line, column: Position("-", line, column)).data
    assert value == number
    assert type(value) is type(number)
