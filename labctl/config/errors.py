"""What is wrong with a file somebody wrote, and where: the messages of the configuration layer."""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from labctl.contract.errors import InputError

Key = str | int
Keys = tuple[Key, ...]
"""The way to a value inside a document: mapping keys and list indices from the top."""


@dataclass(frozen=True, order=True, slots=True)
class Position:
    """A place in a file, or a `--set` argument, which has no lines. Lines and columns count from 1; 0 is none."""

    source: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, said in words that need no knowledge of labctl's inside."""

    position: Position
    message: str

    def __str__(self) -> str:
        return f"{self.position}: {self.message}"


class ConfigError(InputError):
    """All problems of one document, one line each, in the order of the file."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: problem.position))
        super().__init__("\n".join(map(str, self.problems)))


def closest(word: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate that `word` is probably a slip of, if there is one."""
    by_folded = {candidate.casefold(): candidate for candidate in candidates}
    matches = get_close_matches(word.casefold(), by_folded, n=1, cutoff=0.6)
    return by_folded[matches[0]] if matches else None
