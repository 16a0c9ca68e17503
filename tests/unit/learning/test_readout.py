"""Readout only: one pass per sample and a ridge regression in closed form."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from labctl.contract.layer import ResponseValues
from labctl.learning.requests import Measure, Requests
from labctl.learning.rule import Batch, LearningRule

N_CLASSES = 5

MakeLearner = Callable[..., LearningRule]
MakeBatch = Callable[..., Batch]
CarryOut = Callable[[Requests[Any]], tuple[Any, list[Measure]]]
Respond = Callable[[Measure], ResponseValues]


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def every_block(learner: LearningRule) -> range:
    return range(len(learner.network.blocks))


def parts(batch: Batch, size: int) -> list[Batch]:
    cuts = [slice(start, start + size) for start in range(0, len(batch.labels), size)]
    return [Batch(batch.features[cut], batch.labels[cut], batch.samples[cut]) for cut in cuts]


def measured_features(learner: LearningRule, asked: list[Measure], respond: Respond) -> np.ndarray:
    """Return what the readout saw, (n, all blocks' features), from the requests of one sweep."""
    per_block = [
        learner.network.blocks[request.block].features(
            request.inputs[:, 0], respond(request)[:, 0], asked[0].inputs[:, 0]
        )
        for request in asked
    ]
    return np.concatenate(per_block, axis=1).astype(np.float64)


@pytest.mark.parametrize("units", [(7,), (7, 3)])
def test_one_row_per_sample_and_block_and_no_label_in_it(
    make_learner: MakeLearner, make_batch: MakeBatch, carry_out: CarryOut, units: tuple[int, ...]
) -> None:
    learner, batch = make_learner(units, rule="readout"), make_batch(20, first=50)
    _, prepared = carry_out(learner.prepare(batch, rng(), every_block(learner)))
    _, stepped = carry_out(learner.step(batch, rng(), 0.0, every_block(learner)))
    learner.finish()
    scores, scored = carry_out(learner.scores(batch.features, batch.samples, "test"))
    assert scores.shape == (20, N_CLASSES)
    for asked, purpose in ((prepared, "statistics"), (stepped, "train"), (scored, "test")):
        assert [request.block for request in asked] == list(range(len(units)))
        for request in asked:
            assert request.purpose == purpose
            assert request.labels.tolist() == [[-1]] * 20
            assert request.n_rows == 20
        assert np.array_equal(asked[0].inputs[:, 0], batch.features)


@pytest.mark.parametrize("units", [(7,), (7, 3)])
@pytest.mark.parametrize("ridge", [1e-6, 1e-2])
def test_scores_are_those_of_ridge_regression_on_all_blocks_features(
    make_learner: MakeLearner,
    make_batch: MakeBatch,
    carry_out: CarryOut,
    respond: Respond,
    units: tuple[int, ...],
    ridge: float,
) -> None:
    from sklearn.linear_model import Ridge

    learner, batch, unseen = make_learner(units, rule="readout", ridge=ridge), make_batch(90), make_batch(30, seed=9)
    carry_out(learner.prepare(batch, rng(), every_block(learner)))
    seen: list[np.ndarray] = []
    for part in parts(batch, 40):
        _, asked = carry_out(learner.step(part, rng(), 0.0, every_block(learner)))
        seen.append(measured_features(learner, asked, respond))
    learner.finish()
    scores, asked = carry_out(learner.scores(unseen.features, unseen.samples, "test"))
    features = np.concatenate(seen)
    penalty = ridge * (features**2).sum() / features.shape[1]
    model: Any = Ridge(alpha=penalty, fit_intercept=False, solver="svd")
    model.fit(features, np.eye(N_CLASSES)[batch.labels])
    np.testing.assert_allclose(scores, model.predict(measured_features(learner, asked, respond)), atol=1e-6)


def test_it_learns_what_the_features_say(make_learner: MakeLearner, make_batch: MakeBatch, carry_out: CarryOut) -> None:
    learner, drawn = make_learner(rule="readout"), make_batch(200)
    labels = drawn.labels % 4
    batch = Batch(np.eye(4, dtype=np.float32)[labels] + drawn.features / 10, labels, drawn.samples)
    carry_out(learner.prepare(batch, rng(), every_block(learner)))
    carry_out(learner.step(batch, rng(), 0.0, every_block(learner)))
    learner.finish()
    scores, _ = carry_out(learner.scores(batch.features, batch.samples, "test"))
    assert (scores.argmax(axis=1) == labels).mean() > 0.95


def test_confidence_is_a_distribution_whatever_the_scores(make_learner: MakeLearner) -> None:
    scores = np.concatenate([rng().uniform(-1, 2, (20, N_CLASSES)), np.full((1, N_CLASSES), -5.0)])
    confidence = make_learner(rule="readout").confidence(scores)
    np.testing.assert_allclose(confidence.sum(axis=1), 1)
    assert (confidence > 0).all()


def test_a_readout_restored_midway_goes_on_as_if_never_interrupted(
    make_learner: MakeLearner, make_batch: MakeBatch, carry_out: CarryOut
) -> None:
    whole, resumed = make_learner((7, 3), rule="readout"), make_learner((7, 3), rule="readout")
    batches = parts(make_batch(100), 20)
    carry_out(whole.prepare(batches[0], rng(), every_block(whole)))
    for i, batch in enumerate(batches):
        if i == 2:
            resumed.restore({name: array.copy() for name, array in whole.arrays().items()})
        carry_out(whole.step(batch, rng(), 0.0, every_block(whole)))
        if i >= 2:
            carry_out(resumed.step(batch, rng(), 0.0, every_block(resumed)))
    whole.finish()
    resumed.finish()
    for name, array in whole.arrays().items():
        assert array.tobytes() == resumed.arrays()[name].tobytes(), name
