"""What a run will cost in passes, hardware hours and disk, before any of it is spent."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from labctl.config.experiment import Keep
from labctl.config.unattended import Drift
from labctl.contract.layer import LayerInfo
from labctl.learning.rule import LearningRule
from labctl.orchestrator.evaluation import SAMPLES_PER_ACQUISITION
from labctl.orchestrator.switching import switching_s
from labctl.orchestrator.training import STATISTICS_SAMPLES
from labctl.record.pruning import BYTES_PER_ROW
from labctl.record.raw import RAW_BYTES_PER_ROW


@dataclass(frozen=True)
class Raw:
    """The raw signals that are to be kept: bytes of one pass, by block, and the room there is for all of them."""

    pass_bytes: tuple[int, ...]
    room_bytes: float


@dataclass(frozen=True)
class Plan:
    """The cost of one schedule. `kept_bytes` is what is left on the disk of a finished run that does not keep all.

    `raw_bytes` are the raw signals of all passes, if any are to be kept; `disk_bytes` contains what there is room for.
    """

    schedule: str
    training_passes: int
    test_passes: int
    hardware_s: float
    disk_bytes: int
    reference_passes: int = 0
    kept_bytes: int | None = None
    raw_bytes: int | None = None

    @property
    def passes(self) -> int:
        """All passes."""
        return self.training_passes + self.test_passes + self.reference_passes


def plan_run(
    schedule: str,
    rule: LearningRule,
    infos: Sequence[LayerInfo],
    n_train: int,
    n_test: int,
    *,
    checkpoint_every: int = 1,
    drift: Drift | None = None,
    keep: Keep = "everything",
    raw: Raw | None = None,
) -> Plan:
    """Return what training `n_train` samples and testing `n_test` costs; `infos` has one entry per block.

    Layers that are watched for `drift` are looked at between two requests, so at most as often as is counted here.
    """
    candidates = len(rule.network.label.candidates)
    keeping = {"cached": range(1), "greedy": range(len(infos))}.get(schedule, range(0))
    training = [_training_rows(rule, block, n_train, keeps=block in keeping) for block in range(len(infos))]
    reads = [block.reads for block in rule.network.blocks]
    training = [n * times for n, times in zip(training, reads, strict=True)]
    test = [n_test * candidates * times for times in reads]
    references = [0 if drift is None else _looks(drift, sum(both)) for both in zip(training, test, strict=True)]
    passes = [sum(each) for each in zip(training, test, references, strict=True)]
    order = _order_of_use(schedule, len(infos), n_train, rule, n_test)
    seconds = sum(n * info.nominal_pass_s for n, info in zip(passes, infos, strict=True)) + switching_s(infos, order)
    if schedule == "pipelined":
        seconds -= _overlap_s(rule, infos, n_train)
    rows = sum(n * _row_bytes(info) for n, info in zip(passes, infos, strict=True))
    epochs = rule.epochs * (len(infos) if schedule == "greedy" else 1)
    # Two are kept, and a third is written before the first of them goes.
    checkpoint = sum(array.nbytes for array in rule.arrays().values())
    disk = rows + min(3, -(-epochs // checkpoint_every)) * checkpoint
    given_up = {
        "everything": 0,
        "passes": 0,
        "responses": sum(4 * info.n_inputs * (n - k) for n, k, info in zip(passes, references, infos, strict=True)),
        "result": rows,
    }
    kept = None if keep == "everything" else rows - given_up[keep] + checkpoint
    signals = None
    if raw is not None:
        signals = sum(n * (size + RAW_BYTES_PER_ROW) for n, size in zip(passes, raw.pass_bytes, strict=True))
        disk += int(min(signals, raw.room_bytes))
    return Plan(schedule, sum(training), sum(test), seconds, disk, sum(references), kept, signals)


def _training_rows(rule: LearningRule, block: int, n_train: int, *, keeps: bool) -> int:
    """Return the rows that training measures of one block; `keeps` when the schedule keeps its responses."""
    demand, statistics = rule.demand(block), min(n_train, STATISTICS_SAMPLES)
    asked = statistics + n_train * demand.kept
    if keeps:
        asked = (n_train if demand.kept else statistics) * len(rule.network.label.candidates)
    return asked + n_train * demand.fresh + demand.once


def _order_of_use(schedule: str, blocks: int, n_train: int, rule: LearningRule, n_test: int) -> Iterator[int]:
    """Yield the blocks in the order in which they are measured: statistics, the steps of every epoch, test."""
    steps = -(-n_train // rule.batch)
    step_by_step = (1 + steps * rule.epochs, 0)
    whole, behind_the_first = {
        "joint": step_by_step,
        "pipelined": step_by_step,
        "cached": (1 + steps, steps * (rule.epochs - 1)) if n_train > STATISTICS_SAMPLES else (1, steps * rule.epochs),
        "greedy": (1, 0),
    }[schedule]
    yield from list(range(blocks)) * whole
    yield from list(range(1, blocks)) * behind_the_first
    yield from list(range(blocks)) * -(-n_test // SAMPLES_PER_ACQUISITION)


def _overlap_s(rule: LearningRule, infos: Sequence[LayerInfo], n_train: int) -> float:
    """Return the seconds that are saved by measuring the steps of an epoch in different blocks at once."""
    batches = [min(rule.batch, n_train - start) for start in range(0, n_train, rule.batch)]
    of_sample = [
        (rule.demand(block).kept + rule.demand(block).fresh) * rule.network.blocks[block].reads * info.nominal_pass_s
        for block, info in enumerate(infos)
    ]
    saved_s = 0.0
    for tick in range(len(batches) + len(infos) - 1):
        busy_s = [
            batches[tick - block] * seconds
            for block, seconds in enumerate(of_sample)
            if 0 <= tick - block < len(batches)
        ]
        saved_s += sum(busy_s) - max(busy_s)
    return saved_s


def _looks(drift: Drift, passes: int) -> int:
    return drift.first_passes + passes // drift.every * drift.references


def _row_bytes(info: LayerInfo) -> int:
    return BYTES_PER_ROW + 4 * info.n_inputs + np.dtype(info.response_dtype).itemsize * info.n_outputs
