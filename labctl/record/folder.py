"""Run folders: one per run, named by local start time and experiment.

2026-11-22T03-40-12-digits-acoustic/
    run.sqlite        the pass log
    experiment.yaml   and the rig files, as they were at the start
    run.log  report.html  model/
"""

import difflib
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from pathlib import Path

from labctl.config.experiment import Keep
from labctl.contract.errors import InputError, LabctlError
from labctl.record.reader import LogReader

LOG_NAME = "run.sqlite"
MODEL_NAME = "model"
REPORT_NAME = "report.html"

_EXPERIMENT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_RUN_NAME = re.compile(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d-.+")
_TIME_LENGTH = len("2026-11-22T03-40-12")


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What a list of runs shows. Times in POSIX seconds; `closed` is false while a run is written or was killed.

    `replayed` says whether a run's record answered in place of hardware, `kept` what is left of the run. `problem` says
    why a folder cannot be read; the other fields then mean nothing.
    """

    folder: Path
    n_passes: int = 0
    n_rejected: int = 0
    step: int | None = None
    epoch: int | None = None
    first_pass_s: float | None = None
    last_pass_s: float | None = None
    closed: bool = False
    replayed: bool = False
    kept: Keep = "everything"
    problem: str | None = None


def create_run_folder(root: Path, name: str, now: datetime, fill: Callable[[Path], None]) -> Path:
    """Create the folder of a run that starts at `now` (local time), with what `fill` puts there, and return it.

    The folder appears complete or not at all; of two runs in one second the later gets `-2`. Raises `InputError` when
    `name` does not suit a folder or `root` cannot be written, and whatever `fill` raises.
    """
    if not _EXPERIMENT_NAME.fullmatch(name):
        raise InputError(f"'{name}' cannot name a run: use letters, digits, '.', '_' and '-'")
    run_name = f"{now:%Y-%m-%dT%H-%M-%S}-{name}"
    building = root / f".{run_name}.{os.getpid()}"
    try:
        (building / MODEL_NAME).mkdir(parents=True)
        fill(building)
        return _rename_to_free(building, run_name)
    except BaseException as error:
        shutil.rmtree(building, ignore_errors=True)
        if isinstance(error, OSError):
            raise InputError(f"a run cannot be kept in {root}: {error}") from error
        raise


def find_run(root: Path, text: str) -> Path:
    """Return the run folder that `text` names: a path, a folder name in `root`, its unique start or end, or `latest`.

    Raises `InputError` listing what it might have meant.
    """
    named = Path(text)
    if named.name == LOG_NAME and named.is_file():
        return named.parent
    if (named / LOG_NAME).is_file() and text:
        return named
    names = _run_names(root)
    if not names:
        raise InputError(f"there are no runs in {root}")
    if text == "latest":
        return root / names[-1]
    matches = [name for name in names if name == text] or _matches(names, text)
    if len(matches) == 1:
        return root / matches[0]
    if matches:
        raise InputError(f"'{text}' names several runs in {root}: {', '.join(matches)}")
    raise InputError(f"no run in {root} is named '{text}'; close to it: {', '.join(_close_to(names, text))}")


def list_runs(root: Path) -> list[RunSummary]:
    """Return a summary of every run folder in `root`, oldest first; damaged ones are reported, never raised."""
    return [summarise_run(root / name) for name in _run_names(root)]


def summarise_run(folder: Path) -> RunSummary:
    """Return the summary of one run folder; a damaged one is reported, never raised."""
    try:
        with LogReader(folder / LOG_NAME) as reader, reader.snapshot():
            last_step = reader.last_step()
            first_pass_s, last_pass_s = reader.time_range() or (None, None)
            return RunSummary(
                folder=folder,
                n_passes=sum(reader.count_by_purpose().values()),
                n_rejected=sum(reader.rejected().values()),
                step=last_step.step if last_step else None,
                epoch=last_step.epoch if last_step else None,
                first_pass_s=first_pass_s,
                last_pass_s=last_pass_s,
                closed=reader.is_closed(),
                replayed=bool(reader.meta().get("replayed")),
                kept=reader.kept(),
            )
    except LabctlError as error:
        return RunSummary(folder, problem=str(error))


def _rename_to_free(building: Path, run_name: str) -> Path:
    for number in count(1):
        target = building.with_name(run_name if number == 1 else f"{run_name}-{number}")
        if target.exists():
            continue
        try:
            return building.rename(target)
        except OSError:
            if not target.exists():  # otherwise another process was faster
                raise
    raise AssertionError("count() ended")


def _run_names(root: Path) -> list[str]:
    """Return the names of run folders in order of start; a run's `-10` comes after its `-9`."""
    if not root.is_dir():
        return []
    names = [path.name for path in root.iterdir() if _RUN_NAME.fullmatch(path.name) and path.is_dir()]
    return sorted(names, key=lambda name: (name[:_TIME_LENGTH], len(name), name))


def _matches(names: list[str], text: str) -> list[str]:
    return [name for name in names if name.startswith(text) or name.endswith(text)]


def _close_to(names: list[str], text: str) -> list[str]:
    """Return up to five runs whose name, or name without time, resembles `text`; otherwise the five last ones."""
    close = [
        name
        for name in names
        if difflib.get_close_matches(text, (name, name[_TIME_LENGTH + 1 :])) or (text and text in name)
    ]
    return (close or names)[-5:]
