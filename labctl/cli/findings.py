"""How findings are shown to people."""

from labctl.contract.capabilities import Finding


def as_text(mark: str, finding: Finding) -> str:
    """Return a finding as a line behind `mark`, and its remedy, if it has one, on a second."""
    line = f"{mark} {finding.subject}: {finding.text}"
    return f"{line}\n    -> {finding.remedy}" if finding.remedy else line
