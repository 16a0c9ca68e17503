"""The headline: what the run is, what came of it, and when."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from labctl.report.facts import Result, RunFacts, Session
from labctl.report.markup import Markup, element, paragraph, together
from labctl.report.sections.wording import count, duration, percent, percent_range


def headline(facts: RunFacts) -> Markup:
    """Return the head of the page: result, or where an unfinished run stands and how to go on with it."""
    description = str(facts.meta["resolved"].get("description", ""))
    return element(
        "header",
        element("p", facts.folder_name, class_="run"),
        element("h1", str(facts.meta["name"])),
        element("p", hardware_badge(facts), class_="badges"),
        paragraph(description) if description else "",
        *(paragraph(_disturbance(each)) for each in facts.disturbances),
        _standing(facts) if facts.test is None else _result(facts.test, facts.replayed),
        _when(facts),
    )


def hardware_badge(facts: RunFacts) -> Markup:
    """Return the badge that says whether hardware was behind the run."""
    simulated = [bool(block["simulated"]) for block in facts.meta["blocks"]]
    if facts.replayed:
        kind = "simulated" if all(simulated) else "real" if not any(simulated) else "partly simulated"
        words = f"replayed from {facts.replayed['run']}: no pass was measured ({kind} hardware then)"
        return element("span", words, class_="badge simulated")
    if all(simulated):
        return element("span", "simulated: no real hardware", class_="badge simulated")
    if not any(simulated):
        return element("span", "real hardware", class_="badge real")
    which = ", ".join(str(number) for number, is_so in enumerate(simulated, start=1) if is_so)
    return element("span", f"partly simulated: block {which} without real hardware", class_="badge simulated")


def _disturbance(told: Mapping[str, Any]) -> str:
    blocks = ", ".join(str(block + 1) for block in told["blocks"])
    return f"Disturbed on purpose: {told['what']}, block {blocks}; {told['how']}, first in row {told['first_id']:,}."


def _result(test: Result, replayed: Mapping[str, Any] | None) -> Markup:
    how = "measured with fresh passes" if replayed is None else f"from passes that {replayed['run']} recorded"
    return together(
        [
            element("p", "test accuracy ", element("strong", percent(test.accuracy)), class_="result"),
            paragraph(
                f"95 % interval {percent_range(test.low, test.high)} (Wilson, over test samples): "
                f"{test.right:,} of {count(test.samples, 'sample')} right, {how}."
            ),
        ]
    )


def _standing(facts: RunFacts) -> Markup:
    done = int(facts.epochs[-1]) if len(facts.epochs) else 0
    epochs = int(facts.meta["resolved"]["training"].get("epochs", 1))
    training = "training is complete, the test is not" if done == epochs else f"{done} of {count(epochs, 'epoch')} done"
    return together(
        [
            element("p", element("strong", "not finished"), class_="result"),
            paragraph(
                f"{_ending(facts)} So far: {training}, {count(facts.passes, 'pass', 'passes')} recorded. "
                "No recorded pass will be measured again. Go on with"
            ),
            element("pre", element("code", f"labctl resume {facts.folder_name}"), class_="command"),
        ]
    )


def _ending(facts: RunFacts) -> str:
    if not facts.sessions:
        return "No process has written to this run yet."
    last = facts.sessions[-1]
    when = f"{facts.at(last.end_s):%Y-%m-%d %H:%M}"
    if last.ending == "failed":
        return f"The run failed at {when}: {last.reason.rstrip('.')}."
    if last.ending == "stopped":
        return f"The run was stopped at {when} ({last.reason})."
    if last.ending == "closed":
        return f"The run was closed at {when} before it was tested."
    return f"The run is being written, or its process was killed: it last noted something at {when}."


def _when(facts: RunFacts) -> Markup:
    began = facts.created
    ended = f" to {_after(began, facts.at(facts.test.time_s))}" if facts.test else ""
    in_sessions = f" in {count(len(facts.sessions), 'session')}" if len(facts.sessions) > 1 else ""
    clock = "hardware time, simulated" if facts.meta["simulated"] else "hardware time"
    return element(
        "p",
        f"{began:%Y-%m-%d %H:%M}{ended} ({began.tzname()}) · ran {duration(_wall_s(facts.sessions))}{in_sessions} · "
        f"{count(facts.passes, 'pass', 'passes')}, {duration(facts.hardware_s)} of {clock}",
        class_="when",
    )


def _after(began: datetime, ended: datetime) -> str:
    return f"{ended:%H:%M}" if ended.date() == began.date() else f"{ended:%Y-%m-%d %H:%M}"


def _wall_s(sessions: Sequence[Session]) -> float:
    return sum(session.end_s - session.begin_s for session in sessions)
