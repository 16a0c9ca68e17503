"""How a run used its layers: ranges of drives and responses and the noise between equal passes.

Read from a sample of passes, so that the longest log costs no more memory than a short one.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labctl.contract.layer import Drives, ResponseValues, RowStatus
from labctl.record.passes import RecordedPasses, join, take
from labctl.record.reader import LogReader

SAMPLE_PASSES = 4096
SAMPLE_VALUES = 8_000_000
WINDOW_PASSES = 32

QUANTILES = (0.01, 0.25, 0.5, 0.75, 0.99)


@dataclass(frozen=True)
class Noise:
    """What differs between passes whose drives are equal.

    `noise` (n_outputs,) is the standard deviation within groups of equal drives, drift between them included;
    `spread` (n_outputs,) that of all responses. `groups` drives were sent more than once, in `passes` passes.
    """

    groups: int
    passes: int
    noise: NDArray[np.float64]
    spread: NDArray[np.float64]


@dataclass(frozen=True)
class LayerUse:
    """One block's layer in `passes` sampled accepted passes.

    `drive_quantiles` (5, n_inputs) are shares of each input's range, 0 to 1; `response_quantiles` (5, n_outputs) are in
    the response's unit, moduli where responses are complex; both for `QUANTILES`. `at_low` and `at_high` are the shares
    of drive values at the ends of their range. `peak` is the largest response, on channel `peak_channel`.
    """

    passes: int
    drive_quantiles: NDArray[np.float64]
    response_quantiles: NDArray[np.float64]
    at_low: float
    at_high: float
    peak: float
    peak_channel: int
    is_modulus: bool
    noise: Noise | None


def layer_use(reader: LogReader, blocks: Sequence[Mapping[str, Any]]) -> dict[int, LayerUse]:
    """Return the use of each block's layer, for blocks that have accepted passes in the sample."""
    parts: dict[int, list[RecordedPasses]] = {}
    for part in sampled_passes(reader):
        for block in np.unique(part.blocks).tolist():
            parts.setdefault(block, []).append(take(part, part.blocks == block))
    return {block: _use(join(parts[block]), blocks[block]["inputs"]) for block in sorted(parts)}


def sampled_passes(reader: LogReader) -> Iterator[RecordedPasses]:
    """Yield accepted passes: all of a short run, otherwise windows of neighbours spread over the run.

    Each window lies at a random place within its own stretch of the run (always the same one), so that no pass comes
    twice and the sample does not beat with the rhythm of batches and blocks.
    """
    n_ids = reader.next_free_id()
    width = max((state.n_inputs + state.n_outputs for state in reader.states()), default=1)
    wanted = min(SAMPLE_PASSES, max(SAMPLE_VALUES // width, WINDOW_PASSES))
    if n_ids <= wanted:
        yield from reader.passes(status=RowStatus.OK)
        return
    edges = np.linspace(0, n_ids, wanted // WINDOW_PASSES + 1).astype(np.int64)
    firsts = np.random.default_rng(0).integers(edges[:-1], edges[1:] - WINDOW_PASSES, endpoint=True)
    for first in firsts.tolist():
        yield from reader.passes(first, first + WINDOW_PASSES - 1, status=RowStatus.OK)


def repeat_noise(drives: Drives, responses: ResponseValues) -> Noise | None:
    """Return the noise between passes whose `drives` (n, n_inputs) are equal bit for bit; None when no two are.

    The pooled standard deviation within groups: the root of the squared deviations from group means over n - groups.
    """
    _, group, counts = np.unique(drives, axis=0, return_inverse=True, return_counts=True)
    repeated = counts[group] > 1
    if not repeated.any():
        return None
    _, group = np.unique(group[repeated], return_inverse=True)
    values = responses[repeated].astype(np.result_type(responses, np.float64))
    n_groups = int(group.max()) + 1
    sums = np.zeros((n_groups, values.shape[1]), values.dtype)
    np.add.at(sums, group, values)
    deviations = values - (sums / np.bincount(group)[:, None])[group]
    noise = np.sqrt((np.abs(deviations) ** 2).sum(axis=0) / (len(values) - n_groups))
    return Noise(n_groups, len(values), noise, responses.astype(values.dtype).std(axis=0))


def _use(passes: RecordedPasses, inputs: Sequence[Mapping[str, Any]]) -> LayerUse:
    low, high = (np.array([float(channel[end]) for channel in inputs], np.float32) for end in ("low", "high"))
    span = np.where(high > low, high - low, 1)
    is_modulus = np.iscomplexobj(passes.values)
    magnitudes = np.abs(passes.values) if is_modulus else passes.values.astype(np.float64)
    return LayerUse(
        passes=len(passes),
        drive_quantiles=np.quantile((passes.drives - low) / span, QUANTILES, axis=0),
        response_quantiles=np.quantile(magnitudes, QUANTILES, axis=0),
        at_low=float((passes.drives == low).mean()),
        at_high=float((passes.drives == high).mean()),
        peak=float(magnitudes.max()),
        peak_channel=int(magnitudes.max(axis=0).argmax()),
        is_modulus=is_modulus,
        noise=repeat_noise(passes.drives, passes.values),
    )
