"""What was found out about a rig's instruments and layers, and how it is told to another process."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from labctl.contract.capabilities import Finding


@dataclass(frozen=True)
class Examined:
    """What was found out about one instrument or layer, and what failed, if anything did.

    `in_doubt` says that it failed after it had been opened, so that its link may work no longer.
    """

    kind: Literal["instrument", "layer"]
    name: str
    findings: tuple[Finding, ...]
    failure: Finding | None = None
    in_doubt: bool = False


def examined_as_json(examined: Examined) -> dict[str, Any]:
    """Return what was found out as JSON values."""
    return asdict(examined)


def examined_from_json(described: Mapping[str, Any]) -> Examined:
    """Return what `examined_as_json` described."""
    failure = described["failure"]
    return Examined(
        described["kind"],
        described["name"],
        findings_from_json(described["findings"]),
        None if failure is None else Finding(**failure),
        described["in_doubt"],
    )


def findings_as_json(findings: Iterable[Finding]) -> list[dict[str, str]]:
    """Return findings as JSON values."""
    return [asdict(finding) for finding in findings]


def findings_from_json(described: Iterable[Mapping[str, str]]) -> tuple[Finding, ...]:
    """Return the findings that `findings_as_json` described."""
    return tuple(Finding(**finding) for finding in described)
