"""What README and docs tell people to type works, and what they show is what is printed.

Blocks of a document are carried out in order, in a folder that `labctl init` has filled. Every YAML block becomes a
file and is validated; every shell and Python block is run. In a `console` block what follows a command is compared
with what it prints, `…` standing for anything. Comments directly above a block say more about it:

    <!-- file: NAME -->           the block is the content of this file
    <!-- into: NAME -->           its keys replace those of this YAML file
    <!-- exit code: N -->         the code its command ends with, if not 0
    <!-- Ctrl-C after: N -->      interrupt its command when N passes are recorded
    <!-- not run: REASON -->      for what a test must not or cannot do
"""

import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LANGUAGES = ("bash", "console", "yaml", "python")
STOPPED = 5
PATIENCE_S = 120.0
MOST_NOT_RUN = 6

_FENCE = re.compile(r"```(\w*)")
_NOTE = re.compile(r"<!-- ([\w -]+?): (.+) -->")


@dataclass(frozen=True)
class Block:
    """A fenced block, where it stands, and what the comments above it say."""

    document: Path
    line: int
    language: str
    text: str
    notes: Mapping[str, str]

    @property
    def runs(self) -> bool:
        """Whether it is carried out."""
        return "not run" not in self.notes and (self.language in LANGUAGES or "file" in self.notes)

    def __str__(self) -> str:
        return f"{self.document.relative_to(ROOT)}:{self.line}"


def blocks(document: Path) -> list[Block]:
    """Return the fenced blocks of a document."""
    found: list[Block] = []
    notes: dict[str, str] = {}
    lines = iter(enumerate(document.read_text(encoding="utf-8").splitlines(), start=1))
    for number, line in lines:
        if fence := _FENCE.fullmatch(line):
            body = list(iter(lambda: next(lines)[1], "```"))
            found.append(Block(document, number, fence[1], "\n".join(body) + "\n", notes))
        note = _NOTE.fullmatch(line)
        notes = {**notes, note[1]: note[2]} if note else {}
    return found


@dataclass(frozen=True)
class Reader:
    """Somebody who types what a document says; remembers folder and environment from one block to the next."""

    memory: Path

    @classmethod
    def at(cls, folder: Path) -> "Reader":
        """Begin in the empty `folder`, with the examples in it."""
        reader = cls(folder / ".memory.sh")
        reader.memory.write_text(f"cd '{folder}'\n", encoding="utf-8")
        reader.type("labctl init .")
        return reader

    def carry_out(self, block: Block) -> None:
        """Do what the block is for."""
        if "file" in block.notes or "into" in block.notes:
            file = self.folder / block.notes.get("file", block.notes.get("into", ""))
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(_merged(file, block.text) if "into" in block.notes else block.text, encoding="utf-8")
            if block.language == "yaml":
                self.type(f"labctl validate '{file}'")
        elif block.language == "python":
            self.type(f"python - <<'END'\n{block.text}END")
        elif "Ctrl-C after" in block.notes:
            self.interrupt(block.text, int(block.notes["Ctrl-C after"]))
        elif block.language == "console":
            for command, shown in _exchanges(block.text):
                _compare(self.type(command, _code(block)), shown)
        else:
            self.type(_without_make(block.text), _code(block))

    @property
    def folder(self) -> Path:
        """Where they are now."""
        return Path(self.type("pwd").strip())

    def type(self, script: str, code: int = 0) -> str:
        """Run a script that must end with `code`, and return what it prints."""
        remember = f"{{ printf 'cd %q\\n' \"$PWD\"; export -p; }} > '{self.memory}'"
        whole = f"set -e\n. '{self.memory}'\ntrap {_quoted(remember)} EXIT\n{script}"
        done = subprocess.run(
            ["bash", "-c", whole], env=_environment(), stdout=-1, stderr=-2, text=True, timeout=PATIENCE_S, check=False
        )
        assert done.returncode == code, f"{script}\n{done.stdout}"
        return done.stdout

    def interrupt(self, command: str, n_passes: int) -> None:
        """Start a command, press Ctrl-C when its run has recorded `n_passes`, and expect it to stop as promised."""
        folder = self.folder
        before = set(folder.glob("runs/*/run.sqlite"))
        script = f". '{self.memory}'\nexec {command}"
        process = subprocess.Popen(["bash", "-c", script], env=_environment(), stdout=-1, stderr=-2, text=True)
        deadline = time.monotonic() + PATIENCE_S
        while not any(_passes(log) >= n_passes for log in set(folder.glob("runs/*/run.sqlite")) - before):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == STOPPED, out


def _environment() -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("LABCTL_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{own['PATH']}"
    return {**own, "PATH": path, "COLUMNS": "100", "NO_COLOR": "1", "PIP_NO_INDEX": "1", "PYTEST_ADDOPTS": ""}


def _quoted(script: str) -> str:
    return "'" + script.replace("'", "'\\''") + "'"


def _code(block: Block) -> int:
    return int(block.notes.get("exit code", "0"))


def _merged(file: Path, text: str) -> str:
    whole: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return yaml.safe_dump({**whole, **yaml.safe_load(text)}, sort_keys=False, allow_unicode=True)


def _exchanges(text: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each command of a console block with the lines shown after it."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, *shown = part.splitlines()
        yield command, shown


def _compare(printed: str, shown: list[str]) -> None:
    lines = [line.rstrip() for line in printed.splitlines()]
    for line in shown:
        pattern = re.escape(line.rstrip()).replace("…", ".*")
        assert any(re.fullmatch(pattern, each) for each in lines), f"{line!r} is not printed:\n{printed}"


def _without_make(script: str) -> str:
    """Take out calls of make, which set up a whole environment, after a look whether their targets exist."""
    lines = script.splitlines()
    targets = {target for line in lines if line.startswith("make ") for target in line.split()[1:]}
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert targets <= set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    return "\n".join(line for line in lines if not line.startswith("make "))


def _passes(log: Path) -> int:
    try:
        with closing(sqlite3.connect(f"{log.as_uri()}?mode=ro", uri=True)) as connection:
            return int(connection.execute("SELECT count(*) FROM passes").fetchone()[0])
    except sqlite3.OperationalError:
        return 0


FOLLOWED = [document for document in DOCUMENTS if any(block.runs for block in blocks(document))]


def follow(document: Path, folder: Path) -> None:
    """Do everything a document says."""
    reader = Reader.at(folder)
    for block in blocks(document):
        if block.runs:
            try:
                reader.carry_out(block)
            except AssertionError as error:
                error.add_note(f"in the block at {block}")
                raise


@pytest.fixture(scope="session")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[Path, Future[None]]]:
    """Follow all documents, two at a time, the tutorial, which is the longest, first."""
    with ThreadPoolExecutor(2) as pool:
        yield {document: pool.submit(follow, document, tmp_path_factory.mktemp("lab")) for document in FOLLOWED[::-1]}


@pytest.mark.timeout(600)  # the first of them waits for the others, too
@pytest.mark.parametrize("document", FOLLOWED, ids=lambda document: str(document.relative_to(ROOT)))
def test_what_a_document_says_works(document: Path, followed: Mapping[Path, Future[None]]) -> None:
    followed[document].result()


def test_few_blocks_are_not_run_and_each_says_why() -> None:
    left_out = [block for document in DOCUMENTS for block in blocks(document) if "not run" in block.notes]
    assert all(len(block.notes["not run"].split()) >= 3 for block in left_out)
    assert len(left_out) <= MOST_NOT_RUN


def test_every_yaml_block_is_a_file_or_goes_into_one() -> None:
    yamls = [block for document in DOCUMENTS for block in blocks(document) if block.runs and block.language == "yaml"]
    assert yamls
    assert [str(block) for block in yamls if not {"file", "into"} & set(block.notes)] == []
