"""The schedule `pipelined`: several training steps are under way at once, each of them in a block of its own.

A step enters a block when the step before it has left it. Between two ticks the steps that wait for a block of their
own are measured at once; then, the oldest first, each learns from its responses and goes on. Every block so sees the
same steps in the same order, and is driven by the same weights of the block before it, as if each step were taken to
its end before the next: nothing that a local rule computes is delayed or depends on when a layer answers.
"""

from collections import deque
from collections.abc import Generator, Iterable, Sequence
from itertools import combinations, islice
from typing import Generic

from labctl.config.unattended import Drift
from labctl.contract.layer import PhysicalLayer, ResponseValues
from labctl.learning.requests import Differentiate, Measure, Requests, ResultT, Write
from labctl.orchestrator.acquisition import Acquisition
from labctl.orchestrator.schedules import Joint
from labctl.rig.rig import Rig


class Pipelined(Joint):
    """Measures what steps in different blocks ask for at once; all else one after the other."""

    def __init__(self, acquisition: Acquisition) -> None:
        super().__init__(acquisition)
        self._acquisition = acquisition

    def carry_out_all(self, steps: Iterable[Requests[ResultT]]) -> Generator[ResultT]:
        """Take the steps of local rules through the blocks; yield their results in the order of `steps`.

        The next of `steps` is asked for when the one before it has left the first block. The first of them is the
        acquisition's present step, and the others are counted on from there.
        """
        coming = enumerate(steps, self._acquisition.step)
        under_way: deque[_Step[ResultT]] = deque()
        while True:
            if not under_way or under_way[-1].request.block > 0:
                under_way.extend(_Step(number, requests) for number, requests in islice(coming, 1))
            if not under_way:
                return
            measured = _first_in_each_block(under_way)
            answers = self._acquisition.acquire_together({step.number: step.request for step in measured})
            for step, responses in zip(measured, answers, strict=True):
                try:
                    step.go_on(responses)
                except StopIteration as finished:
                    under_way.popleft()
                    yield finished.value


class _Step(Generic[ResultT]):
    """A step under way, with what it asks for now."""

    def __init__(self, number: int, requests: Requests[ResultT]) -> None:
        self.number = number
        self._requests = requests
        self.request = _measurement(next(requests))

    def go_on(self, responses: ResponseValues) -> None:
        """Let it learn up to its next request. Raises `StopIteration` with its result when there is none."""
        self.request = _measurement(self._requests.send(responses))


def _measurement(request: Measure | Differentiate | Write) -> Measure:
    if not isinstance(request, Measure):
        raise TypeError(f"a local rule measures and nothing else, but this one asked for {type(request).__name__}")
    return request


def _first_in_each_block(under_way: Iterable[_Step[ResultT]]) -> list[_Step[ResultT]]:
    """Return the steps that wait for no older one to leave their block."""
    first: dict[int, _Step[ResultT]] = {}
    for step in under_way:
        first.setdefault(step.request.block, step)
    return list(first.values())


def why_not_pipelined(rigs: Iterable[Rig], layers: Sequence[PhysicalLayer], drift: Drift | None) -> str | None:
    """Return why the blocks of `layers`, watched for `drift`, cannot be measured at once; None when they can."""
    if drift is not None:
        return "drift has layers looked at between two steps, but there are several steps under way at any time"
    for rig in rigs:
        here = [(block, layer) for block, layer in enumerate(layers, start=1) if layer in rig.layers.values()]
        for (one, first), (other, second) in combinations(here, 2):
            shared = ", ".join(sorted(first.info.resources & second.info.resources))
            if shared:
                return f"blocks {one} and {other} share '{shared}', which measures for one of them at a time"
            if rig.host is not None:
                return (
                    f"blocks {one} and {other} are on rig '{rig.name}', whose host process measures one layer at a "
                    "time; give each of them a rig file of its own"
                )
    return None
