"""The table of what a run would cost."""

import pytest

from labctl.cli.dryrun import plans_as_json, plans_as_text
from labctl.orchestrator.plan import Plan

PLANS = [Plan("joint", 172_800, 3_590, 88_195.0, 123_456_789), Plan("cached", 14_380, 3_590, 8_985.0, 9_000_000)]


def test_one_line_per_schedule_and_the_chosen_one_marked() -> None:
    header, joint, cached, legend = plans_as_text(PLANS, "cached", {}).splitlines()
    assert header.split() == ["schedule", "training", "passes", "test", "passes", "hardware", "time", "disk"]
    assert joint.split() == ["joint", "172,800", "3,590", "24.5", "h", "123.5", "MB"]
    assert cached.split() == ["cached", "*", "14,380", "3,590", "2.5", "h", "9.0", "MB"]
    assert len(header) == len(joint) == len(cached)
    assert legend.startswith("* ")


def test_a_schedule_that_is_refused_says_why() -> None:
    assert plans_as_text(PLANS, "cached", {"pipelined": "because"}).splitlines()[-1] == "not pipelined: because"


@pytest.mark.parametrize("plan", PLANS)
def test_programs_get_the_same_numbers(plan: Plan) -> None:
    document = plans_as_json(PLANS, "joint", {"pipelined": "why"})
    assert document["chosen"] == "joint"
    assert document["refused"] == {"pipelined": "why"}
    schedules = document["schedules"]
    assert isinstance(schedules, dict)
    assert schedules[plan.schedule] == {
        "training_passes": plan.training_passes,
        "test_passes": plan.test_passes,
        "hardware_s": plan.hardware_s,
        "disk_bytes": plan.disk_bytes,
        "raw_bytes": None,
        "kept_bytes": plan.disk_bytes,
        "reference_passes": plan.reference_passes,
    }
