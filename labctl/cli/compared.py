"""How a comparison of learning rules is printed: its price beforehand, its result afterwards."""

from collections.abc import Iterator, Mapping
from typing import Any

from labctl.monitor.progress import duration
from labctl.orchestrator.cells import Cell, Comparison, Found, Kind
from labctl.orchestrator.plan import Plan


def budget(comparison: Comparison, found: Mapping[Cell, Found]) -> dict[str, Any]:
    """Return what is still to be measured, by kind of run, and in all; what was measured of a run counts as done."""
    kinds = [_budget_of(kind, plan, comparison, found) for kind, plan in comparison.plans.items()]
    totals = ("runs", "finished", "passes_left", "hardware_left_s", "disk_left_bytes")
    return {
        "rules": kinds,
        "total": {name: sum(kind[name] for kind in kinds) for name in totals},
        "refused": dict(comparison.refused),
    }


def _budget_of(kind: Kind, plan: Plan, comparison: Comparison, found: Mapping[Cell, Found]) -> dict[str, Any]:
    cells = [cell for cell in comparison.cells if cell.kind == kind]
    runs = [found[cell] for cell in cells if cell in found]
    finished = sum(run.finished for run in runs)
    begun = sum(min(run.passes, plan.passes) for run in runs if not run.finished)
    passes = (len(cells) - finished) * plan.passes - begun
    return {
        **kind._asdict(),
        "runs": len(cells),
        "finished": finished,
        "training_passes": plan.training_passes,
        "test_passes": plan.test_passes,
        "reference_passes": plan.reference_passes,
        "hardware_s": plan.hardware_s,
        "passes_left": passes,
        "hardware_left_s": plan.hardware_s * passes / max(plan.passes, 1),
        "disk_left_bytes": round(plan.disk_bytes * passes / max(plan.passes, 1)),
    }


def budget_as_text(planned: Mapping[str, Any]) -> str:
    """Return a table with a line per rule: the price of a run, how many there are, and what is left to do."""
    header = (
        f"{'rule':<32} {'training passes':>15} {'test passes':>11} {'time a run':>10} {'runs':>5} {'done':>5} "
        f"{'passes left':>12} {'time left':>10} {'disk':>10}"
    )
    lines = [
        f"{_name(each)} {each['training_passes']:>15,} {each['test_passes']:>11,} "
        f"{duration(each['hardware_s']):>10} {_left(each)}"
        for each in planned["rules"]
    ]
    total = f"{'together':<32} {'':>15} {'':>11} {'':>10} {_left(planned['total'])}"
    refused = [f"{rule} takes no part: {reason}" for rule, reason in planned["refused"].items()]
    return "\n".join([header, *lines, total, *refused])


def _left(figures: Mapping[str, Any]) -> str:
    return (
        f"{figures['runs']:>5} {figures['finished']:>5} {figures['passes_left']:>12,} "
        f"{duration(figures['hardware_left_s']):>10} {figures['disk_left_bytes'] / 1e6:>7,.1f} MB"
    )


def results_as_text(data: Mapping[str, Any]) -> Iterator[str]:
    """Yield a plain table of the results, then what they cannot show."""
    yield (
        f"{'rule':<32} {'seeds':>5} {'accuracy, %':>22} {'minus ' + data['against'] + ', points':>30} "
        f"{'training passes':>15} {'hardware h':>10} {'MACs':>9} {'arithmetic, J':>13}"
    )
    for each in data["rules"]:
        difference = "" if each["minus_first"] is None else _with_interval(each["minus_first"], "+.1f")
        yield (
            f"{_name(each)} {len(each['runs']):>5} "
            f"{_with_interval(each['accuracy'], '.1f'):>22} {difference:>30} {each['training_passes']:>15,.0f} "
            f"{each['hardware_h']:>10.3g} {each['macs']:>9.2g} {each['arithmetic_j']:>13.2g}"
        )
    yield from (f"{rule} took no part: {reason}" for rule, reason in data["refused"].items())
    yield "what this cannot conclude:"
    yield from (f"* {each}" for each in data["cannot_conclude"])


def _name(figures: Mapping[str, Any]) -> str:
    return f"{Kind(*(figures[name] for name in Kind._fields))!s:<32}"


def _with_interval(found: Mapping[str, Any], form: str) -> str:
    mean, low, high = (format(100 * found[name], form) for name in ("mean", "low", "high"))
    return f"{mean} ({low} to {high})"
