"""How the cost of a run is printed."""

from collections.abc import Mapping, Sequence

from labctl.monitor.progress import duration
from labctl.orchestrator.plan import Plan


def plans_as_text(
    plans: Sequence[Plan], chosen: str, refused: Mapping[str, str], raw_room_bytes: float | None = None
) -> str:
    """Return a table with a line per schedule, the chosen one marked, and why others are `refused` here.

    `raw_room_bytes` is the room for raw signals, if they are to be kept.
    """
    header = f"{'schedule':<12} {'training passes':>16} {'test passes':>12} {'hardware time':>14} {'disk':>10}"
    lines = [
        f"{plan.schedule + (' *' if plan.schedule == chosen else ''):<12} {plan.training_passes:>16,} "
        f"{plan.test_passes:>12,} {duration(plan.hardware_s):>14} {plan.disk_bytes / 1e6:>7,.1f} MB"
        for plan in plans
    ]
    references = [f"{plan.schedule} {plan.reference_passes:,}" for plan in plans if plan.reference_passes]
    watched = [f"besides these at most so many reference passes: {', '.join(references)}"] if references else []
    kept = [f"{plan.schedule} {plan.kept_bytes / 1e6:,.1f} MB" for plan in plans if plan.kept_bytes is not None]
    left = [f"of the disk `record: keep` leaves when the run is finished: {', '.join(kept)}"] if kept else []
    reasons = [f"not {schedule}: {reason}" for schedule, reason in refused.items()]
    raw = [_raw_as_text(plan, raw_room_bytes or 0.0) for plan in plans if plan.raw_bytes is not None]
    signals = [f"of the disk raw signals take: {', '.join(raw)}"] if raw else []
    return "\n".join([header, *lines, "* the schedule the experiment asks for", *reasons, *watched, *left, *signals])


def _raw_as_text(plan: Plan, room_bytes: float) -> str:
    """Say what the raw signals of all passes take, and whether there is room for them."""
    wanted_bytes = plan.raw_bytes or 0
    text = f"{plan.schedule} {wanted_bytes / 1e6:,.1f} MB"
    return text if wanted_bytes <= room_bytes else f"{text}, but record.raw has room for {room_bytes / 1e6:,.1f} MB"


def plans_as_json(plans: Sequence[Plan], chosen: str, refused: Mapping[str, str]) -> dict[str, object]:
    """Return the same as JSON values."""
    return {
        "chosen": chosen,
        "refused": dict(refused),
        "schedules": {
            plan.schedule: {
                "training_passes": plan.training_passes,
                "test_passes": plan.test_passes,
                "reference_passes": plan.reference_passes,
                "hardware_s": plan.hardware_s,
                "disk_bytes": plan.disk_bytes,
                "raw_bytes": plan.raw_bytes,
                "kept_bytes": plan.disk_bytes if plan.kept_bytes is None else plan.kept_bytes,
            }
            for plan in plans
        },
    }
