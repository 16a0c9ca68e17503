"""The page of a comparison of learning rules: one self-contained HTML file."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from labctl.orchestrator.cells import Comparison
from labctl.record.folder import REPORT_NAME
from labctl.report.digital import MAC_J
from labctl.report.figures import Interval, Track, figure, interval_chart, price_chart
from labctl.report.markup import Markup, element, paragraph, section, table
from labctl.report.page import page_of
from labctl.report.paired import Difference
from labctl.report.rival_limits import limits
from labctl.report.rivals import Standing, Standings
from labctl.report.sections.wording import count, percent, percent_range, points

PRICES = {
    "training_passes": "training passes",
    "hardware_h": "hardware time, h",
    "macs": "multiply-accumulates",
}
"""Figures that accuracy is drawn against."""


def rivals_page(comparison: Comparison, standings: Standings, folder: Path) -> Markup:
    """Return the page; links to runs are relative to `folder`."""
    name = comparison.base.experiment.name
    sections = [
        _headline(comparison, standings),
        _table(standings),
        _against_prices(standings),
        _against_first(standings),
        _disturbed(standings),
        _refused(comparison.refused),
        section(
            "What this cannot conclude", element("ul", *(element("li", each) for each in limits(comparison, standings)))
        ),
        _runs(standings, folder),
    ]
    return page_of(f"rules compared: {name} · labctl", sections)


def as_data(comparison: Comparison, standings: Standings) -> dict[str, Any]:
    """Return the same as JSON values."""
    against = {id(each): found for each, found in standings.differences()}
    return {
        "experiment": comparison.base.experiment.name,
        "seeds": list(comparison.wanted.seeds),
        "varied": list(comparison.wanted.vary),
        "against": standings.all[0].kind.rule if standings.all else None,
        "refused": dict(comparison.refused),
        "rules": [_entry(each, against.get(id(each))) for each in standings.all],
        "disturbed": [
            {**after.kind._asdict(), "before": before.accuracy.mean, "after_minus_before": _with_interval(lost)}
            for before, after, lost in standings.disturbed()
        ],
        "cannot_conclude": limits(comparison, standings),
    }


def _entry(standing: Standing, against: Difference | None) -> dict[str, Any]:
    return {
        **standing.kind._asdict(),
        "accuracy": _with_interval(standing.accuracy),
        "minus_first": None if against is None else {**_with_interval(against), "verdict": against.verdict},
        **standing.figures,
        "runs": [
            {
                "run": str(result.folder),
                "seed": result.seed,
                "accuracy": result.conclusion.accuracy,
                "passes": dict(result.passes),
                "macs": dict(result.conclusion.macs),
                "baselines": dict(result.conclusion.baselines),
                **result.figures(),
            }
            for result in standing.results
        ],
    }


def _with_interval(found: Difference) -> dict[str, float]:
    return {"mean": found.mean, "low": found.low, "high": found.high}


def _headline(comparison: Comparison, standings: Standings) -> Markup:
    experiment = comparison.base.experiment
    results = [result for each in standings.all for result in each.results]
    simulated = bool(results) and all(result.conclusion.simulated for result in results)
    badge = ("simulated: no real hardware", "badge simulated") if simulated else ("real hardware", "badge real")
    varied = ", ".join(comparison.wanted.vary)
    return element(
        "header",
        element("p", "learning rules compared", class_="run"),
        element("h1", experiment.name),
        element("p", element("span", badge[0], class_=badge[1]), class_="badges") if results else "",
        paragraph(experiment.description) if experiment.description else "",
        paragraph(
            f"{count(len(comparison.rules), 'rule')} over {count(len(comparison.wanted.seeds), 'draw')} of {varied}; "
            f"{len(results)} of {count(len(comparison.cells), 'run')} finished."
        ),
    )


def _table(standings: Standings) -> Markup:
    against = {id(each): found for each, found in standings.differences()}
    rows = [[str(each.kind), *_cells(each, against.get(id(each)))] for each in standings.all]
    linear = [result.conclusion.baselines.get("linear") for each in standings.all for result in each.results]
    known = [share for share in linear if share is not None]
    beside = f"A linear model on the raw data: {percent(float(np.mean(known)))}." if known else ""
    header = [
        "rule", "seeds", "test accuracy (95 % interval)", "minus first rule, points", "training passes",
        "test passes", "hardware time, h", "MACs of training", "all MACs", "arithmetic, J", "rig, Wh",
    ]  # fmt: skip
    note = (
        "Intervals are Student's t over the seeds, differences paired seed by seed; of a single seed they are over "
        "test samples. Passes and hardware time are means over seeds. Multiply-accumulates (MACs) are those of matrix "
        f"products, {MAC_J * 1e12:g} pJ each for the arithmetic alone; those of mixing encoders are among all MACs."
    )
    return section(
        "Results",
        table(header, rows, numeric=range(1, len(header))),
        paragraph(beside) if beside else "",
        paragraph(note, class_="note"),
    )


def _cells(standing: Standing, against: Difference | None) -> list[str]:
    found, figures = standing.accuracy, standing.figures
    difference = ""
    if against is not None:
        difference = f"{points(against.mean)} ({points(against.low)} to {points(against.high)})"
    return [
        str(len(standing.results)),
        f"{percent(found.mean)} ({percent_range(found.low, found.high)})",
        difference,
        f"{figures['training_passes']:,.0f}",
        f"{figures['test_passes']:,.0f}",
        f"{figures['hardware_h']:.3g}",
        f"{figures['training_macs']:.3g}",
        f"{figures['macs']:.3g}",
        f"{figures['arithmetic_j']:.3g}",
        f"{figures['rig_j'] / 3600:.3g}" if "rig_j" in figures else "–",
    ]


def _against_prices(standings: Standings) -> Markup:
    if not standings.undisturbed:
        return section("Accuracy and its price", paragraph("No run is finished yet."))
    rules = dict.fromkeys(each.kind.rule for each in standings.undisturbed)
    drawn = [
        figure(
            name,
            f"Test accuracy against {label}, each with its 95 % interval; a line joins numbers of epochs.",
            price_chart(
                name, [_track(rule, name, standings) for rule in rules], x_label=label, y_label="test accuracy"
            ),
        )
        for name, label in PRICES.items()
    ]
    return section("Accuracy and its price", element("div", *drawn, class_="figures"))


def _track(rule: str, price: str, standings: Standings) -> Track:
    own = sorted(
        (each for each in standings.undisturbed if each.kind.rule == rule), key=lambda each: each.figures[price]
    )
    accuracy = [each.accuracy for each in own]
    columns = [[each.figures[price] for each in own], *zip(*((a.mean, a.low, a.high) for a in accuracy), strict=True)]
    x, y, low, high = (np.array(column, np.float64) for column in columns)
    return Track(rule, x, y, np.clip(low, 0, 1), np.clip(high, 0, 1))


def _against_first(standings: Standings) -> Markup:
    differences = [(each, found) for each, found in standings.differences() if each.kind.disturbance is None]
    if not differences:
        return Markup("")
    first = standings.all[0].kind.rule
    intervals = [Interval(str(each.kind), 100 * d.mean, 100 * d.low, 100 * d.high) for each, d in differences]
    label = f"accuracy minus that of {first}, points"
    caption = (
        f"Accuracy minus that of {first}, paired seed by seed, with 95 % intervals; right of zero the rule is better."
    )
    return section(
        f"Against {first}", figure("against-first", caption, interval_chart("against-first", intervals, x_label=label))
    )


def _disturbed(standings: Standings) -> Markup:
    rows = [
        [
            str(after.kind),
            percent(before.accuracy.mean),
            percent(after.accuracy.mean),
            f"{points(lost.mean)} ({points(lost.low)} to {points(lost.high)})",
        ]
        for before, after, lost in standings.disturbed()
    ]
    if not rows:
        return Markup("")
    header = ["rule and disturbance", "before", "after", "after minus before, points (95 % interval)"]
    return section("Before and after each disturbance", table(header, rows, numeric=(1, 2, 3)))


def _refused(refused: Mapping[str, str]) -> Markup:
    if not refused:
        return Markup("")
    return section("Rules that could not take part", table(["rule", "why"], list(refused.items())))


def _page_or_folder(run: Path) -> Path:
    page = run / REPORT_NAME
    return page if page.exists() else run


def _runs(standings: Standings, folder: Path) -> Markup:
    rows: list[Sequence[object]] = [
        [
            str(each.kind),
            str(result.seed),
            percent(result.conclusion.accuracy),
            element("a", result.folder.name, href=os.path.relpath(_page_or_folder(result.folder), folder)),
        ]
        for each in standings.all
        for result in each.results
    ]
    return section("Runs", table(["rule", "seed", "test accuracy", "run"], rows, numeric=(1, 2)))
