"""The tables of docs/explanation/rules-compared.md, out of the rows of `benchmarks.compare` and its systems' names."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from benchmarks import harness


def markdown(systems: Mapping[str, str], rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the tables of `rows` by id: one for each of `systems` (titles by part), and one of what is left."""
    tables = [f"### {title}\n\n{table}" for part, title in systems.items() if (table := _table_of(part, rows))]
    return "\n\n".join([*tables, *_other_tables(systems, rows)])


def _table_of(part: str, rows: Mapping[str, Mapping[str, Any]]) -> str:
    prefix = f"{part}."
    rules = [
        name.removeprefix(prefix) for name, row in rows.items() if name.startswith(prefix) and row["unit"] == "share"
    ]
    if not rules:
        return ""
    first = rules[0]
    header = ["rule", "test accuracy, %", f"minus {first}, points", "training passes", "hardware time, h",
              "MACs of training", "arithmetic in all, J"]  # fmt: skip
    lines = [
        [
            f"`{rule}`",
            _cell(rows[prefix + rule], ".1f", 100),
            _cell(rows.get(f"{prefix}{rule}.minus_{first}"), "+.1f"),
            f"{rows[f'{prefix}{rule}.training_passes']['value']:,.0f}",
            f"{rows[f'{prefix}{rule}.hardware_h']['value']:.2g}",
            f"{rows[f'{prefix}{rule}.training_macs']['value']:.2g}",
            f"{rows[f'{prefix}{rule}.arithmetic_j']['value']:.2g}",
        ]
        for rule in rules
    ]
    seeds, linear = rows[prefix + first]["n"], rows[prefix + first]["baselines"].get("linear")
    beside = "" if linear is None else f" A linear model on the raw data: {100 * linear:.1f} %."
    return f"{_markdown_table(header, lines)}\n\nMeans over {seeds} seeds with 95 % intervals.{beside}"


def _other_tables(systems: Iterable[str], rows: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    named = {name: row for name, row in rows.items() if not any(name.startswith(f"{part}.") for part in systems)}
    if named:
        lines = [
            [
                f"`{name}`",
                _cell(row, *_FORMS.get(row["unit"], _PLAIN)),
                _unit(row["unit"]),
                _beside(row),
                _aim(row),
            ]
            for name, row in named.items()
        ]
        headings = ["row", "value", "in", "beside it", "to reach"]
        yield f"### Rows of their own\n\n{_markdown_table(headings, lines)}"


_FORMS: Mapping[str, tuple[str, float]] = {"share": (".1f", 100), "passes": (",.0f", 1)}
_PLAIN = ",.2f", 1.0
"""How numbers of a unit are written, and in how many parts of it."""


def _beside(row: Mapping[str, Any]) -> str:
    """Return what else is known of a row: hours of hardware, passes, and shares, in %."""
    return ", ".join(_known(name, value) for name, value in row["baselines"].items())


def _known(name: str, value: float) -> str:
    match name:
        case "hardware_h":
            return f"{value:.2g} h"
        case "training passes":
            return f"{value:,.0f} {name}"
        case _:
            return f"{name} {100 * value:.1f} %"


def _unit(unit: str) -> str:
    return "%" if unit == "share" else unit


def _aim(row: Mapping[str, Any]) -> str:
    if not row["aim"]:
        return ""
    aim, scale = harness.Aim(**row["aim"]), 100 if row["unit"] == "share" else 1
    return f"{aim.relation} {scale * aim.value:g}: {harness.in_words(aim)}"


def _cell(row: Mapping[str, Any] | None, form: str, scale: float = 1.0) -> str:
    if row is None:
        return ""
    value, low, high = (
        None if row[key] is None else format(scale * row[key], form) for key in ("value", "low", "high")
    )
    return f"{value}" if low is None or low == high else f"{value} ({low} to {high})"


def _markdown_table(headings: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [headings, ["---"] * len(headings), *lines])
