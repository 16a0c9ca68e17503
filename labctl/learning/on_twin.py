"""Rules that need a twin of the physics: its derivative in place of the one that hardware does not tell.

physics-aware   forward through the hardware, backward through the twin (Wright et al., Nature 601:549, 2022)
dual-adaptive   the same, a network beside each twin learning its errors from the responses that training measures
                (Zheng et al., Nature Machine Intelligence 5:1119, 2023; here both are perceptrons)
in-silico       forward and backward through the twin; the hardware is met again in the test
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from labctl.config.training import Adam as AdamSettings
from labctl.config.training import DualAdaptiveTraining, InSilicoTraining, PhysicsAwareTraining
from labctl.contract.errors import SettingError
from labctl.contract.layer import Drives, LayerInfo, ResponseValues
from labctl.learning.backward import Backward
from labctl.learning.end_to_end import Course
from labctl.learning.requests import Measure, Purpose, Requests
from labctl.learning.rule import Batch, Demand, Metrics, Part, Surroundings, unlabelled
from labctl.learning.twin import Twin, crossed
from labctl.network.label import Vectors
from labctl.network.network import Network
from labctl.network.randomness import named_generator

OFFERED_PASSES = 2000


class PhysicsAware(Backward):
    """The rule; blocks from `first_twin` on have a twin.

    Raises `SettingError` when twins are needed but not described, with what fitting them would cost.
    """

    first_twin = 1

    def __init__(
        self,
        settings: PhysicsAwareTraining | DualAdaptiveTraining | InSilicoTraining,
        network: Network,
        surroundings: Surroundings,
    ) -> None:
        infos, seed = surroundings.infos, surroundings.seed
        twinned = range(self.first_twin, len(network.blocks))
        if settings.twin is None and len(twinned):
            raise SettingError(("rule",), _offer(settings.rule, [infos[block] for block in twinned], twinned))
        self._passes = settings.twin.passes if settings.twin else 0
        self._twins = {
            block: Twin(
                settings.twin, infos[block].n_inputs, infos[block].n_outputs, named_generator(seed, "twin", block)
            )
            for block in twinned
            if settings.twin
        }
        own: dict[str, Part] = {f"twin{block}": twin for block, twin in self._twins.items()}
        super().__init__(
            network,
            settings,
            seed,
            parts=own,
        )

    def demand(self, block: int) -> Demand:
        """Return one row per sample and epoch, and the twin's."""
        return Demand(kept=self.epochs, once=self._passes if block in self._twins else 0)

    def step(self, batch: Batch, generator: np.random.Generator, progress: float, blocks: range) -> Requests[Metrics]:
        """Take a step; how good the twins were when they were fitted is among the figures."""
        metrics = yield from super().step(batch, generator, progress, blocks)
        return {**metrics, **{f"block{block + 1}.twin_r2": twin.r2 for block, twin in self._twins.items()}}

    def _study(
        self, block: int, inputs: Vectors, samples: NDArray[np.int64], generator: np.random.Generator
    ) -> Requests[None]:
        """Measure rows of the twin's own and fit it."""
        if block not in self._twins:
            return
        varied, origin = crossed(inputs, self._passes, generator)
        labels = unlabelled(len(varied), self.network)
        responses = yield Measure(block, varied[:, None], samples[origin], labels, "twin")
        drives = self._drives(block, varied)
        self.work.twin += self._twins[block].fit(drives, responses[:, 0], generator)

    def _pull_back(self, block: int, inputs: Vectors, upstream: Vectors) -> Requests[Vectors]:
        yield from ()  # nothing has to be measured for it
        twin = self._twins[block]
        self.work.twin += len(inputs) * twin.pull_back_macs
        return twin.pull_back(self._drives(block, inputs), upstream)

    def _drives(self, block: int, inputs: Vectors) -> Drives:
        encoder = self.network.blocks[block].encoder
        if encoder.mixing is not None:
            self.work.twin += len(inputs) * encoder.mixing.size
        return encoder.encode(inputs).drives


class InSilico(PhysicsAware):
    """The rule: hardware answers for statistics, twins and tests alone."""

    first_twin = 0

    def demand(self, block: int) -> Demand:
        """Return the twin's rows."""
        return Demand(once=self._passes if block in self._twins else 0)

    def _respond(
        self, block: int, inputs: Vectors, samples: NDArray[np.int64], purpose: Purpose
    ) -> Requests[ResponseValues]:
        if purpose != "train":
            return (yield from super()._respond(block, inputs, samples, purpose))
        self.work.twin += len(inputs) * self._twins[block].forward_macs
        return self._twins[block].respond(self._drives(block, inputs))


class DualAdaptive(PhysicsAware):
    """The rule: the derivative is that of twin and error network together."""

    def __init__(self, settings: DualAdaptiveTraining, network: Network, surroundings: Surroundings) -> None:
        self._error_steps = settings.error_steps
        super().__init__(settings, network, surroundings)
        optimizer = AdamSettings(lr=settings.error_lr)
        self._errors = {
            block: twin.error_network(
                settings.error_hidden, optimizer, named_generator(surroundings.seed, "error", block)
            )
            for block, twin in self._twins.items()
        }
        self._parts = {**self._parts, **{f"error{block}": errors for block, errors in self._errors.items()}}

    def _signals(self, course: Course, error: Vectors) -> Requests[Sequence[Vectors]]:
        """Let the error networks learn from what was measured of this batch, then send the error back."""
        for block, errors in self._errors.items():
            twin, drives = self._twins[block], self._drives(block, course.inputs[block])
            x, residual = twin.standard_drives(drives), twin.residual(drives, course.responses[block])
            for _ in range(self._error_steps):
                errors.train(x, residual)
            work = twin.forward_macs + self._error_steps * errors.training_macs
            self.work.twin += len(drives) * work
        return (yield from super()._signals(course, error))

    def _pull_back(self, block: int, inputs: Vectors, upstream: Vectors) -> Requests[Vectors]:
        through_twin = yield from super()._pull_back(block, inputs, upstream)
        twin, errors = self._twins[block], self._errors[block]
        self.work.twin += len(inputs) * errors.pull_back_macs
        return through_twin + twin.through(errors, self._drives(block, inputs), upstream)


def _offer(rule: str, infos: Sequence[LayerInfo], blocks: range) -> str:
    """Say what is missing and what it would cost."""
    which = " and ".join(str(block + 1) for block in blocks)
    passes = OFFERED_PASSES * len(infos)
    hours = OFFERED_PASSES * sum(info.nominal_pass_s for info in infos) / 3600
    return (
        f"rule {rule} needs a twin of block{'s' * (len(blocks) > 1)} {which}; "
        f"write `twin: {{passes: {OFFERED_PASSES}}}` below it to fit {'one' if len(blocks) == 1 else 'them'}, "
        f"for {passes:,} passes, {hours:.2g} h of hardware time"
    )
