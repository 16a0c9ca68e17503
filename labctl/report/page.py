"""The report of a run: one self-contained HTML page, written from the run's pass log alone."""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from labctl.contract.errors import RecordError
from labctl.record.reader import LogReader
from labctl.report.facts import RunFacts, gather_facts
from labctl.report.markup import Markup, element, together
from labctl.report.sections.comparison import comparison
from labctl.report.sections.headline import headline
from labctl.report.sections.layers import layers
from labctl.report.sections.learning import learning
from labctl.report.sections.price import price
from labctl.report.sections.provenance import provenance
from labctl.report.sections.scores import confusion, scores


def write_page(reader: LogReader, path: Path) -> None:
    """Write the report of the run to `path`, replacing an older one.

    An unfinished run gets a page that says where it stands. Raises `RecordError` when the log is not one of a run or
    the page cannot be written.
    """
    save_page(render_page(gather_facts(reader)), path)


def save_page(page: Markup, path: Path) -> None:
    """Write a page to `path`, replacing an older one at once. Raises `RecordError` when it cannot be written."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_text(f"<!DOCTYPE html>\n{page}\n", encoding="utf-8", newline="\n")
        partial.replace(path)
    except OSError as error:
        raise RecordError(f"the report cannot be written to {path}: {error}") from error
    finally:
        partial.unlink(missing_ok=True)


def render_page(facts: RunFacts) -> Markup:
    """Return the `html` element of the report."""
    tested = [] if facts.test is None else [scores(facts, facts.test), confusion(facts, facts.test)]
    against = [] if facts.test is None else [comparison(facts, facts.test)]
    sections = [headline(facts), *against, learning(facts), *tested, layers(facts), price(facts), provenance(facts)]
    return page_of(f"{facts.folder_name} · labctl", sections)


def page_of(title: str, sections: Sequence[Markup]) -> Markup:
    """Return the `html` element of a self-contained page."""
    style = Markup(files("labctl.report").joinpath("page.css").read_text(encoding="utf-8"))
    head = element(
        "head",
        Markup('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        Markup('<meta name="color-scheme" content="light dark">'),
        element("title", title),
        element("style", style),
    )
    return element("html", head, element("body", element("main", together(sections))), lang="en")
