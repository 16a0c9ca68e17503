"""Finds in a record the looks at a layer that are complete: those of an evaluation may have been broken off."""

from dataclasses import dataclass

import numpy as np

from labctl.config.unattended import Drift
from labctl.contract.layer import ResponseValues, RowIds
from labctl.learning.requests import Purpose
from labctl.orchestrator.stored_rows import SentDrives
from labctl.record.reader import LogReader


@dataclass(frozen=True)
class RecordedLook:
    """A complete look in the record: what it was for, its first id, what was sent once, and responses in order."""

    purpose: Purpose
    first_id: int
    sent: SentDrives
    values: ResponseValues


def recorded_looks(reader: LogReader, block: int, before_id: int, settings: Drift) -> list[RecordedLook]:
    """Return the looks at reference drives of a block with ids below `before_id`, in order."""
    looks: list[RecordedLook] = []
    purposes: tuple[tuple[Purpose, int], ...] = ("baseline", settings.repeats), ("reference", 1)
    for purpose, repeats in purposes:
        rows = reader.rows(0, before_id - 1, block=block, purpose=purpose)
        sent = SentDrives(rows.samples, rows.labels, rows.drives)
        size, start = settings.references * repeats, 0
        while start + size <= len(rows):
            part = np.arange(start, start + size)
            once = sent.at(part[: settings.references])
            whole = _in_a_row(rows.ids[part]) and once.times(repeats).equal(sent.at(part))
            known = not looks or once.equal(looks[0].sent)
            if whole and known:
                looks.append(RecordedLook(purpose, int(rows.ids[start]), once, rows.values[part]))
            start += size if whole and known else 1
    return sorted(looks, key=lambda look: look.first_id)


def recorded_map(
    reader: LogReader, block: int, wanted: SentDrives, first_id: int, before_id: int
) -> RecordedLook | None:
    """Return the first look from `first_id` on that measured the stored rows `wanted` again, if there is one."""
    rows = reader.rows(first_id, before_id - 1, block=block, purpose="map")
    sent = SentDrives(rows.samples, rows.labels, rows.drives)
    for start in range(len(rows) - len(wanted) + 1):
        part = np.arange(start, start + len(wanted))
        if _in_a_row(rows.ids[part]) and sent.at(part).equal(wanted):
            return RecordedLook("map", int(rows.ids[start]), wanted, rows.values[part])
    return None


def _in_a_row(ids: RowIds) -> bool:
    return int(ids[-1]) == int(ids[0]) + len(ids) - 1
