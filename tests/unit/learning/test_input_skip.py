"""`skip: input`: whatever the rule, the weights of later blocks see what entered the network beside the responses."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from labctl.contract.layer import ResponseValues
from labctl.learning.requests import Measure, Requests
from labctl.learning.rule import Batch, LearningRule

N_OUTPUTS, N_FEATURES, N_CLASSES = 6, 4, 5
UNITS = (7, 9, 3)
TWIN = {"twin": {"passes": 40, "hidden": 4, "epochs": 2}}
RULES: Mapping[str, Mapping[str, Any]] = {
    "phyll": {},
    "phyll-reference": {},
    "phyll-contrastive": {},
    "forward-forward": {},
    "readout": {},
    "feedback-alignment": {},
    "backpropagation": {},
    "spsa": {},
    "physics-aware": TWIN,
    "dual-adaptive": TWIN,
}
END_TO_END = {"feedback-alignment", "physics-aware", "dual-adaptive"}
LABELLED = {"phyll", "forward-forward"}

MakeLearner = Callable[..., LearningRule]
MakeBatch = Callable[..., Batch]
CarryOut = Callable[[Requests[Any]], tuple[Any, list[Measure]]]
Respond = Callable[[Measure], ResponseValues]


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def handed_on(rule: str, outputs: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return what the next block is sent of `outputs`, as the rule's own page says."""
    if rule == "forward-forward":
        return outputs / np.sqrt((outputs**2).mean(axis=-1, keepdims=True))
    return np.maximum(outputs, 0) if rule == "phyll-contrastive" else outputs


def seen(learner: LearningRule, request: Measure, first: Measure, respond: Respond) -> NDArray[np.floating]:
    """Return [standardised responses; what entered the network; 1] of a later block, (groups, k, width)."""
    standardiser = learner.network.blocks[request.block].standardiser
    responses = (respond(request) - standardiser.mean) * standardiser.gain
    one = np.ones((*request.labels.shape, 1))
    entered = np.broadcast_to(first.inputs, (*request.labels.shape, first.inputs.shape[-1]))
    return np.concatenate([responses, entered, one], axis=-1)


def prepared(make_learner: MakeLearner, make_batch: MakeBatch, carry_out: CarryOut, rule: str) -> LearningRule:
    settings = {"epochs": 3} if rule != "readout" else {}
    learner = make_learner(UNITS, skip="input", rule=rule, **settings, **RULES[rule])
    carry_out(learner.prepare(make_batch(30, dtype="float32"), rng(), range(3)))
    return learner


@pytest.mark.parametrize("rule", RULES)
def test_scores_come_from_what_entered_the_network(
    make_learner: MakeLearner, make_batch: MakeBatch, carry_out: CarryOut, respond: Respond, rule: str
) -> None:
    learner, batch = prepared(make_learner, make_batch, carry_out, rule), make_batch(12, seed=1)
    _, (first, second, third) = carry_out(learner.scores(batch.features, batch.samples, "test"))
    weights = learner.network.blocks[1].weights
    width = N_FEATURES + (N_CLASSES if rule in LABELLED else 0)
    assert weights.shape == (9, N_OUTPUTS + width + 1)
    expected = handed_on(rule, seen(learner, second, first, respond) @ weights.T)
    np.testing.assert_allclose(third.inputs, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule not in ("spsa", "backpropagation")])
def test_training_sends_the_third_block_what_the_second_makes_of_it(
    make_learner: MakeLearner, make_batch: MakeBatch, carry_out: CarryOut, respond: Respond, rule: str
) -> None:
    learner, batch = prepared(make_learner, make_batch, carry_out, rule), make_batch(12, seed=1)
    before = learner.network.blocks[1].weights.copy()
    _, asked = carry_out(learner.step(batch, rng(), 0.0, range(3)))
    weights = before if rule in END_TO_END else learner.network.blocks[1].weights
    for purpose in {request.purpose for request in asked}:
        first, second, third = (request for request in asked if request.purpose == purpose)
        expected = handed_on(rule, seen(learner, second, first, respond) @ weights.T)
        np.testing.assert_allclose(third.inputs, expected, rtol=1e-4, atol=1e-5)


def test_all_weights_that_are_tried_see_the_same_input(
    make_learner: MakeLearner, make_batch: MakeBatch, carry_out: CarryOut, respond: Respond
) -> None:
    """Of what each direction of SPSA hands on, there and back, the difference comes from its own weights alone."""
    learner, batch = prepared(make_learner, make_batch, carry_out, "spsa"), make_batch(12, seed=1)
    start, length = learner.network.blocks[1].weights.copy(), 0.01
    learner = make_learner(UNITS, skip="input", rule="spsa", epochs=3, directions=1, perturbation=length)
    carry_out(learner.prepare(make_batch(30, dtype="float32"), rng(), range(3)))
    np.testing.assert_array_equal(learner.network.blocks[1].weights, start)
    _, (first, second, third) = carry_out(learner.step(batch, rng(), 0.0, range(3)))
    generator = rng()
    shapes = [block.weights.shape for block in learner.network.blocks[:2]]
    _, signs = (generator.choice(np.array([-1.0, 1.0]), size=shape) for shape in shapes)
    z = seen(learner, second, first, respond)
    for way, sign in ((0, 1), (1, -1)):
        expected = z[:, way] @ (start + sign * length * signs).T
        np.testing.assert_allclose(third.inputs[:, way], expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("rule", ["phyll", "phyll-reference"])
def test_the_multiplications_are_what_was_counted_by_hand(
    make_learner: MakeLearner, make_batch: MakeBatch, carry_out: CarryOut, rule: str
) -> None:
    learner, batch = prepared(make_learner, make_batch, carry_out, rule), make_batch(12, seed=1)
    width = N_FEATURES + (N_CLASSES if rule in LABELLED else 0)
    sizes = [units * (N_OUTPUTS + width + 1) for units in UNITS]
    passes, along_references = (N_CLASSES, 0) if rule in LABELLED else (1, N_CLASSES * sum(UNITS))
    learner.work.scoring = 0
    carry_out(learner.scores(batch.features, batch.samples, "test"))
    assert learner.work.scoring == 12 * (passes * sum(sizes) + along_references)
