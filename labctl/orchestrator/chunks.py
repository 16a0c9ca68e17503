"""Measured rows, held against what was asked for."""

from collections.abc import Iterator

import numpy as np

from labctl.contract.errors import InstrumentError
from labctl.contract.layer import Drives, LayerInfo, PhysicalLayer, Responses, RowIds, RowStatus, Stop

_OK = int(RowStatus.OK)
"""A plain number: comparing an array with a member of an enumeration is several times slower."""


def checked_chunks(layer: PhysicalLayer, drives: Drives, ids: RowIds, stop: Stop) -> Iterator[Responses]:
    """Measure `drives` (n, n_inputs) under `ids` (n,) and yield the chunks that come.

    Raises `InstrumentError` when rows are not those asked for, or are missing though nobody asked to stop.
    """
    received = 0
    for chunk in layer.measure(drives, ids, stop=stop):
        _check_chunk(layer.info, chunk, ids[received : received + len(chunk.ids)])
        received += len(chunk.ids)
        yield chunk
    if received < len(ids) and not stop.is_set():
        raise InstrumentError(layer.info.name, f"returned {received} of {len(ids)} rows without saying why")


def _check_chunk(info: LayerInfo, chunk: Responses, expected: RowIds) -> None:
    """Raise `InstrumentError` unless the chunk is what was asked for: a wrong pairing must never be learnt from."""
    if not np.array_equal(chunk.ids, expected):
        raise InstrumentError(info.name, f"answered rows {chunk.ids[:3]}... where {expected[:3]}... were next")
    if chunk.values.shape != (len(expected), info.n_outputs) or chunk.values.dtype != info.response_dtype:
        raise InstrumentError(
            info.name,
            f"answered {chunk.values.dtype} values of shape {chunk.values.shape}, "
            f"promised {info.response_dtype} of shape {(len(expected), info.n_outputs)}",
        )
    if chunk.raw is not None and chunk.raw.shape != (len(expected),):
        raise InstrumentError(info.name, f"answered {len(expected)} rows with {len(chunk.raw)} raw signals")
    finite = np.isfinite(chunk.values)
    if np.count_nonzero(finite) == finite.size:
        return
    wrong = (chunk.status == _OK) & ~finite.all(axis=1)
    if wrong.any():
        raise InstrumentError(info.name, f"row {expected[int(np.argmax(wrong))]} is marked good but is not finite")
