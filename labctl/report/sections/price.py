"""The price: passes, hardware time, energy."""

from collections.abc import Mapping

from labctl.report.digital import MAC_J, arithmetic_j
from labctl.report.facts import RunFacts
from labctl.report.markup import Markup, definitions, paragraph, section, table
from labctl.report.sections.wording import duration, percent

PURPOSES = {
    "statistics": "to fix encoders and standardisation",
    "train": "to learn from",
    "view": "to learn from: second views of samples",
    "twin": "to fit digital models of the layers",
    "test": "to test on samples never learnt from",
    "evaluate": "to test again later",
    "predict": "to classify new samples",
    "baseline": "to know the layer itself",
    "reference": "to watch the layer itself",
}


def price(facts: RunFacts) -> Markup:
    """Return the section on what the run cost."""
    return section(
        "The price",
        definitions(_totals(facts)),
        _by_purpose(facts),
        _by_block(facts),
        paragraph(
            "Hardware time is the number of passes, rejected ones included, times the layer's time for one, and the "
            "time in which instruments change over between layers that share them. Multiply-accumulates are those of "
            "matrix products; the energy stated for each is that of the arithmetic alone (32 bits, 45 nm; Horowitz, "
            "ISSCC 2014), of which a computer takes many times as much.",
            class_="note",
        ),
    )


def _totals(facts: RunFacts) -> list[tuple[object, object]]:
    totals: list[tuple[object, object]] = [
        ("Passes", f"{facts.passes:,}"),
        ("Hardware time", duration(facts.hardware_s)),
        ("Energy of the rig", _energy(facts)),
        *_digital(facts.macs),
    ]
    if facts.switching_s:
        totals.insert(2, ("of it, changing operating points", duration(facts.switching_s)))
    tested = facts.passes_by_purpose.get("test", 0)
    if facts.test is not None and facts.passes:
        per_sample = tested / facts.test.samples
        seconds = per_sample * facts.hardware_s / facts.passes
        totals.append(("One prediction", f"{per_sample:.3g} passes, {duration(seconds)}"))
    return totals


def _energy(facts: RunFacts) -> str:
    power_w = facts.meta["power_w"]
    if power_w is None:
        return "not stated in the rig file"
    watt_hours = facts.hardware_s / 3600 * float(power_w)
    return f"{watt_hours:.3g} Wh, {duration(facts.hardware_s)} at {float(power_w):g} W"


def _digital(macs: Mapping[str, int] | None) -> list[tuple[object, object]]:
    """Return digital work and the energy of its arithmetic."""
    if macs is None:
        return [("Digital work", "known once the run has been tested")]
    kinds = ", ".join(f"{name} {n:,}" for name, n in macs.items())
    joules = arithmetic_j(macs)
    return [
        ("Digital work", f"{sum(macs.values()):,} multiply-accumulates: {kinds}"),
        ("Energy of that arithmetic", f"{joules / 3600:.3g} Wh, {joules:.3g} J at {MAC_J * 1e12:g} pJ each"),
    ]


def _by_purpose(facts: RunFacts) -> Markup:
    rows = [
        [purpose, PURPOSES.get(purpose, ""), f"{n:,}", percent(n / facts.passes)]
        for purpose, n in sorted(facts.passes_by_purpose.items(), key=lambda item: -item[1])
    ]
    return table(["purpose", "what for", "passes", "of all"], rows, numeric=(2, 3))


def _by_block(facts: RunFacts) -> Markup:
    rows: list[list[object]] = []
    for block, n in facts.passes_by_block.items():
        layer = facts.meta["blocks"][block]
        pass_s = float(layer["nominal_pass_s"])
        rates = [f"{len(layer[side]) / pass_s:,.4g}" if pass_s else "–" for side in ("inputs", "outputs")]
        time_s = duration(facts.hardware_s_of(block))
        rows.append([f"{block + 1}: {layer['name']}", f"{n:,}", duration(pass_s), time_s, *rates])
    header = ["block", "passes", "one pass", "hardware time", "values sent per second", "values read per second"]
    return table(header, rows, numeric=(1, 2, 3, 4, 5))
