"""Small runs to report on, recorded as labctl records them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labctl.record.folder import LOG_NAME
from labctl.record.passes import PassRows
from labctl.record.provenance import collect
from labctl.record.reader import LogReader
from labctl.record.writer import PassLog
from labctl.report.page import write_page

N_IN, N_OUT = 4, 3
PASS_S = 0.5

Make = Callable[..., Any]


@pytest.fixture(scope="session")
def make_block() -> Make:
    """A block's layer as `LayerInfo` is kept in a run's meta."""

    def make(name: str = "cavity", **changes: Any) -> dict[str, Any]:
        block: dict[str, Any] = {
            "name": name,
            "inputs": [{"name": f"speaker {i}", "unit": "of full drive", "low": 0.0, "high": 1.0} for i in range(N_IN)],
            "outputs": [{"name": f"mic {i}", "unit": "FS", "low": -1.0, "high": 1.0} for i in range(N_OUT)],
            "nominal_pass_s": PASS_S,
            "resources": ["interface"],
            "simulated": True,
            "response_dtype": "float32",
        }
        return block | changes

    return make


@pytest.fixture(scope="session")
def make_meta(make_block: Make) -> Make:
    """What a run says about itself, in the form of the orchestrator."""

    def make(**changes: Any) -> dict[str, Any]:
        meta: dict[str, Any] = {
            "schema": "labctl/run/1",
            "created": "2026-11-22T03:40:12+01:00",
            "name": "insects",
            "experiment": {"text": "name: insects\n", "path": "e.yaml", "folder": "x", "overrides": []},
            "rigs": {"main": {"text": "name: box\n", "path": "r.yaml", "folder": "x"}},
            "resolved": {
                "description": "",
                "seed": 7,
                "data": {"source": "csv", "split_seed": 3},
                "training": {"rule": "phyll", "schedule": "joint", "epochs": 3},
            },
            "blocks": [make_block()],
            "simulated": True,
            "power_w": None,
            "data": {"fingerprint": "f00d" * 16, "train": 20, "test": 6, "class_names": ["ant", "bee", "cat"]},
            "provenance": collect(),
        }
        return meta | changes

    return make


@pytest.fixture(scope="session")
def make_passes() -> Make:
    """Passes with drives and responses that follow from their ids; no two drives are equal."""

    def make(first_id: int, n: int, **changes: Any) -> PassRows:
        ids = np.arange(first_id, first_id + n, dtype=np.int64)
        fields: dict[str, Any] = {
            "ids": ids,
            "repeat": 0,
            "step": 0,
            "block": 0,
            "purpose": "train",
            "samples": ids,
            "labels": ids % 3,
            "layer": "cavity",
            "state_id": "s0",
            "status": np.zeros(n, dtype=np.uint8),
            "time_s": 1.7e9 + PASS_S * ids,
            "drives": ((ids[:, None] * 37 + np.arange(N_IN)) % 100_003 / 100_003).astype(np.float32),
            "responses": (np.sin(ids[:, None] + np.arange(N_OUT)) / 2).astype(np.float32),
        }
        return PassRows(**(fields | changes))

    return make


@pytest.fixture(scope="session")
def make_epoch() -> Make:
    """The figures of an epoch as training notes them."""

    def make(epoch: int, n_blocks: int = 1, **changes: float) -> tuple[str, dict[str, Any]]:
        detail: dict[str, Any] = {"epoch": epoch}
        for block in range(1, n_blocks + 1):
            detail |= {
                f"block{block}.loss": 0.5 / epoch,
                f"block{block}.goodness_positive": 0.1 * epoch,
                f"block{block}.goodness_negative": -0.1 * epoch,
                f"block{block}.pairs_right": 1 - 0.2 / epoch,
            }
        return "epoch", detail | changes

    return make


@pytest.fixture(scope="session")
def tested() -> tuple[str, dict[str, Any]]:
    """A test of six samples: the fourth, a bee, is taken for a cat, the sixth, a cat, for a bee."""
    return "test", {
        "accuracy": 4 / 6,
        "low": 0.3,
        "high": 0.9032,
        "right": 4,
        "samples": 6,
        "confusion": [[2, 0, 0], [0, 1, 1], [0, 1, 1]],
        "scores": [[3, 1, 0], [2, 1, 0], [0, 4, 1], [1, 0, 5], [0, 1, 6], [0, 2, 1]],
        "labels": [0, 0, 1, 1, 2, 2],
        "values_clipped_by_encoders": 5,
    }


@dataclass
class Page(HTMLParser):
    """A parsed page: its text, tables (rows of cell texts), badges, and every tag with its attributes."""

    source: str
    text: str = ""
    tables: list[list[list[str]]] = field(default_factory=list[list[list[str]]])
    tags: list[tuple[str, Mapping[str, str | None]]] = field(default_factory=list[tuple[str, Mapping[str, str | None]]])

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._open: list[str] = []
        self.feed(self.source)
        self.close()
        assert not [tag for tag in self._open if tag != "meta"]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self._open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self._open:
            return
        self.text += data
        if "td" in self._open or "th" in self._open:
            self.tables[-1][-1][-1] += data

    def row(self, name: str) -> list[str]:
        """The cells after the first of the one table row that begins with `name`."""
        (found,) = [row for rows in self.tables for row in rows if row[0].startswith(name)]
        return found[1:]

    def named(self, tag: str) -> list[Mapping[str, str | None]]:
        """The attributes of every element `tag`."""
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="session")
def record(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Records a run: its passes in the first session, then the events (kind, detail) of each session."""

    def record_run(
        meta: Mapping[str, Any],
        passes: Iterable[PassRows],
        *sessions: Sequence[tuple[str, Any]],
        name: str = "2026-11-22T03-40-12-insects",
    ) -> Path:
        folder = tmp_path_factory.mktemp("runs") / name
        folder.mkdir()
        with PassLog.create(folder / LOG_NAME, meta) as log:
            for rows in passes:
                log.append(rows)
            for kind, detail in sessions[0]:
                log.append_event(kind, detail)
        for session in sessions[1:]:
            with PassLog.open_for_append(folder / LOG_NAME) as log:
                for kind, detail in session:
                    log.append_event(kind, detail)
        return folder

    return record_run


@pytest.fixture(scope="session")
def report() -> Callable[[Path], Page]:
    """Writes the report of a run folder and returns it parsed."""

    def write(folder: Path) -> Page:
        path = folder / "report.html"
        with LogReader(folder / LOG_NAME) as reader:
            write_page(reader, path)
        return Page(path.read_text(encoding="utf-8"))

    return write
