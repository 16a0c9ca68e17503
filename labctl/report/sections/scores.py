"""How the test samples scored, and which classes were taken for which."""

from collections.abc import Sequence

import numpy as np

from labctl.report.facts import Result, RunFacts
from labctl.report.figures import BLUE, ORANGE, figure, histogram
from labctl.report.markup import Markup, element, paragraph, section, table
from labctl.report.sections.wording import count, percent

MAX_CLASSES_IN_MATRIX = 20
MISTAKES_LISTED = 15


def scores(facts: RunFacts, test: Result) -> Markup:
    """Return the section on the scores of true and wrong labels."""
    word = "goodness" if facts.meta["resolved"]["training"]["rule"] == "phyll" else "score"
    margins = test.true_scores - test.best_wrong_scores
    both = [("true label", test.true_scores, BLUE), ("best wrong label", test.best_wrong_scores, ORANGE)]
    summed = ", summed over blocks" if word == "goodness" and len(facts.meta["blocks"]) > 1 else ""
    return section(
        "Scores on test samples",
        element(
            "div",
            figure(
                "scores",
                f"The {word} of the true label{summed}, and of the wrong label that scored highest.",
                histogram("scores", both, x_label=word, mark=None),
            ),
            figure(
                "margins",
                f"True minus best wrong label: {test.right:,} of {count(test.samples, 'sample')} lie right of zero "
                f"and are classified correctly. Median margin {np.median(margins):.3g}.",
                histogram("margins", [("margin", margins, BLUE)], x_label=f"{word} margin", mark=0.0),
            ),
            class_="figures",
        ),
    )


def confusion(facts: RunFacts, test: Result) -> Markup:
    """Return the confusion matrix; for many classes the commonest mistakes."""
    names = [str(name) for name in facts.meta["data"]["class_names"]]
    if len(names) <= MAX_CLASSES_IN_MATRIX:
        return section("Confusion", _commonest(test, names), _matrix(test, names), _legend())
    return section("Confusion", _mistakes(test, names))


def _matrix(test: Result, names: Sequence[str]) -> Markup:
    totals = np.maximum(test.confusion.sum(axis=1), 1)
    head = element(
        "tr",
        element("th", "true \\ predicted", scope="col"),
        *(element("th", n, scope="col") for n in [*names, "recognised"]),
    )
    rows: list[Markup] = []
    for true, name in enumerate(names):
        cells = (
            _cell(int(number), float(number / totals[true]), is_right=true == predicted)
            for predicted, number in enumerate(test.confusion[true])
        )
        recall = element("td", percent(float(test.confusion[true, true] / totals[true])), class_="recall")
        rows.append(element("tr", element("th", name, scope="row"), *cells, recall))
    whole = element("table", element("thead", head), element("tbody", *rows), class_="matrix")
    return element("div", whole, class_="scroll")


def _cell(number: int, share: float, *, is_right: bool) -> Markup:
    """Return a cell tinted by its share of the true class."""
    if number == 0:
        return element("td", "·", class_="none")
    colour = "0 114 178" if is_right else "213 94 0"
    tint = 0.08 + 0.5 * share if is_right else 0.15 + 0.6 * share
    return element("td", number, style=f"background: rgb({colour} / {tint:.2f})")


def _legend() -> Markup:
    return paragraph("Rows: true class; columns: predicted class.", class_="note")


def _mistakes(test: Result, names: Sequence[str]) -> Markup:
    rows = [[names[true], names[taken], f"{n:,}"] for true, taken, n in _ranked_mistakes(test)[:MISTAKES_LISTED]]
    if not rows:
        return paragraph("No test sample was taken for another class.")
    return table(["true class", "taken for", "samples"], rows, numeric=(2,))


def _commonest(test: Result, names: Sequence[str]) -> Markup:
    mistakes = _ranked_mistakes(test)
    if not mistakes:
        return paragraph("No test sample was taken for another class.")
    true, taken, n = mistakes[0]
    of_class = count(int(test.confusion[true].sum()), "sample")
    return paragraph(f"Commonest mistake: {names[true]} taken for {names[taken]}, {n:,} of {of_class}.")


def _ranked_mistakes(test: Result) -> list[tuple[int, int, int]]:
    """Return (true class, predicted class, samples) of all mistakes, the commonest first."""
    wrong = test.confusion.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[: np.count_nonzero(wrong)]
    pairs = (divmod(int(index), len(wrong)) for index in order)
    return [(true, taken, int(wrong[true, taken])) for true, taken in pairs]
