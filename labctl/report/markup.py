"""HTML as values: text is escaped where it enters, so that nothing a file says can become markup."""

from collections.abc import Iterable, Sequence
from html import escape


class Markup(str):
    """HTML that may stand in a page as it is. Any other text is escaped."""

    __slots__ = ()


def element(name: str, *content: object, **attributes: str) -> Markup:
    """Return `<name attributes>content</name>`; a trailing `_` keeps an attribute's name from being a keyword."""
    written = "".join(f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"' for key, value in attributes.items())
    return Markup(f"<{name}{written}>{together(content)}</{name}>")


def together(content: Iterable[object]) -> Markup:
    """Return pieces of HTML and text one after the other."""
    return Markup("".join(piece if isinstance(piece, Markup) else escape(str(piece)) for piece in content))


def paragraph(*content: object, class_: str = "prose") -> Markup:
    """Return a paragraph."""
    return element("p", *content, class_=class_)


def table(header: Sequence[object], rows: Iterable[Sequence[object]], *, numeric: Sequence[int] = ()) -> Markup:
    """Return a table whose first column names the rows; the columns `numeric` are set as figures."""

    def cell(index: int, content: object, name: str = "td", **attributes: str) -> Markup:
        return element(name, content, **attributes, **({"class_": "number"} if index in numeric else {}))

    head = [cell(index, content, "th", scope="col") for index, content in enumerate(header)]
    body = [
        element("tr", element("th", row[0], scope="row"), *(cell(index, row[index]) for index in range(1, len(row))))
        for row in rows
    ]
    whole = element("table", element("thead", element("tr", *head)), element("tbody", *body))
    return element("div", whole, class_="scroll")


def definitions(pairs: Iterable[tuple[object, object]]) -> Markup:
    """Return a list of terms and what is to be said of each."""
    rows = (element("div", element("dt", term), element("dd", meaning)) for term, meaning in pairs)
    return element("dl", *rows)


def section(title: str, *content: object) -> Markup:
    """Return a section of the page."""
    return element("section", element("h2", title), *content)
