"""PhyLL: what it asks to be measured, and what it does with the answers."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from labctl.contract.layer import ResponseValues
from labctl.learning.gradient import GoodnessGradient
from labctl.learning.loss import PairLoss
from labctl.learning.requests import Measure, Requests
from labctl.learning.rule import Batch, LearningRule
from labctl.network.goodness import goodness

N_CLASSES = 5

MakeLearner = Callable[..., LearningRule]
MakeBatch = Callable[..., Batch]
CarryOut = Callable[[Requests[Any]], tuple[Any, list[Measure]]]
Respond = Callable[[Measure], ResponseValues]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def every_block(learner: LearningRule) -> range:
    return range(len(learner.network.blocks))


def step_gradient(learner: LearningRule, asked: Measure, respond: Respond, block: int = 0) -> np.ndarray:
    """Return the gradient that the pairs of `asked` give for the block's weights as they are now."""
    inputs = asked.inputs.reshape(asked.n_rows, -1)
    features = learner.network.blocks[block].features(inputs, respond(asked).reshape(asked.n_rows, -1), inputs)
    return GoodnessGradient(learner.network.blocks[block].reference, PairLoss(5.0), 2)(
        learner.network.blocks[block].weights, features
    )


@pytest.mark.parametrize("units", [(7,), (7, 3), (4, 4, 4)])
def test_a_step_asks_for_exactly_two_rows_per_sample_and_block(
    make_learner: MakeLearner, make_batch: MakeBatch, carry_out: CarryOut, units: tuple[int, ...]
) -> None:
    learner, batch = make_learner(units), make_batch(20, first=100)
    carry_out(learner.prepare(batch, rng(), every_block(learner)))
    _, asked = carry_out(learner.step(batch, rng(), 0.0, every_block(learner)))
    assert [request.block for request in asked] == list(range(len(units)))
    for request in asked:
        assert request.purpose == "train"
        assert request.labels.shape == (20, 2)
        assert request.inputs.shape[:2] == (20, 2)
        assert request.samples.tolist() == batch.samples.tolist()
        assert request.labels[:, 0].tolist() == batch.labels.tolist()


def test_negatives_are_never_the_label_and_uniform_over_the_others(
    make_learner: MakeLearner, make_batch: MakeBatch, carry_out: CarryOut
) -> None:
    learner, batch = make_learner(), make_batch(20_000)
    carry_out(learner.prepare(make_batch(20), rng(), every_block(learner)))
    _, (asked,) = carry_out(learner.step(batch, rng(), 0.0, every_block(learner)))
    offset = (asked.labels[:, 1] - asked.labels[:, 0]) % N_CLASSES
    counts = np.bincount(offset, minlength=N_CLASSES)
    expected = len(batch.labels) / (N_CLASSES - 1)
    assert counts[0] == 0
    assert ((counts[1:] - expected) ** 2 / expected).sum() < 16.3  # chi-squared, 3 degrees of freedom, 99.9 %


def test_the_two_rows_of_a_sample_differ_in_their_label_alone(
    make_learner: MakeLearner, make_batch: MakeBatch, carry_out: CarryOut
) -> None:
    learner, batch = make_learner(), make_batch(10)
    carry_out(learner.prepare(batch, rng(), every_block(learner)))
    _, (asked,) = carry_out(learner.step(batch, rng(), 0.0, every_block(learner)))
    assert asked.inputs[:, :, :N_CLASSES].argmax(axis=2).tolist() == asked.labels.tolist()
    assert np.array_equal(asked.inputs[:, 0, N_CLASSES:], batch.features)
    assert np.array_equal(asked.inputs[:, 1, N_CLASSES:], batch.features)


def test_the_second_block_is_sent_what_the_updated_first_block_puts_out(
    make_learner: MakeLearner, make_batch: MakeBatch, carry_out: CarryOut, respond: Respond
) -> None:
    learner, batch = make_learner((7, 3)), make_batch(10)
    carry_out(learner.prepare(batch, rng(), every_block(learner)))
    first = learner.network.blocks[0]
    before = first.weights.copy()
    _, (to_first, to_second) = carry_out(learner.step(batch, rng(), 0.0, every_block(learner)))
    sent = to_first.inputs.reshape(20, -1)
    features = first.features(sent, respond(to_first).reshape(20, -1), sent)
    assert np.array_equal(to_second.inputs.reshape(20, -1), features @ first.weights.T)
    assert not np.allclose(to_second.inputs.reshape(20, -1), features @ before.T)


def test_inner_steps_descend_on_one_measurement(
    make_learner: MakeLearner, make_batch: MakeBatch, carry_out: CarryOut, respond: Respond
) -> None:
    one, many = make_learner(inner_steps=1), make_learner(inner_steps=30)
    losses: list[float] = []
    for learner in (one, many):
        batch = make_batch(40)
        carry_out(learner.prepare(batch, rng(), every_block(learner)))
        _, asked = carry_out(learner.step(batch, rng(), 0.0, every_block(learner)))
        assert len(asked) == 1
        block = learner.network.blocks[0]
        gradient = GoodnessGradient(block.reference, PairLoss(5.0), 2)
        flat = asked[0].inputs.reshape(80, -1)
        gradient(block.weights, block.features(flat, respond(asked[0]).reshape(80, -1), flat))
        losses.append(gradient.loss())
    assert losses[1] < losses[0]


def test_the_first_update_of_adam_moves_every_weight_by_the_learning_rate_against_its_gradient(
    make_learner: MakeLearner, make_batch: MakeBatch, carry_out: CarryOut, respond: Respond
) -> None:
    learner, batch = make_learner(inner_steps=1, precision="float64"), make_batch(30, dtype="float64")
    carry_out(learner.prepare(batch, rng(), every_block(learner)))
    _, (asked,) = carry_out(learner.step(batch, rng(5), 0.0, every_block(learner)))
    after = learner.network.blocks[0].weights.copy()
    again = make_learner(inner_steps=1, precision="float64")
    carry_out(again.prepare(batch, rng(), every_block(again)))
    moved = after - again.network.blocks[0].weights
    np.testing.assert_allclose(moved, -5e-4 * np.sign(step_gradient(again, asked, respond)), rtol=1e-3)


def test_figures_of_a_step_are_those_of_its_pairs(
    make_learner: MakeLearner, make_batch: MakeBatch, carry_out: CarryOut, respond: Respond
) -> None:
    learner, batch = make_learner((7,), inner_steps=1), make_batch(30)
    carry_out(learner.prepare(batch, rng(), every_block(learner)))
    block = learner.network.blocks[0]
    before = block.weights.copy()
    metrics, (asked,) = carry_out(learner.step(batch, rng(), 0.0, every_block(learner)))
    inputs = asked.inputs.reshape(60, -1)
    features = block.features(inputs, respond(asked).reshape(60, -1), inputs)
    pairs = goodness(features @ before.T, block.reference).reshape(30, 2)
    margins = pairs[:, 0] - pairs[:, 1]
    assert metrics["block1.goodness_positive"] == pytest.approx(pairs[:, 0].mean(), abs=1e-6)
    assert metrics["block1.goodness_negative"] == pytest.approx(pairs[:, 1].mean(), abs=1e-6)
    assert metrics["block1.pairs_right"] == pytest.approx((margins > 0).mean())
    assert metrics["block1.loss"] == pytest.approx(np.log1p(np.exp(-5.0 * margins)).mean(), abs=1e-6)


def test_preparation_fits_block_by_block_on_training_inputs_with_any_label(
    make_learner: MakeLearner, make_batch: MakeBatch, carry_out: CarryOut, respond: Respond
) -> None:
    learner, batch = make_learner((7, 3)), make_batch(300)
    _, asked = carry_out(learner.prepare(batch, rng(1), every_block(learner)))
    assert [request.purpose for request in asked] == ["statistics", "statistics"]
    assert all(request.labels.shape == (300, 1) for request in asked)
    assert not np.array_equal(asked[0].labels[:, 0], batch.labels)
    assert set(asked[0].labels.ravel().tolist()) == set(range(N_CLASSES))
    for request, block in zip(asked, learner.network.blocks, strict=True):
        standard = block.standardiser.apply(respond(request)[:, 0])
        np.testing.assert_allclose(standard.mean(axis=0), 0, atol=1e-4)
        np.testing.assert_allclose(standard.std(axis=0), 1, rtol=1e-4)


def test_scores_sweep_every_label_and_add_the_goodness_of_all_blocks(
    make_learner: MakeLearner, make_batch: MakeBatch, carry_out: CarryOut, respond: Respond
) -> None:
    learner, batch = make_learner((7, 3)), make_batch(12)
    carry_out(learner.prepare(batch, rng(), every_block(learner)))
    scores, asked = carry_out(learner.scores(batch.features, batch.samples, "test"))
    total = np.zeros((12, N_CLASSES))
    for request, block in zip(asked, learner.network.blocks, strict=True):
        assert request.purpose == "test"
        assert (request.labels == np.arange(N_CLASSES)).all()
        inputs = request.inputs.reshape(60, -1)
        features = block.features(inputs, respond(request).reshape(60, -1), inputs)
        total += goodness(block.outputs(features), block.reference).reshape(12, N_CLASSES)
    np.testing.assert_allclose(scores, total, atol=1e-6)


def test_confidence_is_a_distribution_that_keeps_the_order_of_scores(make_learner: MakeLearner) -> None:
    scores = rng().uniform(-2, 2, (30, N_CLASSES))
    confidence = make_learner().confidence(scores)
    np.testing.assert_allclose(confidence.sum(axis=1), 1)
    assert (confidence.argsort(axis=1) == scores.argsort(axis=1)).all()
    odds = confidence[:, 0] / confidence[:, 1]
    np.testing.assert_allclose(odds, np.exp(5.0 * (scores[:, 0] - scores[:, 1])))


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("units", [(7,), (7, 3)])
def test_a_rule_restored_midway_goes_on_as_if_never_interrupted(
    make_learner: MakeLearner, make_batch: MakeBatch, carry_out: CarryOut, units: tuple[int, ...], precision: str
) -> None:
    whole, resumed = (make_learner(units, precision=precision) for _ in range(2))
    batches = [make_batch(15, first=15 * i, seed=i, dtype=precision) for i in range(6)]
    carry_out(whole.prepare(batches[0], rng(), every_block(whole)))
    for i, batch in enumerate(batches):
        if i == 3:
            resumed.restore({name: array.copy() for name, array in whole.arrays().items()})
        carry_out(whole.step(batch, rng(i), i / 6, every_block(whole)))
        if i >= 3:
            carry_out(resumed.step(batch, rng(i), i / 6, every_block(resumed)))
    assert whole.arrays().keys() == resumed.arrays().keys()
    for name, array in whole.arrays().items():
        assert array.dtype == resumed.arrays()[name].dtype, name
        assert array.tobytes() == resumed.arrays()[name].tobytes(), name


def test_training_tells_labels_apart(make_learner: MakeLearner, make_batch: MakeBatch, carry_out: CarryOut) -> None:
    learner = make_learner((30,), inner_steps=10, theta=10.0, optimizer={"lr": 5e-3})
    batch = make_batch(150)
    easy = Batch(np.eye(4, dtype=np.float32)[batch.labels % 4] + batch.features / 10, batch.labels % 4, batch.samples)
    carry_out(learner.prepare(easy, rng(), every_block(learner)))
    for i in range(30):
        carry_out(learner.step(easy, rng(i), 0.0, every_block(learner)))
    scores, _ = carry_out(learner.scores(easy.features, easy.samples, "test"))
    assert (scores.argmax(axis=1) == easy.labels).mean() > 0.95
