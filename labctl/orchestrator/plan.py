"""What a run will cost in passes, hardware hours and disk, before any of it is spent."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from labctl.contract.layer import LayerInfo
from labctl.learning.rule import LearningRule
from labctl.orchestrator.training import STATISTICS_SAMPLES

SCHEDULES = ("joint", "cached", "greedy")
BYTES_PER_ROW = 60
"""SQLite's own bytes around the drive and response of a row, measured."""


@dataclass(frozen=True)
class Plan:
    """The cost of one schedule."""

    schedule: str
    training_passes: int
    test_passes: int
    hardware_s: float
    disk_bytes: int

    @property
    def passes(self) -> int:
        """All passes."""
        return self.training_passes + self.test_passes


def plan_run(
    schedule: str,
    rule: LearningRule,
    infos: Sequence[LayerInfo],
    n_train: int,
    n_test: int,
    *,
    checkpoint_every: int = 1,
) -> Plan:
    """Return what training `n_train` samples and testing `n_test` costs; `infos` has one entry per block."""
    candidates = len(rule.network.label.candidates)
    measured_per_block = min(n_train, STATISTICS_SAMPLES) + rule.epochs * n_train * rule.rows_per_sample
    training = [measured_per_block] * len(infos)
    for block in {"joint": range(0), "cached": range(1), "greedy": range(len(infos))}[schedule]:
        training[block] = n_train * candidates
    test = n_test * candidates
    seconds = sum((n + test) * info.nominal_pass_s for n, info in zip(training, infos, strict=True))
    rows = sum((n + test) * _row_bytes(info) for n, info in zip(training, infos, strict=True))
    epochs = rule.epochs * (len(infos) if schedule == "greedy" else 1)
    # Two are kept, and a third is written before the first of them goes.
    checkpoints = min(3, -(-epochs // checkpoint_every)) * sum(array.nbytes for array in rule.arrays().values())
    return Plan(schedule, sum(training), test * len(infos), seconds, rows + checkpoints)


def _row_bytes(info: LayerInfo) -> int:
    return BYTES_PER_ROW + 4 * info.n_inputs + np.dtype(info.response_dtype).itemsize * info.n_outputs
