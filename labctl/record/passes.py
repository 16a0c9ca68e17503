"""Passes on their way into the log and out of it."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labctl.contract.layer import Drives, RawSignal, ResponseValues, RowIds

REPEATS_PER_ID = 256
"""A pass is stored under `id * REPEATS_PER_ID + repeat`."""

MAX_ID = 2**63 // REPEATS_PER_ID - 1

_INT64, _UINT8, _FLOAT32, _FLOAT64 = (np.dtype(name) for name in ("int64", "uint8", "float32", "float64"))
_COLUMNS = (("ids", _INT64), ("samples", _INT64), ("labels", _INT64), ("status", _UINT8), ("time_s", _FLOAT64))

Integers = NDArray[np.int64]
Texts = NDArray[np.str_]


@dataclass(frozen=True, slots=True)
class PassRows:
    """One acquired chunk of `n` passes of one block.

    `ids` (n,) name the passes within the run, `repeat` counts attempts at them (0 = first); `purpose` is a word such as
    train, statistics, test, evaluate, predict or reference. `samples` (n,) are indices into the data set, `labels` (n,)
    the labels embedded in the drive, -1 for none. `status` (n,) of `RowStatus`, `time_s` (n,) POSIX seconds,
    `drives` (n, n_in), `responses` (n, n_out) in the number type the instrument delivered, `raw` (n,) the signals they
    were read out of where these are to be kept.

    Raises `ValueError` when the arrays do not fit together.
    """

    ids: RowIds
    repeat: int
    step: int
    block: int
    purpose: str
    samples: Integers
    labels: Integers
    layer: str
    state_id: str
    status: NDArray[np.uint8]
    time_s: NDArray[np.float64]
    drives: Drives
    responses: ResponseValues
    raw: RawSignal | None = None

    def __post_init__(self) -> None:
        n = len(self.ids)
        for name, dtype in _COLUMNS:
            column: NDArray[Any] = getattr(self, name)
            if column.shape != (n,):
                raise ValueError(f"{name} of {n} passes have shape {column.shape}")
            if column.dtype != dtype:
                raise ValueError(f"{name} of passes are {dtype}, got {column.dtype}")
        for name, values in (("drives", self.drives), ("responses", self.responses)):
            if values.ndim != 2 or len(values) != n or values.shape[1] == 0:
                raise ValueError(f"{name} of {n} passes have shape {values.shape}")
        if self.drives.dtype != _FLOAT32:
            raise ValueError(f"drives of passes are {_FLOAT32}, got {self.drives.dtype}")
        if self.responses.dtype.kind not in "biufc":
            raise ValueError(f"responses are numbers, got {self.responses.dtype}")
        if not 0 <= self.repeat < REPEATS_PER_ID:
            raise ValueError(f"a pass is repeated at most {REPEATS_PER_ID - 1} times, got repeat {self.repeat}")
        if n and not (self.ids.min() >= 0 and self.ids.max() <= MAX_ID):
            raise ValueError(f"pass ids lie within 0 to {MAX_ID}, got {self.ids.min()} to {self.ids.max()}")


@dataclass(frozen=True, slots=True)
class RecordedPasses:
    """`n` passes read back from the log, all with the same number and type of drives and responses.

    Fields as in `PassRows`, except that every one is an array with a value per pass. `drives` (n, n_in) and `values`
    (n, n_out) are read-only.
    """

    ids: RowIds
    repeats: Integers
    steps: Integers
    blocks: Integers
    purposes: Texts
    samples: Integers
    labels: Integers
    layers: Texts
    state_ids: Texts
    status: NDArray[np.uint8]
    time_s: NDArray[np.float64]
    drives: Drives
    values: ResponseValues

    def __len__(self) -> int:
        return len(self.ids)


def join(parts: Sequence[RecordedPasses]) -> RecordedPasses:
    """Return parts of the same form, at least one, as one."""
    if len(parts) == 1:
        return parts[0]
    columns = (field.name for field in fields(RecordedPasses))
    return RecordedPasses(*(np.concatenate([getattr(part, column) for part in parts]) for column in columns))


def take(passes: RecordedPasses, chosen: NDArray[np.bool_]) -> RecordedPasses:
    """Return the passes where `chosen` (n,) is true."""
    return RecordedPasses(*(getattr(passes, field.name)[chosen] for field in fields(RecordedPasses)))
