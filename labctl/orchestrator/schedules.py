"""Schedules: how the requests of a learning rule become acquisitions.

`joint` measures every request, as published. `cached` uses that no weight lies before the first block: its response
to a (sample, label) pair never changes while the layer's state does not, so each pair is measured once. `greedy` trains
block after block, so that the same holds for each block in its turn.
"""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from labctl.contract.layer import ResponseValues
from labctl.learning.requests import Differentiate, Measure, Purpose, Requests, ResultT, Write
from labctl.network.label import Vectors
from labctl.network.network import Network
from labctl.network.reads import mean_of_reads
from labctl.orchestrator.acquisition import Acquisition


class Schedule(Protocol):
    """Answers measurement requests."""

    @property
    def remembers_training(self) -> bool:
        """Whether scoring training samples again costs no pass."""
        ...

    def begin_stage(self, blocks: range) -> None:
        """Be told which blocks are trained from now on, those before them being fixed."""
        ...

    def answer(self, request: Measure) -> ResponseValues:
        """Return responses (groups, k, n_outputs)."""
        ...

    def differentiate(self, request: Differentiate) -> NDArray[np.floating]:
        """Return the gradient (n, n_inputs) with respect to drives."""
        ...

    def write(self, request: Write) -> None:
        """Set parameters of a layer."""
        ...


class Joint:
    """Every request is measured when it is asked for."""

    remembers_training = False

    def __init__(self, acquisition: Acquisition) -> None:
        self._acquisition = acquisition

    def begin_stage(self, blocks: range) -> None:
        """Nothing is remembered, whatever is trained."""

    def answer(self, request: Measure) -> ResponseValues:
        """Measure."""
        return self._acquisition.acquire(request)

    def differentiate(self, request: Differentiate) -> NDArray[np.floating]:
        """Ask the layer."""
        return self._acquisition.differentiate(request)

    def write(self, request: Write) -> None:
        """Tell the layer."""
        self._acquisition.write(request)


class Cached:
    """Training responses of the first block that is trained, and of those before, are measured once and kept.

    A sample's candidate labels are all measured when it is first asked for, next to one another: were each pair
    measured when the rule happens to draw it, positives would be early and negatives late, and drift would tell
    them apart. Anything else (blocks behind one that is trained, test samples) is measured when it is asked for.
    """

    def __init__(self, acquisition: Acquisition, network: Network, features: Vectors) -> None:
        """`features` (n_samples, d) are those of the whole data set, by sample index."""
        self._acquisition = acquisition
        self._network = network
        self._features = features
        self._kept = np.zeros((len(network.blocks), len(features)), np.bool_)
        self._responses: dict[int, ResponseValues] = {}
        self._last_cached = 0

    @property
    def remembers_training(self) -> bool:
        """Whether there is no further block, whose drives change with the weights."""
        return self._last_cached == len(self._network.blocks) - 1

    def begin_stage(self, blocks: range) -> None:
        """Keep responses up to the first of `blocks` from now on."""
        self._last_cached = blocks.start

    def answer(self, request: Measure) -> ResponseValues:
        """Answer from memory, measuring first what is not there."""
        if request.block > self._last_cached or request.purpose not in ("train", "statistics"):
            return self._acquisition.acquire(request)
        self._complete(request.block, request.samples, request.purpose)
        return self._responses[request.block][request.samples[:, None], self._column(request.labels)]

    def differentiate(self, request: Differentiate) -> NDArray[np.floating]:
        """Ask the layer."""
        return self._acquisition.differentiate(request)

    def forget(self) -> None:
        """Measure everything again when it is next asked for."""
        self._kept[:] = False

    def write(self, request: Write) -> None:
        """Tell the layer."""
        self._acquisition.write(request)

    def keep(
        self, block: int, samples: NDArray[np.int64], labels: NDArray[np.int64], responses: ResponseValues
    ) -> None:
        """Take over rows of a block measured earlier: `samples` (n,), `labels` (n,), `responses` (n, n_outputs).

        Samples that lack a label or a read are left out.
        """
        n_labels, reads = len(self._network.label.candidates), self._network.blocks[block].reads
        known, counts = np.unique(samples, return_counts=True)
        complete = known[counts == n_labels * reads]
        (rows,) = np.isin(samples, complete).nonzero()
        if not len(rows):
            return
        in_order = rows[np.lexsort((labels[rows], samples[rows]))]
        kept = mean_of_reads(responses[in_order].reshape(len(complete), n_labels, reads, -1))
        self._room(block, kept[0])[complete] = kept
        self._kept[block, complete] = True

    def _complete(self, block: int, samples: NDArray[np.int64], purpose: Purpose) -> None:
        """Measure those of `samples` whose responses of `block` are not kept, under every candidate label."""
        missing = np.unique(samples[~self._kept[block, samples]])
        if not len(missing):
            return
        labels = np.repeat(self._network.label.candidates[None, :], len(missing), axis=0)
        inputs = self._inputs(block, missing, labels, purpose)
        responses = self._acquisition.acquire(Measure(block, inputs, missing, labels, purpose))
        self._room(block, responses[0])[missing] = responses
        self._kept[block, missing] = True

    def _inputs(self, block: int, samples: NDArray[np.int64], labels: NDArray[np.int64], purpose: Purpose) -> Vectors:
        """Return what enters `block` (n, k, width) for `samples` (n,) under `labels` (n, k)."""
        if block == 0:
            return self._network.label.embed(self._features[samples], labels)
        before = self._inputs(block - 1, samples, labels, purpose)
        self._complete(block - 1, samples, purpose)
        responses = self._responses[block - 1][samples]
        earlier = self._network.blocks[block - 1]
        first = self._network.label.embed(self._features[samples], labels)
        features = earlier.features(*(rows.reshape(labels.size, -1) for rows in (before, responses, first)))
        return earlier.outputs(features).reshape(*labels.shape, -1)

    def _room(self, block: int, responses: ResponseValues) -> ResponseValues:
        if block not in self._responses:
            shape = (len(self._features), len(self._network.label.candidates), responses.shape[-1])
            self._responses[block] = np.zeros(shape, dtype=responses.dtype)
        return self._responses[block]

    def _column(self, labels: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.searchsorted(self._network.label.candidates, labels)


def carry_out(requests: Requests[ResultT], schedule: Schedule) -> ResultT:
    """Run a rule's computation to its end, answering each of its requests."""
    try:
        request = next(requests)
        while True:
            request = requests.send(_answer(request, schedule))
    except StopIteration as finished:
        return finished.value


def _answer(request: Measure | Differentiate | Write, schedule: Schedule) -> NDArray[Any]:
    match request:
        case Measure():
            return schedule.answer(request)
        case Differentiate():
            return schedule.differentiate(request)
        case Write():
            schedule.write(request)
            return np.empty(0)
