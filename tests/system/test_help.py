"""Somebody who knows nothing asks for help."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from labctl.cli.main import COMMANDS
from labctl.cli.main import labctl as root

if TYPE_CHECKING:
    from .conftest import Labctl


def commands(group: click.Group, way: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield every command with the words that name it."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield (*way, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*way, name))


EVERY = dict(commands(root))


@pytest.mark.parametrize("words", EVERY, ids=" ".join)
def test_every_command_and_option_is_described(words: tuple[str, ...]) -> None:
    command = EVERY[words]
    text = command.get_help(click.Context(command, info_name=" ".join(("labctl", *words)), terminal_width=100))
    assert text.startswith(f"Usage: labctl {' '.join(words)} ")
    assert command.help, "says what it does"
    assert command.help.split("\n\n")[0].rstrip().endswith(".")
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{parameter.opts} is not described"
            assert parameter.help[0].isupper() or parameter.opts == ["--format"]
            assert parameter.opts[0] in text
        else:
            assert parameter.make_metavar(click.Context(command)) in text


def test_help_is_shown(labctl: "Labctl") -> None:
    """With --help, with -h, and for somebody who types the name alone."""
    text = labctl("--help").out
    for name, does in COMMANDS.items():
        assert f"{name} " in text
        assert does in " ".join(text.split())
    assert labctl("-h").out == text
    assert labctl(code=2).err == text
    assert labctl("run", "--help").out.startswith("Usage: labctl run [OPTIONS] EXPERIMENT")
    assert "verify" in labctl("runs", "--help").out


def test_no_line_of_the_list_of_commands_is_cut_off(labctl: "Labctl") -> None:
    for words in ([], ["runs"]):
        assert "..." not in labctl.quick(*words, "--help").out.split("Commands:")[1]


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["trian"], "see `labctl --help`"),
        (["resum"], 'did you mean "resume"?'),
        (["eval"], 'did you mean "evaluate"?'),
        (["runs", "verfy"], "verify"),
        (["run", "wine.yaml", "--dry-rum"], "--dry-run"),
    ],
)
def test_a_mistyped_command(labctl: "Labctl", words: list[str], meant: str) -> None:
    assert meant in labctl.quick(*words, code=2).err


def test_the_version(labctl: "Labctl") -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert labctl("--version").out == f"labctl, version {project['version']}\n"
