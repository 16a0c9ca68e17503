"""The drift guard: which reference drives are measured when, and what is done about what they tell.

Everything it decides follows from the experiment and from recorded reference passes, so that a run that is resumed or
verified decides the same. Only whether a look is due is decided on the spot, and shows in the record by its passes.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labctl.config.unattended import Drift
from labctl.contract.layer import Drives, LayerInfo, ResponseValues, RowIds
from labctl.drift.baseline import Baseline
from labctl.drift.correction import Correction, single
from labctl.drift.verdict import Kind, Verdict, judge
from labctl.learning.requests import Purpose
from labctl.orchestrator.stopping import Stopped
from labctl.record.reader import LogReader

_log = logging.getLogger(__name__)

Note = Callable[[str, Mapping[str, Any]], None]
"""Keeps what happened: a kind of event and its details."""

LOOKS: tuple[Purpose, ...] = ("baseline", "reference")


class Remixed(Exception):  # noqa: N818 - a state of the medium, which training answers
    """A layer's medium has changed: what was measured before no longer holds, and is to be measured again."""


@dataclass(frozen=True)
class ReferenceDrives:
    """Drives (R, n_inputs) that are sent again and again, and the samples and labels (R,) they were made from."""

    samples: NDArray[np.int64]
    labels: NDArray[np.int64]
    drives: Drives

    def times(self, repeats: int) -> "ReferenceDrives":
        """Return all of them, `repeats` times over."""
        return ReferenceDrives(
            np.tile(self.samples, repeats), np.tile(self.labels, repeats), np.tile(self.drives, (repeats, 1))
        )


@dataclass
class _Watched:
    """What is known about the layer of one block."""

    references: ReferenceDrives | None = None
    baseline: Baseline | None = None
    corrections: list[tuple[int, Correction | None]] = field(default_factory=list[tuple[int, Correction | None]])
    rows_since: int = 0
    looked: bool = False
    valid_from: int = 0


class DriftGuard:
    """Watches the layers of a network; `infos` has one entry per block. `note` is told of each look at hardware."""

    def __init__(self, settings: Drift, infos: Sequence[LayerInfo], note: Note | None = None) -> None:
        self._settings = settings
        self._infos = infos
        self._note = note
        self._blocks = [_Watched() for _ in infos]

    @property
    def valid_from(self) -> int:
        """The first id whose response holds for the media as they are."""
        return max(watched.valid_from for watched in self._blocks)

    def remember(self, reader: LogReader, before_id: int) -> None:
        """Take over what recorded looks with ids below `before_id` tell."""
        for block, watched in enumerate(self._blocks):
            for look in recorded_looks(reader, block, before_id, self._settings):
                if look.first:
                    watched.references = look.references
                    self._begin(block, look.first_id, look.values)
                else:
                    self._judge(block, look.first_id, look.values)
            if watched.corrections:
                watched.rows_since = reader.count_rows(watched.corrections[-1][0], before_id - 1, block)

    def propose(self, block: int, samples: NDArray[np.int64], labels: NDArray[np.int64], drives: Drives) -> None:
        """Choose reference drives among the rows that are about to be sent, evenly, unless they are chosen."""
        watched = self._blocks[block]
        if watched.references is None:
            chosen = np.linspace(0, len(drives) - 1, self._settings.references).round().astype(np.int64)
            watched.references = ReferenceDrives(samples[chosen], labels[chosen], drives[chosen])

    def is_due(self, block: int) -> bool:
        """Return whether the layer should be looked at now."""
        watched = self._blocks[block]
        return watched.baseline is None or not watched.looked or watched.rows_since >= self._settings.every

    def look_at(self, block: int) -> tuple[Purpose, ReferenceDrives]:
        """Return what a look at the layer takes, and what for. Raises `ValueError` before drives were proposed."""
        watched = self._blocks[block]
        if watched.references is None:
            raise ValueError(f"there are no reference drives for block {block}")
        if watched.baseline is None:
            return "baseline", watched.references.times(self._settings.repeats)
        return "reference", watched.references

    def count(self, block: int, n_rows: int) -> None:
        """Count rows that were measured otherwise."""
        self._blocks[block].rows_since += n_rows

    def conclude(self, block: int, first_id: int, values: ResponseValues, *, live: bool, retrain: bool) -> None:
        """Draw the consequences of a look: `values` (n, n_outputs) of a round that began with id `first_id`.

        `live` when hardware was looked at just now, `retrain` when training can start over with another medium.
        Raises `Remixed` when it has to, and `Stopped` when a live look says that the run should pause.
        """
        watched = self._blocks[block]
        watched.looked = watched.looked or live
        if watched.baseline is None:
            self._begin(block, first_id, values)
            verdict, action = None, "none"
        else:
            verdict = self._judge(block, first_id, values)
            action = self._action(verdict, retrain=retrain)
        if live:
            self._tell(block, first_id, len(values), verdict, action)
            if action == "pause" and verdict is not None:
                raise Stopped(f"the reference passes of layer '{self._infos[block].name}' tell: {verdict.kind}")
        if action == "re-measure":
            watched.baseline = None
            raise Remixed

    def corrected(self, block: int, values: ResponseValues) -> ResponseValues:
        """Return responses (n, n_outputs) measured now as they would have been at the beginning."""
        corrections = self._blocks[block].corrections
        return _apply(corrections[-1][1] if corrections else None, values)

    def corrected_then(self, block: int, ids: RowIds, values: ResponseValues) -> ResponseValues:
        """Return recorded responses (n, n_outputs) of rows `ids` (n,) as they were corrected when they were used."""
        result = single(values)
        corrections = self._blocks[block].corrections
        ends = [first_id for first_id, _ in corrections[1:]] + [np.iinfo(np.int64).max]
        for (first_id, correction), end_id in zip(corrections, ends, strict=True):
            (rows,) = ((ids >= first_id) & (ids < end_id)).nonzero()
            result[rows] = _apply(correction, values[rows])
        return result

    def _begin(self, block: int, first_id: int, values: ResponseValues) -> None:
        """Hold what comes to these responses of a first look; what was measured before it is of another medium."""
        watched, settings = self._blocks[block], self._settings
        shape = (settings.repeats, settings.references, values.shape[1])
        watched.baseline = Baseline.of(values.reshape(shape), settings.tolerance)
        watched.valid_from = first_id if watched.corrections else 0
        watched.corrections.append((first_id, None))
        watched.rows_since = 0

    def _judge(self, block: int, first_id: int, values: ResponseValues) -> Verdict:
        """Correct what comes as these responses of a later look tell."""
        watched = self._blocks[block]
        if watched.baseline is None:
            raise ValueError(f"there is no first look at block {block}")
        verdict = judge(watched.baseline, values)
        watched.corrections.append((first_id, self._correction(verdict)))
        watched.rows_since = 0
        return verdict

    def _correction(self, verdict: Verdict) -> Correction | None:
        correction = verdict.correction
        if correction is None:
            return None
        dead = verdict.kinds == Kind.DEAD
        scale, shift = correction.scale.copy(), correction.shift.copy()
        if self._settings.on_drift != "correct":
            scale[~dead], shift[~dead] = 1.0, 0.0
        if self._settings.on_dead != "mask":
            scale[dead], shift[dead] = 1.0, 0.0
        return Correction(scale, shift)

    def _action(self, verdict: Verdict, *, retrain: bool) -> str:
        """Return what is done: as the experiment says, but where nothing is trained a new medium is only noted."""
        settings = self._settings
        if verdict.kind == Kind.STEADY:
            return "none"
        if verdict.kind == Kind.REMIXED:
            return "note" if settings.on_remixed == "re-measure" and not retrain else settings.on_remixed
        if verdict.kind == Kind.DEAD and settings.on_dead == "pause":
            return "pause"
        drifted = bool(verdict.channels(Kind.GAIN, Kind.OFFSET, Kind.BOTH))
        if drifted and settings.on_drift == "pause":
            return "pause"
        return settings.on_dead if verdict.kind == Kind.DEAD else settings.on_drift

    def _tell(self, block: int, first_id: int, n_passes: int, verdict: Verdict | None, action: str) -> None:
        info = self._infos[block]
        facts: dict[str, Any] = {"block": block, "layer": info.name, "first_id": first_id, "passes": n_passes}
        if verdict is None:
            facts |= {"verdict": "baseline", "action": "none"}
        else:
            facts |= {**verdict.summary([channel.name for channel in info.outputs]), "action": action}
        level = logging.INFO if facts["verdict"] in ("baseline", "steady") else logging.WARNING
        told = ", ".join(f"{key} {value}" for key, value in facts.items() if key not in ("block", "first_id", "layer"))
        _log.log(level, "references of %s: %s", info.name, told)
        if self._note is not None:
            self._note("drift", facts)


def _apply(correction: Correction | None, values: ResponseValues) -> ResponseValues:
    return single(values) if correction is None else correction.apply(values)


@dataclass(frozen=True)
class RecordedLook:
    """A complete look in the record: whether it is a first one, its first id, its drives and responses in order."""

    first: bool
    first_id: int
    references: ReferenceDrives
    values: ResponseValues


def recorded_looks(reader: LogReader, block: int, before_id: int, settings: Drift) -> list[RecordedLook]:
    """Return the looks at a block with ids below `before_id`, in order.

    One that was broken off and never completed, because an evaluation was stopped, is left out.
    """
    looks: list[RecordedLook] = []
    for purpose, size in (("baseline", settings.first_passes), ("reference", settings.references)):
        rows = reader.rows(0, before_id - 1, block=block, purpose=purpose)
        start = 0
        while start + size <= len(rows):
            part = slice(start, start + size)
            one = slice(start, start + settings.references)
            references = ReferenceDrives(rows.samples[one], rows.labels[one], rows.drives[one])
            whole = int(rows.ids[start + size - 1]) == int(rows.ids[start]) + size - 1 and np.array_equal(
                references.times(size // settings.references).drives, rows.drives[part]
            )
            known = not looks or np.array_equal(references.drives, looks[0].references.drives)
            if whole and known:
                looks.append(RecordedLook(purpose == "baseline", int(rows.ids[start]), references, rows.values[part]))
            start += size if whole and known else 1
    return sorted(looks, key=lambda look: look.first_id)
