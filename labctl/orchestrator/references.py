"""The drift guard: which reference drives are measured when, and what is done about what they tell.

Everything it decides follows from the experiment and from recorded reference passes, so that a run that is resumed or
verified decides the same. Only whether a look is due is decided on the spot, and shows in the record by its passes.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labctl.config.unattended import Drift
from labctl.contract.layer import Drives, LayerInfo, ResponseValues, RowIds, RowStatus
from labctl.drift.baseline import Baseline, single
from labctl.drift.correction import Correction, InTurn
from labctl.drift.response_map import ResponseMap
from labctl.drift.verdict import Kind, Verdict, judge
from labctl.learning.requests import Purpose
from labctl.orchestrator.recorded_looks import recorded_looks, recorded_map
from labctl.orchestrator.stopping import Stopped
from labctl.orchestrator.stored_rows import SentDrives, StoredRows
from labctl.record.reader import LogReader
from labctl.record.writer import Note

_log = logging.getLogger(__name__)


LOOKS: tuple[Purpose, ...] = ("baseline", "reference", "map")

LEAST_EXPLAINED = 0.5
"""A map that brings back less of the responses' variance is not used: hardly anything of the old medium is left."""

OWN: tuple[Purpose, ...] = ("statistics", "train", "view", "twin")
"""What rows that may be measured again were first measured for."""


class Remixed(Exception):  # noqa: N818 - a state of the medium, which training answers
    """A layer's medium has changed: what was measured before no longer holds, and is to be measured again."""


@dataclass
class _Watched:
    """What is known about the layer of one block."""

    stored: StoredRows
    references: SentDrives | None = None
    baseline: Baseline | None = None
    map: ResponseMap | None = None
    corrections: list[tuple[int, InTurn]] = field(default_factory=list[tuple[int, InTurn]])
    rows_since: int = 0
    looked: bool = False
    is_to_be_mapped: bool = False
    valid_from: int = 0
    stored_until: int = 0

    @property
    def correction(self) -> InTurn:
        """What is done to responses measured now."""
        return self.corrections[-1][1] if self.corrections else InTurn()


class DriftGuard:
    """Watches the layers of a network; `infos` has one entry per block. `note` is told of each look at hardware."""

    def __init__(self, settings: Drift, infos: Sequence[LayerInfo], note: Note | None = None) -> None:
        self._settings = settings
        self._infos = infos
        self._note = note
        self._blocks = [_Watched(StoredRows(settings.map_rows)) for _ in infos]

    @property
    def valid_from(self) -> int:
        """The first id whose response holds for the media as they are."""
        return max(watched.valid_from for watched in self._blocks)

    def remember(self, reader: LogReader, before_id: int) -> None:
        """Take over what recorded looks with ids below `before_id` tell."""
        for block, watched in enumerate(self._blocks):
            for look in recorded_looks(reader, block, before_id, self._settings):
                self._store_recorded(block, reader, look.first_id)
                if look.purpose == "baseline":
                    watched.references = look.sent
                    self._begin(block, look.first_id, look.values)
                    continue
                verdict = self._judge(block, look.first_id, look.values)
                watched.is_to_be_mapped = self._maps(block, verdict)
                if watched.is_to_be_mapped:
                    self._map_as_recorded(block, reader, look.first_id, before_id)
            self._store_recorded(block, reader, before_id)
            if watched.corrections:
                watched.rows_since = reader.count_rows(watched.corrections[-1][0], before_id - 1, block)

    def propose(self, block: int, samples: NDArray[np.int64], labels: NDArray[np.int64], drives: Drives) -> None:
        """Choose reference drives among the rows that are about to be sent, evenly, unless they are chosen."""
        watched = self._blocks[block]
        if watched.references is None:
            chosen = np.linspace(0, len(drives) - 1, self._settings.references).round().astype(np.int64)
            watched.references = SentDrives(samples[chosen], labels[chosen], drives[chosen])

    def is_due(self, block: int) -> bool:
        """Return whether the layer should be looked at now."""
        watched = self._blocks[block]
        ignorant = watched.baseline is None or watched.is_to_be_mapped or not watched.looked
        return ignorant or watched.rows_since >= self._settings.every

    def look_at(self, block: int) -> tuple[Purpose, SentDrives]:
        """Return what a look at the layer takes, and what for. Raises `ValueError` before drives were proposed."""
        watched = self._blocks[block]
        if watched.references is None:
            raise ValueError(f"there are no reference drives for block {block}")
        if watched.is_to_be_mapped:
            return "map", watched.stored.chosen()[0]
        if watched.baseline is None:
            return "baseline", watched.references.times(self._settings.repeats)
        return "reference", watched.references

    def used(self, block: int, purpose: Purpose, sent: SentDrives, values: ResponseValues) -> ResponseValues:
        """Return responses (n, n_outputs) measured now as they would have been at the beginning.

        Their rows are counted, and kept when they may be needed for a map.
        """
        watched = self._blocks[block]
        watched.rows_since += len(sent)
        values = watched.correction.apply(values)
        if self._settings.on_remixed == "map" and purpose in OWN:
            watched.stored.add(sent, values)
        return values

    def conclude(self, block: int, first_id: int, values: ResponseValues, *, live: bool, retrain: bool) -> None:
        """Draw the consequences of a look: `values` (n, n_outputs) of a round that began with id `first_id`.

        `live` when hardware was looked at just now, `retrain` when training can start over with another medium.
        Raises `Remixed` when it has to, and `Stopped` when a live look says that the run should pause.
        """
        watched = self._blocks[block]
        watched.looked = watched.looked or live
        if watched.is_to_be_mapped:
            self._conclude_map(block, first_id, values, live=live)
            return
        if watched.baseline is None:
            self._begin(block, first_id, values)
            verdict, action = None, "none"
        else:
            verdict = self._judge(block, first_id, values)
            action = self._action(block, verdict, retrain=retrain)
        if live:
            self._tell(block, first_id, len(values), verdict, action)
            if action == "pause" and verdict is not None:
                raise Stopped(f"the reference passes of layer '{self._infos[block].name}' tell: {verdict.kind}")
        if action == "re-measure":
            watched.baseline = None
            raise Remixed
        watched.is_to_be_mapped = action == "map"

    def corrected_then(self, block: int, ids: RowIds, values: ResponseValues) -> ResponseValues:
        """Return recorded responses (n, n_outputs) of rows `ids` (n,) as they were corrected when they were used."""
        result = single(values)
        corrections = self._blocks[block].corrections
        ends = [first_id for first_id, _ in corrections[1:]] + [np.iinfo(np.int64).max]
        for (first_id, correction), end_id in zip(corrections, ends, strict=True):
            (rows,) = ((ids >= first_id) & (ids < end_id)).nonzero()
            result[rows] = correction.apply(values[rows])
        return result

    def _begin(self, block: int, first_id: int, values: ResponseValues) -> None:
        """Hold what comes to these responses of a first look; what was measured before it is of another medium."""
        watched, settings = self._blocks[block], self._settings
        shape = (settings.repeats, settings.references, values.shape[1])
        watched.baseline = Baseline.of(values.reshape(shape), settings.tolerance)
        if watched.map is None:
            watched.valid_from = first_id if watched.corrections else 0
        watched.corrections.append((first_id, InTurn(() if watched.map is None else (watched.map,))))
        watched.rows_since = 0

    def _judge(self, block: int, first_id: int, values: ResponseValues) -> Verdict:
        """Correct what comes as these responses of a later look tell."""
        watched = self._blocks[block]
        if watched.baseline is None:
            raise ValueError(f"there is no first look at block {block}")
        verdict = judge(watched.baseline, values)
        steps = self._correction(verdict), watched.map
        watched.corrections.append((first_id, InTurn(tuple(step for step in steps if step is not None))))
        watched.rows_since = 0
        return verdict

    def _conclude_map(self, block: int, first_id: int, values: ResponseValues, *, live: bool) -> None:
        """Map what comes by what stored rows, measured again, tell; the next look begins with the medium as it is."""
        found = self._map(block, first_id, values)
        used = found.explained >= LEAST_EXPLAINED
        if not live:
            return
        facts = {
            **self._facts(block, first_id, len(values)),
            "verdict": str(Kind.REMIXED),
            "action": "map" if used else "pause",
            "explained": round(found.explained, 4),
            "components": found.n_components,
        }
        self._log(logging.WARNING, facts)
        if not used:
            raise Stopped(
                f"layer '{self._infos[block].name}' is re-mixed, and a map from {len(values):,} stored rows brings "
                f"back only {100 * found.explained:.0f} % of its responses' variance"
            )

    def _map(self, block: int, first_id: int, values: ResponseValues) -> ResponseMap:
        watched = self._blocks[block]
        found = ResponseMap.fitted(values, watched.stored.chosen()[1])
        watched.is_to_be_mapped = False
        if found.explained >= LEAST_EXPLAINED:
            watched.map, watched.baseline = found, None
            watched.corrections.append((first_id, InTurn((found,))))
        return found

    def _maps(self, block: int, verdict: Verdict) -> bool:
        """Return whether a map answers a verdict: it takes rows that were measured before."""
        wanted = verdict.kind == Kind.REMIXED and self._settings.on_remixed == "map"
        return wanted and len(self._blocks[block].stored) > 0

    def _store_recorded(self, block: int, reader: LogReader, before_id: int) -> None:
        """Take over rows below `before_id` as they were used."""
        watched = self._blocks[block]
        if self._settings.on_remixed != "map":
            return
        for part in reader.passes(watched.stored_until, before_id - 1, block=block, status=RowStatus.OK):
            (rows,) = np.isin(part.purposes, OWN).nonzero()
            sent = SentDrives(part.samples[rows], part.labels[rows], part.drives[rows])
            watched.stored.add(sent, self.corrected_then(block, part.ids[rows], part.values[rows]))
        watched.stored_until = before_id

    def _map_as_recorded(self, block: int, reader: LogReader, after_id: int, before_id: int) -> None:
        """Map as the first complete look of a map after `after_id` tells, if there is one."""
        wanted, _ = self._blocks[block].stored.chosen()
        look = recorded_map(reader, block, wanted, after_id, before_id)
        if look is not None:
            self._map(block, look.first_id, look.values)

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

    def _action(self, block: int, verdict: Verdict, *, retrain: bool) -> str:
        """Return what is done: as the experiment says, but where nothing is trained a new medium is only noted.

        Before any row was measured that a map could be fitted to, the run pauses.
        """
        settings = self._settings
        if verdict.kind == Kind.STEADY:
            return "none"
        if verdict.kind == Kind.REMIXED:
            if settings.on_remixed == "map" and not self._maps(block, verdict):
                return "pause"
            return "note" if settings.on_remixed == "re-measure" and not retrain else settings.on_remixed
        if verdict.kind == Kind.DEAD and settings.on_dead == "pause":
            return "pause"
        drifted = bool(verdict.channels(Kind.GAIN, Kind.OFFSET, Kind.BOTH))
        if drifted and settings.on_drift == "pause":
            return "pause"
        return settings.on_dead if verdict.kind == Kind.DEAD else settings.on_drift

    def _tell(self, block: int, first_id: int, n_passes: int, verdict: Verdict | None, action: str) -> None:
        info = self._infos[block]
        facts = self._facts(block, first_id, n_passes)
        if verdict is None:
            facts |= {"verdict": "baseline", "action": "none"}
        else:
            facts |= {**verdict.summary([channel.name for channel in info.outputs]), "action": action}
        self._log(logging.INFO if facts["verdict"] in ("baseline", "steady") else logging.WARNING, facts)

    def _facts(self, block: int, first_id: int, n_passes: int) -> dict[str, Any]:
        return {"block": block, "layer": self._infos[block].name, "first_id": first_id, "passes": n_passes}

    def _log(self, level: int, facts: Mapping[str, Any]) -> None:
        told = ", ".join(f"{key} {value}" for key, value in facts.items() if key not in ("block", "first_id", "layer"))
        _log.log(level, "references of %s: %s", facts["layer"], told)
        if self._note is not None:
            self._note("drift", facts)
