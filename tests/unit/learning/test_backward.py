"""Sending the error back: gradients against finite differences, twins against what they were fitted to."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from labctl.config.training import Adam as AdamSettings
from labctl.config.training import Twin as TwinSettings
from labctl.learning.loss import cross_entropy
from labctl.learning.perceptron import Perceptron
from labctl.learning.requests import Differentiate, Measure, Requests
from labctl.learning.rule import Batch, Demand, LearningRule
from labctl.learning.twin import Twin, crossed

N_CLASSES, N_INPUTS, N_OUTPUTS, N_FEATURES = 5, 8, 6, 4
UNITS = (7, 3)
SIZES = [7 * (N_OUTPUTS + N_FEATURES + 1), 3 * (N_OUTPUTS + 7 + 1), N_CLASSES * (3 + 1)]
TRANSFER = 0.5 * np.random.default_rng(7).standard_normal((N_INPUTS, N_OUTPUTS))
TWIN = {"passes": 400, "hidden": 24, "epochs": 300}

MakeLearner = Callable[..., LearningRule]
MakeBatch = Callable[..., Batch]


def physics(drives: np.ndarray) -> np.ndarray:
    return np.sin(drives.astype(np.float64) @ TRANSFER)


def run(learner: LearningRule, requests: Requests[Any]) -> tuple[Any, list[Measure]]:
    """Answer from the physics of drives, and from its derivative."""
    asked: list[Measure] = []
    try:
        request = next(requests)
        while True:
            encoder = learner.network.blocks[request.block].encoder
            if isinstance(request, Differentiate):
                slope = np.cos(encoder.encode(request.inputs).drives.astype(np.float64) @ TRANSFER)
                request = requests.send((request.upstream * slope) @ TRANSFER.T)
                continue
            asked.append(request)
            drives = encoder.encode(request.inputs.reshape(request.n_rows, -1)).drives
            request = requests.send(physics(drives).reshape(*request.labels.shape, -1))
    except StopIteration as finished:
        return finished.value, asked


def trained(learner: LearningRule, batch: Batch) -> LearningRule:
    run(learner, learner.prepare(batch, np.random.default_rng(0), range(len(learner.network.blocks))))
    return learner


def first_gradients(learner: LearningRule, batch: Batch) -> list[np.ndarray]:
    """Return the gradients of both blocks and the output layer behind the optimisers' first update."""
    run(learner, learner.step(batch, np.random.default_rng(0), 0.0, range(2)))
    return [learner.arrays()[f"adam{number}.first"] / 0.1 for number in range(3)]


@pytest.mark.parametrize("skip", [True, False, "input"])
def test_backpropagation_agrees_with_finite_differences_of_the_whole_network(
    make_learner: MakeLearner, make_batch: MakeBatch, skip: bool | str
) -> None:
    settings = {"rule": "backpropagation", "epochs": 2, "precision": "float64"}
    batch = make_batch(30, dtype="float64")
    learner = trained(make_learner(UNITS, skip=skip, **settings), batch)
    start = {name: array.copy() for name, array in learner.arrays().items()}

    def loss(name: str, index: tuple[int, ...], step: float) -> float:
        moved = start[name].copy()
        moved[index] += step
        learner.restore(start | {name: moved})
        scores, _ = run(learner, learner.scores(batch.features, batch.samples, "test"))
        return cross_entropy(scores, batch.labels)[0]

    found = first_gradients(learner, batch)
    # Drives are single precision, so that steps must be large; a few values are clipped on the way.
    for name, gradient in zip(("block0.weights", "block1.weights", "head.weights"), found, strict=True):
        for index in [(0, 0), (2, 1), (1, gradient.shape[1] - 1)]:
            slope = (loss(name, index, 2e-3) - loss(name, index, -2e-3)) / 4e-3
            assert gradient[index] == pytest.approx(slope, rel=0.02, abs=2e-4), (name, index)


@pytest.mark.parametrize(("skip", "seen", "led_back"), [(True, 7, 7), (False, 0, 0), ("input", N_FEATURES, 0)])
def test_a_step_back_costs_what_was_counted_by_hand(
    make_learner: MakeLearner, make_batch: MakeBatch, skip: bool | str, seen: int, led_back: int
) -> None:
    """The second block's weights see so many values past the layer; through so many of them the error goes back."""
    batch = make_batch(30)
    learner = trained(make_learner(UNITS, skip=skip, rule="backpropagation", epochs=2), batch)
    learner.work.forward = 0
    run(learner, learner.step(batch, np.random.default_rng(0), 0.0, range(2)))
    first = 7 * (N_OUTPUTS + (N_FEATURES if skip else 0) + 1)
    sizes = first + 3 * (N_OUTPUTS + seen + 1) + N_CLASSES * (3 + 1)
    assert learner.work.forward == 30 * sizes
    back = 30 * N_CLASSES * 3 + 30 * 3 * (N_OUTPUTS + led_back)
    assert learner.work.update == 30 * sizes + back
    assert learner.work.twin == 0


@pytest.mark.parametrize(
    ("rule", "blocks", "training_rows"),
    [("physics-aware", [1], 2), ("dual-adaptive", [1], 2), ("in-silico", [0, 1], 0)],
)
def test_a_twin_has_passes_of_its_own_and_its_gradient_points_where_the_true_one_does(
    make_learner: MakeLearner, make_batch: MakeBatch, rule: str, blocks: list[int], training_rows: int
) -> None:
    batch = make_batch(60, dtype="float64")
    exact = trained(make_learner(UNITS, rule="backpropagation", epochs=2, precision="float64"), batch)
    learner = make_learner(UNITS, rule=rule, epochs=2, precision="float64", twin=TWIN)
    _, asked = run(learner, learner.prepare(batch, np.random.default_rng(0), range(2)))
    assert [(a.block, a.n_rows) for a in asked if a.purpose == "twin"] == [(block, 400) for block in blocks]
    assert [learner.demand(b) for b in range(2)] == [
        Demand(kept=training_rows, once=400 if b in blocks else 0) for b in range(2)
    ]
    for block in blocks:
        assert learner.arrays()[f"twin{block}.r2"][0] > 0.9
    learner.network.restore(exact.network.arrays())
    expected, found = first_gradients(exact, batch)[0], first_gradients(learner, batch)[0]
    cosine = (expected * found).sum() / np.linalg.norm(expected) / np.linalg.norm(found)
    assert cosine > 0.9


def test_the_work_of_a_twin_is_what_was_counted_by_hand(make_learner: MakeLearner, make_batch: MakeBatch) -> None:
    batch, hidden = make_batch(60), 24
    learner = trained(make_learner(UNITS, rule="physics-aware", epochs=2, twin=TWIN), batch)
    inner, outer = hidden * (N_INPUTS + 1), N_OUTPUTS * (hidden + N_INPUTS + 1)
    mixing = N_INPUTS * UNITS[0]
    fit = 300 * 360 * (2 * (inner + outer) + N_OUTPUTS * hidden) + 40 * (inner + outer) + 400 * mixing
    assert learner.work.twin == fit, "300 epochs of 360 rows, 40 held out"
    run(learner, learner.step(batch, np.random.default_rng(0), 0.0, range(2)))
    assert learner.work.twin - fit == 60 * (inner + N_OUTPUTS * (hidden + N_INPUTS) + hidden * N_INPUTS + mixing)


def test_the_perceptrons_derivatives_agree_with_finite_differences() -> None:
    generator = np.random.default_rng(0)
    model = Perceptron(3, 5, 2, AdamSettings(lr=1e-9), generator)
    model.outer[:] = generator.normal(size=model.outer.shape)
    x, y, upstream = generator.normal(size=(4, 3)), generator.normal(size=(4, 2)), generator.normal(size=(4, 2))
    for column, moved in enumerate(1e-6 * np.eye(3)):
        slope = ((model(x + moved) - model(x - moved)) / 2e-6 * upstream).sum(axis=1)
        np.testing.assert_allclose(model.pull_back(x, upstream)[:, column], slope, rtol=1e-6, atol=1e-8)
    before = model.arrays()["inner"].copy(), model.arrays()["outer"].copy()
    model.train(x, y)
    gradients = [model.arrays()[f"adam_{name}_first"] / 0.1 for name in ("inner", "outer")]
    for name, start, gradient in zip(("inner", "outer"), before, gradients, strict=True):
        for index in [(0, 0), (1, 3)]:
            losses: list[float] = []
            for way in (1, -1):
                model.inner, model.outer = (array.copy() for array in before)
                moved = start.copy()
                moved[index] += way * 1e-6
                setattr(model, name, moved)
                losses.append(float(((model(x) - y) ** 2).mean()))
            assert gradient[index] == pytest.approx((losses[0] - losses[1]) / 2e-6, rel=1e-5, abs=1e-8)


def test_a_twin_says_how_good_it_is_on_rows_it_has_not_seen() -> None:
    generator = np.random.default_rng(0)
    drives = generator.random((500, N_INPUTS)).astype(np.float32)
    settings = TwinSettings.model_validate(TWIN)
    good, noise = (Twin(settings, N_INPUTS, N_OUTPUTS, np.random.default_rng(1)) for _ in range(2))
    good.fit(drives, physics(drives), np.random.default_rng(2))
    noise.fit(drives, generator.normal(size=(500, N_OUTPUTS)), np.random.default_rng(2))
    assert good.r2 > 0.9
    assert noise.r2 < 0.1
    fresh = generator.random((200, N_INPUTS)).astype(np.float32)
    assert np.corrcoef(good.respond(fresh).ravel(), physics(fresh).ravel())[0, 1] > 0.95


def test_crossed_inputs_take_every_value_from_its_own_place() -> None:
    inputs = np.arange(20.0).reshape(5, 4)
    varied, origin = crossed(inputs, 300, np.random.default_rng(0))
    assert all(np.isin(varied[:, place], inputs[:, place]).all() for place in range(4))
    assert set(origin) == set(range(5))
    assert len(np.unique(varied, axis=0)) > 20
