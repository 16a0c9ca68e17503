"""What a comparison of learning rules found: accuracy and its price by rule, and differences paired seed by seed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from labctl.orchestrator.cells import Kind
from labctl.record.folder import LOG_NAME
from labctl.record.reader import LogReader
from labctl.report.conclusion import Conclusion, summarise
from labctl.report.digital import arithmetic_j
from labctl.report.paired import Difference, difference_over_draws, paired_difference

NOT_TRAINING = ("test", "evaluate", "predict", "baseline", "reference")
"""Purposes of passes that no training is made of."""


@dataclass(frozen=True)
class Result:
    """A finished run: which test samples (n,) it got right, its passes by purpose, the rig's power and its blocks."""

    kind: Kind
    seed: int
    folder: Path
    conclusion: Conclusion
    right: NDArray[np.bool_]
    passes: Mapping[str, int]
    power_w: float | None
    blocks: int

    def figures(self) -> dict[str, float]:
        """Return what it cost by name; energies are in joules, of the rig only where its file states its power.

        `training_macs` are those of training without encoders, which are in `macs` together with scoring.
        """
        macs, hardware_s = self.conclusion.macs, self.conclusion.hardware_s
        return {
            "training_passes": sum(n for purpose, n in self.passes.items() if purpose not in NOT_TRAINING),
            "test_passes": self.passes.get("test", 0),
            "passes": self.conclusion.passes,
            "hardware_h": hardware_s / 3600,
            "training_macs": sum(n for kind, n in macs.items() if kind not in ("scoring", "encoding")),
            "macs": sum(macs.values()),
            "arithmetic_j": arithmetic_j(macs),
            **({} if self.power_w is None else {"rig_j": self.power_w * hardware_s}),
        }


def read_result(folder: Path, kind: Kind, seed: int) -> Result:
    """Return the result of the finished run in `folder`."""
    with LogReader(folder / LOG_NAME) as reader:
        meta = reader.meta()
        test = next(event.detail for event in reader.events() if event.kind == "test")
        right = np.argmax(test["scores"], axis=1) == np.array(test["labels"])
        passes, blocks = reader.count_by_purpose(), len(meta["blocks"])
        return Result(kind, seed, folder, summarise(reader), right, passes, meta["power_w"], blocks)


@dataclass(frozen=True)
class Standing:
    """One kind of cell over all seeds that are finished."""

    kind: Kind
    results: Sequence[Result]

    @cached_property
    def accuracy(self) -> Difference:
        """The mean accuracy with its interval over the seeds; of a single one, that over test samples."""
        accuracies = [result.conclusion.accuracy for result in self.results]
        if len(accuracies) > 1:
            found = difference_over_draws(accuracies)
            return Difference(found.mean, max(found.low, 0.0), min(found.high, 1.0))
        return Difference(accuracies[0], *self.results[0].conclusion.interval)

    @cached_property
    def figures(self) -> Mapping[str, float]:
        """What it cost by name, means over the seeds: see `Result.figures`."""
        each = [result.figures() for result in self.results]
        return {name: float(np.mean([figures[name] for figures in each])) for name in each[0]}

    def minus(self, other: "Standing") -> Difference | None:
        """Return its accuracy minus that of `other`, paired by seed; by test samples where they share one seed alone.

        None where they share none.
        """
        theirs = {result.seed: result for result in other.results}
        pairs = [(result, theirs[result.seed]) for result in self.results if result.seed in theirs]
        if not pairs:
            return None
        if len(pairs) == 1:
            own, rival = pairs[0]
            return paired_difference(own.right, rival.right)
        return difference_over_draws([own.conclusion.accuracy - rival.conclusion.accuracy for own, rival in pairs])


@dataclass(frozen=True)
class Standings:
    """All kinds of cells that have a finished run, and which of them each is compared with."""

    all: Sequence[Standing]

    @classmethod
    def of(cls, results: Iterable[Result], kinds: Iterable[Kind]) -> "Standings":
        """Gather `results` by their kind, in the order of `kinds`."""
        by_kind: dict[Kind, list[Result]] = {kind: [] for kind in kinds}
        for result in results:
            by_kind[result.kind].append(result)
        return cls([Standing(kind, found) for kind, found in by_kind.items() if found])

    @property
    def undisturbed(self) -> list[Standing]:
        """Those that nothing befell."""
        return [each for each in self.all if each.kind.disturbance is None]

    def rival_of(self, standing: Standing) -> Standing | None:
        """Return the first rule's standing, disturbed alike, with as many epochs or else with most.

        None for the first rule itself, and where there is none.
        """
        of_first = [
            each
            for each in self.all
            if each.kind.rule == self.all[0].kind.rule and each.kind.disturbance == standing.kind.disturbance
        ]
        if standing in of_first or not of_first:
            return None
        alike = [each for each in of_first if each.kind.epochs == standing.kind.epochs]
        return (alike or of_first)[-1]

    def differences(self) -> list[tuple[Standing, Difference]]:
        """Return every standing that has a rival, with its accuracy minus that one's."""
        pairs = [(each, self.rival_of(each)) for each in self.all]
        found = [(each, None if rival is None else each.minus(rival)) for each, rival in pairs]
        return [(each, difference) for each, difference in found if difference is not None]

    def disturbed(self) -> list[tuple[Standing, Standing, Difference]]:
        """Return every disturbed standing with the same one undisturbed, and what the disturbance did, paired."""
        calm = {each.kind: each for each in self.undisturbed}
        pairs = [(calm.get(each.kind._replace(disturbance=None)), each) for each in self.all]
        found = [(before, after, after.minus(before)) for before, after in pairs if before and before is not after]
        return [(before, after, lost) for before, after, lost in found if lost is not None]
