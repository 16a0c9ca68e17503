"""What the layers did: ranges, noise, rejected passes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from labctl.contract.layer import RowStatus
from labctl.orchestrator.recovery import count_waits
from labctl.report.facts import RunFacts
from labctl.report.figures import BLUE, ORANGE, Line, band_chart, figure, line_chart
from labctl.report.layer_use import LayerUse, Noise
from labctl.report.markup import Markup, definitions, element, paragraph, section, table
from labctl.report.sections.wording import count, percent

STATUS_MEANINGS = {
    RowStatus.CLIPPED: "the drive or the readout reached full scale",
    RowStatus.XRUN: "samples were lost between computer and instrument",
    RowStatus.STALE: "the instrument answered with an older value",
    RowStatus.OVERLOAD: "an input of the instrument was overloaded",
    RowStatus.FAILED: "the instrument gave no usable answer",
}


def layers(facts: RunFacts) -> Markup:
    """Return the section on the physical layers."""
    title = "The layer" if len(facts.meta["blocks"]) == 1 else "The layers"
    blocks = [_block(facts, number, block) for number, block in enumerate(facts.meta["blocks"])]
    return section(title, *_unwell(facts), *blocks, element("h3", "Rejected passes"), _rejected(facts), _clipped(facts))


def _unwell(facts: RunFacts) -> list[Markup]:
    """Say what layers found not well with themselves, and what the run had to wait for."""
    found = {f"{each['layer']}, {each['subject']}: {each['text']}; {each['remedy']}": None for each in facts.unwell}
    waited = count_waits(facts.waits)
    lines = [f"Beware: {what}." for what in found]
    if waited:
        kinds = ", ".join(f"{kind} {number}" for kind, number in waited.items())
        lines.append(f"The run waited {count(waited.total(), 'time')} for its hardware: {kinds}.")
    return [paragraph(line) for line in lines]


def _block(facts: RunFacts, number: int, block: Mapping[str, Any]) -> Markup:
    title = element("h3", f"Block {number + 1}: {block['name']}")
    use = facts.layer_use.get(number)
    if use is None:
        return element("div", title, paragraph("No accepted pass of this block is recorded."))
    of_all = "all" if use.passes == facts.passes_by_block[number] else f"a sample of {use.passes:,}"
    return element(
        "div",
        title,
        definitions(_facts_of(block, use)),
        element("div", *_figures(number, block, use), class_="figures"),
        paragraph(f"From {of_all} of {facts.passes_by_block[number]:,} passes of this block.", class_="note"),
    )


def _facts_of(block: Mapping[str, Any], use: LayerUse) -> list[tuple[object, object]]:
    largest = block["outputs"][use.peak_channel]
    limit = float(largest["high"])
    of_limit = (
        f", {percent(use.peak / limit)} of what the readout can deliver" if np.isfinite(limit) and limit > 0 else ""
    )
    return [
        ("Drive", _channels(block["inputs"])),
        ("Response", _channels(block["outputs"])),
        (
            "Drive range",
            f"{percent(use.at_low)} of drive values lie at the lower end of their range, "
            f"{percent(use.at_high)} at the upper end",
        ),
        ("Largest response", f"{use.peak:.4g} {largest['unit']} on {largest['name']}{of_limit}"),
        ("Response noise", _noise(use.noise, block["outputs"][0]["unit"])),
    ]


def _channels(channels: Sequence[Mapping[str, Any]]) -> str:
    ends = f", {channels[0]['name']} to {channels[-1]['name']}" if len(channels) > 1 else f", {channels[0]['name']}"
    return f"{count(len(channels), 'channel')}{ends}"


def _noise(noise: Noise | None, unit: str) -> str:
    if noise is None:
        return "unknown: no two of the passes read here had the same drive"
    varied = noise.spread > 0
    share = percent(float(np.median(noise.noise[varied] / noise.spread[varied]))) if varied.any() else "none"
    return (
        f"{np.median(noise.noise):.3g} {unit} rms, {share} of the spread of responses (medians over channels); "
        f"from {count(noise.groups, 'drive')} sent {noise.passes:,} times in all, drift between them included"
    )


def _figures(number: int, block: Mapping[str, Any], use: LayerUse) -> list[Markup]:
    units = ", ".join(dict.fromkeys(str(channel["unit"]) for channel in block["outputs"]))
    what = "modulus of response" if use.is_modulus else "response"
    drives, responses, noise = (f"{name}-block-{number + 1}" for name in ("drives", "responses", "noise"))
    figures = [
        figure(
            drives,
            "Use of each drive channel's range.",
            band_chart(drives, use.drive_quantiles, y_label="share of range", scale="percent"),
        ),
        figure(
            responses,
            f"Range of each response channel ({units}).",
            band_chart(responses, use.response_quantiles, y_label=what),
        ),
    ]
    if use.noise is not None:
        channels = np.arange(1, len(use.noise.noise) + 1)
        lines = [Line("spread", channels, use.noise.spread, BLUE), Line("noise", channels, use.noise.noise, ORANGE)]
        caption = f"Spread of all responses and noise between equal drives, rms ({units})."
        figures.append(figure(noise, caption, line_chart(noise, lines, x_label="channel", y_label="rms")))
    return figures


def _rejected(facts: RunFacts) -> Markup:
    total = sum(facts.rejected.values())
    if total == 0:
        return paragraph(f"None of {count(facts.passes, 'pass', 'passes')} was rejected.")
    rows = [
        [status.name.lower(), STATUS_MEANINGS.get(status, ""), f"{number:,}", percent(number / facts.passes, 2)]
        for status, number in facts.rejected.items()
    ]
    rows.append(["together", "recorded, never learnt from", f"{total:,}", percent(total / facts.passes, 2)])
    return table(["status", "what it means", "passes", "of all"], rows, numeric=(2, 3))


def _clipped(facts: RunFacts) -> Markup:
    if facts.test is None:
        return paragraph("How many drive values encoders clipped is known after the test.", class_="note")
    if len(facts.sessions) > 1:
        scope = "drive values in the session that tested"
    else:
        sent = sum(n * len(facts.meta["blocks"][block]["inputs"]) for block, n in facts.passes_by_block.items())
        scope = f"of {sent:,} drive values sent ({percent(facts.test.clipped_values / max(sent, 1), 2)})"
    return paragraph(f"Encoders clipped {facts.test.clipped_values:,} {scope}.")
