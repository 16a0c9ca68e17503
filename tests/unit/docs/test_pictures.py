"""The pictures of the README are those that their script draws, and their captions say what it measures."""

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "docs" / "pictures"


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "docs" / "draw_pictures.py"))


def words(svg: str) -> set[str]:
    """Return titles, labels and legends; ticks and coordinates depend on the version of matplotlib."""
    return {text for text in re.findall(r"<text[^>]*>([^<]+)</text>", svg) if re.search("[A-Za-z]{2}", text)}


def test_the_committed_pictures_are_those_that_are_drawn(script: dict[str, Any]) -> None:
    drawn = script["pictures"]()
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert set(drawn) == set(FOLDER.iterdir())
    for file, picture in drawn.items():
        committed = file.read_text(encoding="utf-8")
        assert committed.startswith("<?xml")
        assert len(committed) < 60_000
        assert words(committed) == words(picture.svg) != set(), f"{file.name}: run `python docs/draw_pictures.py`"
        assert picture.caption in readme
        assert f"](docs/pictures/{file.name})" in readme


def test_a_picture_is_drawn_the_same_twice(script: dict[str, Any]) -> None:
    assert script["optics"]() == script["optics"]()
