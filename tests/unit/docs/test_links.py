"""Links between the documents lead somewhere."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_relative_links_lead_to_files(document: Path) -> None:
    links: list[str] = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8"))
    relative = [link for link in links if not link.startswith(("http://", "https://"))]
    assert [link for link in relative if not (document.parent / link).exists()] == []


def test_the_readme_leads_to_every_document() -> None:
    reached = {ROOT / "README.md"}
    waiting = list(reached)
    while waiting:
        document = waiting.pop()
        for link in re.findall(r"\]\(([^)#\s]+\.md)(?:#[^)]*)?\)", document.read_text(encoding="utf-8")):
            target = (document.parent / link).resolve()
            if target.is_file() and target not in reached:
                reached.add(target)
                waiting.append(target)
    assert [str(document.relative_to(ROOT)) for document in DOCUMENTS if document not in reached] == []
