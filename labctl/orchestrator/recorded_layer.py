"""A layer whose responses come from a run's record: each drive is answered as often as it was measured, no oftener."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from labctl.contract.errors import DriveError
from labctl.contract.layer import Drives, LayerInfo, Responses, ResponseValues, RowIds, RowStatus, Stop, check_drives
from labctl.network.randomness import named_generator
from labctl.record.passes import RecordedPasses, join
from labctl.record.reader import LogReader

SAME_DRIVE = 16 * float(np.finfo(np.float32).eps)
"""By what share of its channel's range a drive may miss the recorded one: the rounding of a matrix product depends on
how many rows it is taken of. No converter tells such drives apart."""

CHUNK_ROWS = 256

Answer = Callable[[RecordedPasses], ResponseValues]
"""Returns the responses (n, n_outputs) that recorded passes (n,) of one layer are answered by."""


class RecordedDrives:
    """The drives of a layer's recorded rows, found again by what they are; of equal ones the earlier row is first.

    Only a random projection of each drive is kept in memory; the drives themselves are compared in the log. `states`
    are those the rows were measured in.
    """

    def __init__(self, info: LayerInfo, parts: Iterable[RecordedPasses]) -> None:
        low = np.array([channel.low for channel in info.inputs], np.float64)
        high = np.array([channel.high for channel in info.inputs], np.float64)
        self._middle, self._half = (low + high) / 2, np.where(high > low, (high - low) / 2, 1.0)
        direction = named_generator(0, "recorded drives").normal(size=info.n_inputs)
        self._direction = direction / np.linalg.norm(direction)
        self.states: set[str] = set()
        projections, ids = [np.empty(0)], [np.empty(0, np.int64)]
        for part in parts:
            self.states.update(part.state_ids.tolist())
            projections.append(self._project(part.drives))
            ids.append(part.ids)
        unique, first = np.unique(np.concatenate(ids), return_index=True)
        projected = np.concatenate(projections)[first]
        order = np.lexsort((unique, projected))
        self._projections: NDArray[np.float64] = projected[order]
        self._ids: RowIds = unique[order]
        self._used = np.zeros(len(unique), np.bool_)

    def take(self, drives: Drives, reader: LogReader) -> RowIds:
        """Return the ids (n,) of unused rows with these `drives` (n, n_inputs), used from now on; -1 where none is."""
        ids = np.full(len(drives), -1, np.int64)
        projections = self._project(drives)
        first = np.searchsorted(self._projections, projections - SAME_DRIVE, side="left")
        last = np.searchsorted(self._projections, projections + SAME_DRIVE, side="right")
        for row, (start, end) in enumerate(zip(first.tolist(), last.tolist(), strict=True)):
            near = start + (~self._used[start:end]).nonzero()[0]
            for place in near[np.argsort(self._ids[near])].tolist():
                row_id = int(self._ids[place])
                if self._same(drives[row], reader.rows(row_id, row_id).drives[0]):
                    ids[row], self._used[place] = row_id, True
                    break
        return ids

    def put_back(self, ids: RowIds) -> None:
        """Let the rows `ids` (n,) be taken again; -1 stands for none."""
        self._used[np.isin(self._ids, ids)] = False

    def _project(self, drives: Drives) -> NDArray[np.float64]:
        return ((drives - self._middle) / self._half) @ self._direction

    def _same(self, drive: Drives, recorded: Drives) -> bool:
        return bool((np.abs(drive.astype(np.float64) - recorded) <= SAME_DRIVE * self._half).all())


class RecordedLayer:
    """Answers as the layer did whose rows `drives` and the log at `path` hold. It takes no hardware and no time.

    `what` names its blocks and layer in messages, and `answer` tells what a recorded row is answered by.
    """

    def __init__(
        self, info: LayerInfo, state_id: str, path: Path, drives: RecordedDrives, what: str, answer: Answer
    ) -> None:
        self._info = info
        self._state_id = state_id
        self._path = path
        self._drives = drives
        self._what = what
        self._answer = answer

    @property
    def info(self) -> LayerInfo:
        """Describe the layer: as recorded or read anew, but that it takes no time and no instrument."""
        return self._info

    @property
    def state_id(self) -> str:
        """Name the state that its rows were measured in, or would have been in for what is read out of them now."""
        return self._state_id

    def open(self) -> None:
        """Nothing is behind it."""

    def measure(self, drives: Drives, ids: RowIds, *, stop: Stop) -> Iterator[Responses]:
        """Yield recorded responses; their times are those of the recording.

        Raises `DriveError` when one is not recorded, or has been used as often as it was measured.
        """
        check_drives(self._info, drives, ids)
        with LogReader(self._path) as reader:
            found = self._drives.take(drives, reader)
            missing = int(np.count_nonzero(found < 0))
            if missing:
                raise DriveError(
                    f"{self._what}: {missing:,} of {len(found):,} rows asked for are not in the record of "
                    f"{self._path.parent.name}, or have been used as often as they were measured. Keep what their "
                    "drives follow from (seed, data, label, encoder, and all that is learnt in the blocks before), or "
                    "measure with `labctl run`"
                )
            for start in range(0, len(ids), CHUNK_ROWS):
                if stop.is_set():
                    return
                part = slice(start, start + CHUNK_ROWS)
                yield self._responses(reader, found[part], ids[part])

    def missing(self, requests: Iterable[Drives]) -> int:
        """Return how many rows of `requests`, each (n, n_inputs), could not be answered; none of them is used up."""
        with LogReader(self._path) as reader:
            found = np.concatenate([self._drives.take(drives, reader) for drives in requests])
        self._drives.put_back(found)
        return int(np.count_nonzero(found < 0))

    def pass_over(self, drives: Drives) -> int:
        """Use up the rows with these `drives` (n, n_inputs), answered earlier; return how many there are none of."""
        with LogReader(self._path) as reader:
            return int(np.count_nonzero(self._drives.take(drives, reader) < 0))

    def make_safe(self) -> None:
        """Nothing is behind it."""

    def close(self) -> None:
        """Nothing is behind it."""

    def _responses(self, reader: LogReader, found: RowIds, ids: RowIds) -> Responses:
        rows = join([reader.rows(row_id, row_id) for row_id in found.tolist()])
        return Responses(
            ids=ids,
            values=self._answer(rows).astype(self._info.response_dtype, copy=False),
            status=np.full(len(ids), int(RowStatus.OK), np.uint8),
            time_s=rows.time_s,
        )
