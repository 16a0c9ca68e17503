"""The baseline without physics: leaving silent responses out changes nothing but the work."""

from collections.abc import Callable

import numpy as np

from labctl.orchestrator.acquisition import Acquisition
from labctl.orchestrator.assembly import Task
from labctl.orchestrator.session import make_training
from labctl.report.baselines import Modelled, Nothing, without_responses
from labctl.testing.layers import InstantLayer

MakeTask = Callable[..., Task]


def test_responses_left_out_teach_what_responses_of_zero_teach(make_task: MakeTask) -> None:
    layers = [InstantLayer(8, 6), InstantLayer(8, 5, seed=1, name="second")]
    silent, bare = (make_task(layers, precision="float64", loss="softmax") for _ in range(2))
    before = [block.weights.copy() for block in silent.rule.network.blocks]
    zeros = Modelled(silent.rule.network, [lambda drives, n=n: np.zeros((len(drives), n)) for n in (6, 5)])
    bare = without_responses(bare)
    for task, schedule in ((silent, zeros), (bare, Nothing())):
        make_training(task, schedule, Acquisition(task.rule.network, task.infos, None)).run()
    for block, alone, start, n in zip(
        silent.rule.network.blocks, bare.rule.network.blocks, before, (6, 5), strict=True
    ):
        assert np.array_equal(block.weights[:, :n], start[:, :n])
        assert np.abs(block.weights[:, n:] - start[:, n:]).max() > 1e-3
        np.testing.assert_allclose(alone.weights, block.weights[:, n:], rtol=1e-9, atol=1e-12)
