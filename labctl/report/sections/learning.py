"""Learning curves: loss, goodness and what was right, epoch by epoch."""

import numpy as np

from labctl.report.facts import RunFacts
from labctl.report.figures import BLUE, COLOURS, INK, ORANGE, Line, Scale, figure, line_chart
from labctl.report.markup import Markup, element, paragraph, section
from labctl.report.sections.wording import percent

LOG_FROM = 10.0
"""Ratio of largest to smallest loss from which the axis is logarithmic."""


def learning(facts: RunFacts) -> Markup:
    """Return the section of learning curves."""
    drawn = [_loss(facts), *_goodness(facts), _right(facts)]
    figures = [drawing for drawing in drawn if drawing]
    if not figures:
        why = "No epoch is complete yet." if not len(facts.epochs) else "This learning rule has no learning curve."
        return section("Learning", paragraph(why))
    return section("Learning", paragraph(_last(facts)), element("div", *figures, class_="figures"))


def _lines(facts: RunFacts, quantity: str) -> list[Line]:
    """Return the curve of one quantity for each block."""
    return [
        Line(f"block {block + 1}", facts.epochs, facts.curves[name], COLOURS[block % len(COLOURS)])
        for block in range(len(facts.meta["blocks"]))
        if (name := f"block{block + 1}.{quantity}") in facts.curves
    ]


def _loss(facts: RunFacts) -> Markup | None:
    lines = _lines(facts, "loss")
    if not lines:
        return None
    values = np.concatenate([line.y for line in lines])
    scale: Scale = "log" if 0 < LOG_FROM * values.min() < values.max() else "linear"
    drawing = line_chart("loss", lines, x_label="epoch", y_label="loss", scale=scale)
    return figure("loss", "Local loss of each block, mean over the batches of an epoch.", drawing)


def _goodness(facts: RunFacts) -> list[Markup]:
    pairs = zip(_lines(facts, "goodness_positive"), _lines(facts, "goodness_negative"), strict=True)
    figures: list[Markup] = []
    for positive, negative in pairs:
        lines = [Line("positive", positive.x, positive.y, BLUE), Line("negative", negative.x, negative.y, ORANGE)]
        name = f"goodness-{positive.label.replace(' ', '-')}"
        drawing = line_chart(name, lines, x_label="epoch", y_label="goodness")
        caption = f"Mean goodness of positive and negative passes, {positive.label}. Learning drives them apart."
        figures.append(figure(name, caption, drawing))
    return figures


def _right(facts: RunFacts) -> Markup | None:
    lines = [
        Line(f"pairs, {line.label}" if len(facts.meta["blocks"]) > 1 else "pairs right", line.x, line.y, line.colour)
        for line in _lines(facts, "pairs_right")
    ]
    if "train_accuracy" in facts.curves:
        lines.append(Line("training accuracy", facts.epochs, facts.curves["train_accuracy"], INK))
    if not lines:
        return None
    drawing = line_chart("right", lines, x_label="epoch", y_label="right", scale="percent")
    return figure(
        "right", "Pairs in which the positive pass has the greater goodness; training samples right.", drawing
    )


def _last(facts: RunFacts) -> str:
    """Return the figures of the last epoch as a sentence."""
    parts = [f"{line.label} loss {line.y[-1]:.3g}" for line in _lines(facts, "loss")]
    parts += [f"{line.label} pairs right {percent(line.y[-1])}" for line in _lines(facts, "pairs_right")]
    if "train_accuracy" in facts.curves:
        parts.append(f"training accuracy {percent(facts.curves['train_accuracy'][-1])}")
    return f"After epoch {facts.epochs[-1]}: {', '.join(parts)}."
