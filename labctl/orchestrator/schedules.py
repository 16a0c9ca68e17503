"""Schedules: how the requests of a learning rule become acquisitions.

`joint` measures every request, as published. `cached` uses that no weight lies before the first block: its response
to a (sample, label) pair never changes while the layer's state does not, so each pair is measured once.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from labctl.contract.layer import ResponseValues
from labctl.learning.requests import Measure, Requests, ResultT
from labctl.network.label import Vectors
from labctl.network.network import Network
from labctl.orchestrator.acquisition import Acquisition


class Schedule(Protocol):
    """Answers measurement requests."""

    @property
    def remembers_training(self) -> bool:
        """Whether scoring training samples again costs no pass."""
        ...

    def answer(self, request: Measure) -> ResponseValues:
        """Return responses (groups, k, n_outputs)."""
        ...


class Joint:
    """Every request is measured when it is asked for."""

    remembers_training = False

    def __init__(self, acquisition: Acquisition) -> None:
        self._acquisition = acquisition

    def answer(self, request: Measure) -> ResponseValues:
        """Measure."""
        return self._acquisition.acquire(request)


class Cached:
    """First-block training responses are measured once per (sample, label) and kept.

    A sample's candidate labels are all measured when it is first asked for, next to one another: were each pair
    measured when the rule happens to draw it, positives would be early and negatives late, and drift would tell
    them apart. Requests for anything else (later blocks, test samples) are measured when asked for.
    """

    def __init__(self, acquisition: Acquisition, network: Network, features: Vectors) -> None:
        """`features` (n_samples, d) are those of the whole data set, by sample index."""
        self._acquisition = acquisition
        self._label = network.label
        self._blocks = len(network.blocks)
        self._features = features
        self._kept = np.zeros(len(features), np.bool_)
        self._responses: ResponseValues | None = None

    @property
    def remembers_training(self) -> bool:
        """Whether there is no second block, whose drives change with the weights."""
        return self._blocks == 1

    def answer(self, request: Measure) -> ResponseValues:
        """Answer from memory, measuring first what is not there."""
        if request.block != 0 or request.purpose not in ("train", "statistics"):
            return self._acquisition.acquire(request)
        missing = np.unique(request.samples[~self._kept[request.samples]])
        if len(missing):
            self._measure(missing, request)
        assert self._responses is not None
        return self._responses[request.samples[:, None], self._column(request.labels)]

    def keep(self, samples: NDArray[np.int64], labels: NDArray[np.int64], responses: ResponseValues) -> None:
        """Take over rows measured earlier: `samples` (n,), `labels` (n,), `responses` (n, n_outputs)."""
        self._room(responses)[samples, self._column(labels)] = responses
        complete, counts = np.unique(samples, return_counts=True)
        self._kept[complete[counts == len(self._label.candidates)]] = True

    def _measure(self, samples: NDArray[np.int64], request: Measure) -> None:
        labels = np.repeat(self._label.candidates[None, :], len(samples), axis=0)
        inputs = self._label.embed(self._features[samples], labels)
        responses = self._acquisition.acquire(Measure(0, inputs, samples, labels, request.purpose))
        self._room(responses[0])[samples] = responses
        self._kept[samples] = True

    def _room(self, responses: ResponseValues) -> ResponseValues:
        if self._responses is None:
            shape = (len(self._features), len(self._label.candidates), responses.shape[-1])
            self._responses = np.zeros(shape, dtype=responses.dtype)
        return self._responses

    def _column(self, labels: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.searchsorted(self._label.candidates, labels)


def carry_out(requests: Requests[ResultT], schedule: Schedule) -> ResultT:
    """Run a rule's computation to its end, answering each of its requests."""
    try:
        request = next(requests)
        while True:
            request = requests.send(schedule.answer(request))
    except StopIteration as finished:
        return finished.value
