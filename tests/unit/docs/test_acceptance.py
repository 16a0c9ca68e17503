"""The form of docs/acceptance.md: what was asked for, and how far it is shown."""

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

PAGE = Path(__file__).parents[3] / "docs" / "acceptance.md"
HEADER = ["issue", "bullet", "command", "figure", "commit", "state"]
COMMIT = re.compile(r"[0-9a-f]{7,40}")


class Line(NamedTuple):
    issue: str
    bullet: str
    command: str
    figure: str
    commit: str
    state: str


def cells(row: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", row.strip())[1:-1]]


def lines() -> list[Line]:
    rows = [row for row in PAGE.read_text(encoding="utf-8").splitlines() if row.startswith("|")]
    body = [cells(row) for row in rows if not re.fullmatch(r"[|\s:-]+", row) and cells(row) != HEADER]
    assert all(len(row) == len(HEADER) for row in body), next(row for row in body if len(row) != len(HEADER))
    return [Line(*row) for row in body]


def test_every_line_has_an_issue_a_bullet_and_a_state() -> None:
    for line in lines():
        assert re.fullmatch(r"[2-7]", line.issue), line
        assert line.bullet, line
        assert line.state in {"done", "open", "short"}, line
        assert all((line.command, line.figure, line.commit)), line


@pytest.mark.parametrize("state", ["done", "short"])
def test_what_is_not_open_has_a_command_a_figure_and_a_commit(state: str) -> None:
    for line in lines():
        if line.state == state:
            assert re.search(r"`[^`]+`", line.command), line
            assert line.figure not in {"-", "open"}, line
            assert COMMIT.fullmatch(line.commit), line


def test_what_is_open_names_no_commit() -> None:
    assert all(line.commit == "open" for line in lines() if line.state == "open")


def test_every_issue_is_there_and_no_line_twice() -> None:
    listed = [(line.issue, line.bullet) for line in lines()]
    assert {issue for issue, _ in listed} == set("234567")
    assert len(set(listed)) == len(listed)


def test_every_test_that_is_named_is_there() -> None:
    """A command whose tests have been renamed would pass for good, having run nothing."""
    asked = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", "", "-p", "no:cacheprovider", "tests"]
    listed = subprocess.run(asked, cwd=PAGE.parents[1], capture_output=True, text=True, check=True).stdout
    nodes = [node.lower() for node in listed.splitlines() if "::" in node]
    for line in lines():
        command = shlex.split(line.command.strip("`"))
        if command[0] != "pytest":
            continue
        words = command[command.index("-k") + 1].lower().split(" or ") if "-k" in command else [""]
        for place in (each for each in command[1:] if each.startswith("tests")):
            within = [node for node in nodes if node.startswith(place)]
            assert any(word in node.removeprefix("tests/") for word in words for node in within), line
