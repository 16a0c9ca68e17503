"""The figures of the report."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from labctl.report import figures
from labctl.report.figures import BLUE, ORANGE, Interval, Line
from labctl.report.markup import Markup

EPOCHS = np.arange(1, 6)


def lines(*labels: str) -> list[Line]:
    return [Line(label, EPOCHS, 1.0 / EPOCHS, colour) for label, colour in zip(labels, (BLUE, ORANGE), strict=False)]


def draw_all() -> dict[str, Markup]:
    generator = np.random.default_rng(3)
    quantiles = np.sort(generator.normal(size=(5, 700)), axis=0)
    return {
        "line": figures.line_chart("line", lines("one", "two"), x_label="epoch", y_label="loss"),
        "log": figures.line_chart("log", lines("one"), x_label="epoch", y_label="loss", scale="log"),
        "point": figures.line_chart("point", [Line("", EPOCHS[:1], EPOCHS[:1] / 2, BLUE)], x_label="", y_label=""),
        "histogram": figures.histogram("histogram", [("all", quantiles[0], BLUE)], x_label="score", mark=0.0),
        "band": figures.band_chart("band", quantiles, y_label="range", scale="percent"),
        "interval": figures.interval_chart("interval", [Interval("linear", 1, -1, 3)], x_label="points"),
    }


@pytest.fixture(scope="module")
def drawings() -> dict[str, Markup]:
    """One figure of each kind."""
    return draw_all()


@pytest.mark.parametrize("name", ["line", "log", "point", "histogram", "band", "interval"])
def test_a_figure_is_well_formed_svg_that_refers_to_nothing_outside(name: str, drawings: dict[str, Markup]) -> None:
    drawing = drawings[name]
    root = ElementTree.fromstring(drawing)
    assert root.tag == "svg"
    assert len(root.findall(".//path")) > 1
    assert not re.search(r"http|url\(|src=|xlink", drawing)


def test_ink_and_fonts_are_those_of_the_page(drawings: dict[str, Markup]) -> None:
    drawing = drawings["line"]
    assert "currentColor" in drawing
    assert "var(--blue)" in drawing
    assert "var(--orange)" in drawing
    assert "font-family" not in drawing
    assert not re.search(r"#[0-9a-f]{6}\b", drawing)


def test_labels_are_text_and_stand_in_the_figure(drawings: dict[str, Markup]) -> None:
    found = [text.text for text in ElementTree.fromstring(drawings["line"]).iter("text")]
    assert {"epoch", "loss", "one", "two"} <= set(found)


def test_labels_with_markup_or_formula_signs_stay_text() -> None:
    label = "<b>$\\frac$ & so on"
    drawing = figures.line_chart("odd", lines(label, "two"), x_label=label, y_label=label)
    root = ElementTree.fromstring(drawing)
    assert [text.text for text in root.iter("text")].count(label) == 3
    assert root.get("aria-label") == label


def test_figures_are_the_same_every_time(drawings: dict[str, Markup]) -> None:
    assert draw_all() == drawings


def test_very_many_channels_do_not_make_a_large_figure() -> None:
    wide = np.sort(np.random.default_rng(1).normal(size=(5, 20_000)), axis=0)
    assert len(figures.band_chart("wide", wide, y_label="response")) < 150_000


def test_scores_that_are_not_finite_are_left_out() -> None:
    values = np.array([0.1, 0.2, np.nan, np.inf])
    drawing = figures.histogram("holes", [("all", values, BLUE)], x_label="score", mark=None)
    assert ElementTree.fromstring(drawing).tag == "svg"
