"""The result against baselines, on the same test samples."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from labctl.report.facts import Result, RunFacts
from labctl.report.figures import Interval, figure, interval_chart
from labctl.report.markup import Markup, element, paragraph, section, table, together
from labctl.report.paired import Difference, paired_difference
from labctl.report.sections.wording import percent, points

MEANINGS = {
    "linear": "logistic regression on the raw features",
    "untrained": "the same readout of the same responses, the weights left as drawn",
    "skip-only": "the same rule and settings, the physics replaced by nothing",
    "linear-map": "the physics replaced by the affine map of drives that fits its responses best",
    "linear-map-modulus": "that map's modulus",
    "shuffled": "control: every sample given another's responses, no skip; must score chance",
}
CONTROL = "shuffled"

Right = Mapping[str, NDArray[np.bool_]]


def comparison(facts: RunFacts, test: Result) -> Markup:
    """Return the section that holds the result against the baselines the run has recorded."""
    if not facts.baselines:
        return section("Against baselines", paragraph("No baselines are recorded for this run."))
    differences = {name: paired_difference(test.correct, right) for name, right in facts.baselines.items()}
    rivals = {name: difference for name, difference in differences.items() if name != CONTROL}
    return section(
        "Against baselines",
        paragraph(_verdict(facts.baselines, rivals)) if rivals else "",
        _table(test, facts.baselines, differences),
        paragraph(_control_verdict(test, facts.baselines[CONTROL])) if CONTROL in facts.baselines else "",
        _figure(rivals) if rivals else "",
        paragraph(
            "Differences are paired: result minus baseline, sample by sample on the same test samples. "
            "The 95 % interval is the normal interval of their mean, ±1.96 standard errors. "
            "It covers the choice of test samples, not that of seeds or of the training samples.",
            class_="note",
        ),
    )


def _verdict(baselines: Right, rivals: Mapping[str, Difference]) -> str:
    strongest = max(rivals, key=lambda name: baselines[name].mean())
    difference = rivals[strongest]
    found = {
        "better": "the run is better",
        "worse": "the run is worse",
        "no clear difference": "there is no clear difference",
    }[difference.verdict]
    return (
        f"Against the strongest baseline, {strongest} ({percent(float(baselines[strongest].mean()))}), {found}: "
        f"{points(difference.mean)} points, 95 % interval {points(difference.low)} to {points(difference.high)}."
    )


def _control_verdict(test: Result, right: NDArray[np.bool_]) -> str:
    """Say whether the control is above what is possible without information: naming the commonest class."""
    n_classes = test.scores.shape[1]
    chance = max(1 / n_classes, float(np.bincount(test.labels).max()) / test.samples)
    scored = paired_difference(right, np.zeros(test.samples, np.bool_))
    if scored.low > chance:
        return (
            f"The control {CONTROL} scores {percent(scored.mean)}, above the {percent(chance)} that naming the "
            "commonest class would: something besides the responses tells the classes apart. Do not trust the result."
        )
    return f"The control {CONTROL} scores {percent(scored.mean)}: no more than chance ({percent(chance)}) explains."


def _table(test: Result, baselines: Right, differences: Mapping[str, Difference]) -> Markup:
    rows: list[list[object]] = [[element("strong", "this run"), percent(test.accuracy), "", ""]]
    for name, right in baselines.items():
        difference = differences[name]
        what = together([name, element("small", MEANINGS.get(name, ""))])
        interval = f"{points(difference.mean)} ({points(difference.low)} to {points(difference.high)})"
        verdict = "control" if name == CONTROL else difference.verdict
        rows.append([what, percent(float(right.mean())), interval, verdict])
    return table(["", "accuracy", "run minus baseline, points (95 % interval)", "the run is"], rows, numeric=(1, 2))


def _figure(rivals: Mapping[str, Difference]) -> Markup:
    intervals = [Interval(name, 100 * d.mean, 100 * d.low, 100 * d.high) for name, d in rivals.items()]
    caption = "Accuracy of the run minus that of each baseline with 95 % intervals; right of zero the run is better."
    return figure("baselines", caption, interval_chart("baselines", intervals, x_label="run minus baseline, points"))
