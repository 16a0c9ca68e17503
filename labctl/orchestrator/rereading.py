"""Reads the raw signals of a run's passes out with other settings, in place of the responses that it recorded."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from labctl.config.errors import ConfigError, Position, Problem
from labctl.config.loading import LoadedExperiment, LoadedRig
from labctl.config.placing import errors_at
from labctl.contract.capabilities import RawSignals, Reread
from labctl.contract.disturbances import ChannelChange
from labctl.contract.errors import InputError, RecordError
from labctl.contract.layer import LayerInfo, PhysicalLayer, ResponseValues, RowStatus
from labctl.record.folder import LOG_NAME
from labctl.record.json_text import differences
from labctl.record.passes import REPEATS_PER_ID, RecordedPasses
from labctl.record.raw import RAW_NAME, raw_keys, read_raw
from labctl.rig.rig import build_rig

Address = tuple[str, str]
"""Role and name of a layer."""

AT_ONCE_BYTES = 64e6
"""Raw signals that are in memory at once, or a single one that is larger: a picture may take megabytes."""

THE_SAME_RIG = "a replay has the rig of the run that it replays; to change it, measure with `labctl run`"


@dataclass(frozen=True)
class Rereading:
    """A layer's raw signals, read out as `info` and `state_id` say; the settings in `changed` differ from the run's.

    One signal takes `signal_bytes`.
    """

    info: LayerInfo
    state_id: str
    changed: tuple[str, ...]
    path: Path
    reread: Reread
    signal_bytes: int

    def require_all(self, parts: Iterator[RecordedPasses]) -> Iterator[RecordedPasses]:
        """Yield passes on. Raises `RecordError` for those whose raw signals are not there."""
        there = raw_keys(self.path)
        n = missing = 0
        for part in parts:
            n += len(part)
            missing += int(np.count_nonzero(np.isin(_keys(part), there, invert=True)))
            yield part
        if missing:
            raise RecordError(
                f"{self.path} lacks the raw signals of {missing:,} of the {n:,} passes of layer '{self.info.name}': "
                "its room (record: raw) was used up, or they are of another run; without "
                f"{', '.join(self.changed)} they are not needed"
            )

    def answer(self, rows: RecordedPasses) -> ResponseValues:
        """Return the responses to recorded passes as they are read out now. Raises `InputError` for one that is bad."""
        keys, at_once = _keys(rows).tolist(), max(int(AT_ONCE_BYTES // self.signal_bytes), 1)
        parts = [
            self.reread(read_raw(self.path, keys[start : start + at_once]), rows.drives[start : start + at_once])
            for start in range(0, len(keys), at_once)
        ]
        values, status = (np.concatenate(each) for each in zip(*parts, strict=True))
        bad = (status != int(RowStatus.OK)).nonzero()[0]
        if bad.size:
            word = RowStatus(int(status[bad[0]])).name.lower()
            raise InputError(
                f"pass {rows.ids[bad[0]]} of {self.path.parent.name} was good as it was read out then, and is {word} "
                f"with {', '.join(self.changed)} as asked for: choose otherwise, or measure with `labctl run`"
            )
        return values


def check_overrides(overrides: Sequence[str]) -> None:
    """Raise `ConfigError` for an argument of `--set` that concerns more of a rig than how its layers read out."""
    for assignment in overrides:
        role_and_keys = assignment.partition("=")[0].split(".")
        of_rig = role_and_keys[0] in ("rig", "rigs")
        keys = role_and_keys[1:] if role_and_keys[0] == "rig" else role_and_keys[2:]
        if of_rig and (len(keys) < 3 or keys[0] != "layers"):
            raise ConfigError([Problem(Position(f"--set {assignment}"), THE_SAME_RIG)])


def rereadings(
    folder: Path, then: LoadedExperiment, loaded: LoadedExperiment, used: Mapping[Address, object]
) -> dict[Address, Rereading]:
    """Return how the layers in `used` are read out whose settings in `loaded` are not those of the run in `folder`.

    Touches no hardware. Raises `ConfigError` for a setting that decides what is sent, and for layers that have no raw
    signals; `InputError` and `RecordError` where those of the run cannot be used.
    """
    found: dict[Address, Rereading] = {}
    for role, rig in loaded.rigs.items():
        changed = _changed_layers(then.rigs[role], rig)
        if not changed:
            continue
        before, after = (build_rig(each).layers for each in (then.rigs[role], rig))
        for name in changed:
            if (role, name) not in used:
                raise rig.document.error(("layers", name), f"no block of {folder.name} was measured on layer '{name}'")
            with errors_at(rig.document, "layers", name, *changed[name][:1]):
                _require_as_measured(folder, then, before[name], after[name])
            with errors_at(rig.document, "layers", name):
                found[role, name] = _rereading(folder, before[name], after[name], changed[name])
    return found


def _rereading(folder: Path, before: PhysicalLayer, after: PhysicalLayer, changed: list[str]) -> Rereading:
    if not (isinstance(before, RawSignals) and isinstance(after, RawSignals)):
        raise InputError(f"layer '{after.info.name}' has no raw signals to be read out anew: {THE_SAME_RIG}")
    path = folder / RAW_NAME
    reread = after.rereading(before)
    if not path.is_file():
        raise RecordError(
            f"{folder.name} has no raw signals, out of which {', '.join(changed)} could be read anew: it kept none "
            "(record: raw), or they were given up (`runs prune`); measure with `labctl run`"
        )
    return Rereading(after.info, after.state_id, tuple(changed), path, reread, before.raw_dtype.itemsize)


def _require_as_measured(folder: Path, then: LoadedExperiment, before: PhysicalLayer, after: PhysicalLayer) -> None:
    """Raise `InputError` where responses are not what was read out of raw signals, but that and more."""
    if not isinstance(after, RawSignals):
        return
    name = before.info.name
    if then.experiment.drift is not None:
        what = "drift was corrected in responses as they were read out then"
    elif any(isinstance(each, ChannelChange) for each in then.experiment.disturbances):
        what = "responses were disturbed by arithmetic, of which raw signals know nothing"
    else:
        return
    raise InputError(f"layer '{name}' cannot be read out anew: in {folder.name}, {what}, see {LOG_NAME}")


def _changed_layers(then: LoadedRig, now: LoadedRig) -> dict[str, list[str]]:
    """Return the first keys of the settings that differ, by layer. Raises `ConfigError` for others of the rig."""
    changed: dict[str, list[str]] = {}
    for path in differences(then.document.data, now.document.data):
        section, _, rest = path.partition(".")
        name, _, key = rest.partition(".")
        if section != "layers" or not key:
            raise now.document.error((section,), THE_SAME_RIG)
        keys = changed.setdefault(name, [])
        keys += [key.partition(".")[0]] if key.partition(".")[0] not in keys else []
    return changed


def _keys(rows: RecordedPasses) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    return rows.ids * REPEATS_PER_ID + rows.repeats
