"""Pages that say what the code does are held against the code."""

import re
import runpy
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

import labctl.cli.main
from labctl.contract.layer import RowStatus

DOCS = Path(__file__).parents[3] / "docs"
REFERENCE = DOCS / "reference"


def test_generated_pages_are_up_to_date() -> None:
    pages: Mapping[Path, str] = runpy.run_path(str(DOCS / "generate_reference.py"))["pages"]()
    assert {file.name for file in pages} == {"experiment.md", "rig.md"}
    stale = [file.name for file, text in pages.items() if file.read_text(encoding="utf-8") != text]
    assert not stale, "run `python docs/generate_reference.py`"


def test_every_exit_code_is_explained_and_no_other() -> None:
    text = (REFERENCE / "exit-codes.md").read_text(encoding="utf-8")
    explained = {int(code) for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)}
    constants = dict(vars(labctl.cli.main))
    assert explained == {0} | {code for name, code in constants.items() if name.startswith("EXIT_")}


def test_every_column_of_the_pass_log_is_explained() -> None:
    text = (REFERENCE / "run-folder.md").read_text(encoding="utf-8")
    schema = files("labctl.record").joinpath("schema.sql").read_text(encoding="utf-8")
    tables = re.findall(r"CREATE TABLE (\w+) \((.*?)\n\)", schema, re.DOTALL)
    assert {name for name, _ in tables} == {"meta", "states", "passes", "steps", "events", "checkpoints"}
    for table, body in tables:
        section = text.partition(f"### {table}\n")[2].partition("\n### ")[0]
        columns: list[str] = re.findall(r"^    ([a-z_0-9]+) +(?:INTEGER|TEXT|REAL|BLOB)", body, re.MULTILINE)
        explained: list[str] = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
        assert explained == columns, table


def test_every_row_status_is_explained() -> None:
    text = (REFERENCE / "run-folder.md").read_text(encoding="utf-8")
    assert all(f"{status.value} {status.name.lower()}" in text for status in RowStatus)
