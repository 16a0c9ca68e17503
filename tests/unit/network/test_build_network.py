"""A network built from settings: what its blocks compute, save and take over, and what does not fit."""

from typing import Any

import numpy as np
import pytest

from labctl.config.network import Network as NetworkSettings
from labctl.contract.errors import InputError
from labctl.contract.layer import Channel, LayerInfo
from labctl.network.network import Network, build_network
from labctl.network.randomness import named_generator
from labctl.network.standardise import Standardiser


def layer(n_inputs: int, n_outputs: int) -> LayerInfo:
    inputs = tuple(Channel(f"x{i}", "1", 0.0, 1.0) for i in range(n_inputs))
    outputs = tuple(Channel(f"y{i}", "1", 0.0, np.inf) for i in range(n_outputs))
    return LayerInfo("physics", inputs, outputs, 1.0, frozenset({"it"}), simulated=True)


def block(**changes: Any) -> dict[str, Any]:
    return {"layer": "cavity", "encoder": {"kind": "fitted-range", "mix": "orthogonal"}, "skip": True, "units": 5} | (
        changes
    )


def network(*blocks: dict[str, Any], seed: int = 1, precision: str = "float32", **label: Any) -> Network:
    settings = NetworkSettings.model_validate({"label": {"kind": "one-hot"} | label, "blocks": blocks})
    infos = [layer(6, 4)] * len(blocks)
    return build_network(settings, infos, n_features=3, n_classes=2, seed=seed, precision=precision)


def test_features_are_responses_then_skip_then_one() -> None:
    built = network(block()).blocks[0]
    built.standardiser = Standardiser(np.full(4, 1.0, np.float32), np.full(4, 2.0, np.float32))
    inputs = np.arange(10, dtype=np.float32).reshape(2, 5)
    z = built.features(inputs, np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.uint16), inputs)
    assert z.dtype == np.float32
    assert z.tolist() == [[0, 2, 4, 6, 0, 1, 2, 3, 4, 1], [8, 10, 12, 14, 5, 6, 7, 8, 9, 1]]
    assert np.array_equal(built.outputs(z), z @ built.weights.T)


def test_a_response_scale_weighs_the_physics_against_the_skip() -> None:
    responses, inputs = np.random.default_rng(0).normal(3, 2, (50, 4)), np.ones((50, 5))
    built = network(block(response_scale=0.3)).blocks[0]
    built.standardiser = built.standardiser.fitted(responses)
    z = built.features(inputs, responses, inputs)
    np.testing.assert_allclose(z[:, :4].std(axis=0), 0.3, rtol=1e-4)
    assert (z[:, 4:] == 1).all()


def test_without_skip_the_weights_see_the_physics_alone() -> None:
    built = network(block(skip=False)).blocks[0]
    inputs = np.ones((1, 5), np.float32)
    z = built.features(inputs, np.array([[1.0, 2, 3, 4]], np.float32), inputs)
    assert z.tolist() == [[1, 2, 3, 4, 1]]
    assert built.weights.shape == (5, 4 + 1)


def test_the_next_block_takes_the_outputs_of_the_one_before() -> None:
    built = network(block(units=7), block(units=3), pad=1)
    width = 2 + 1 + 3
    assert [made.weights.shape for made in built.blocks] == [(7, 4 + width + 1), (3, 4 + 7 + 1)]
    assert [made.encoder.mixing is not None and made.encoder.mixing.shape for made in built.blocks] == [(6, 6), (6, 7)]


def test_a_later_block_can_see_what_entered_the_network_in_place_of_what_it_was_sent() -> None:
    built = network(block(units=7), block(units=3, skip="input"), pad=1).blocks[1]
    first, hidden = np.arange(12, dtype=np.float32).reshape(2, 6), np.full((2, 7), -1, np.float32)
    z = built.features(hidden, np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.float32), first)
    assert z.tolist() == [[1, 2, 3, 4, 0, 1, 2, 3, 4, 5, 1], [5, 6, 7, 8, 6, 7, 8, 9, 10, 11, 1]]
    assert built.weights.shape == (3, 4 + 6 + 1)
    assert built.encoder.mixing is not None
    assert built.encoder.mixing.shape == (6, 7)


def test_the_same_seed_gives_the_first_block_the_same_draws_whatever_later_ones_skip() -> None:
    plain, dense = network(block(), block()).arrays(), network(block(), block(skip="input")).arrays()
    assert all(np.array_equal(array, dense[name]) for name, array in plain.items() if "block0" in name)


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_weights_are_drawn_within_the_authors_bound_in_the_precision_asked_for(precision: str) -> None:
    built = network(block(units=400), precision=precision).blocks[0]
    bound = 1 / np.sqrt(9)
    assert built.weights.dtype == built.reference.dtype == precision
    assert np.abs(built.weights).max() <= bound
    assert built.weights.std() == pytest.approx(bound / np.sqrt(3), rel=0.05)


def test_a_network_follows_its_seed_and_no_two_blocks_share_a_draw() -> None:
    first, again, other = network(block(), block()), network(block(), block()), network(block(), block(), seed=2)
    assert all(np.array_equal(array, again.arrays()[name]) for name, array in first.arrays().items())
    for name in ("weights", "reference", "encoder.mixing"):
        assert not np.array_equal(first.arrays()[f"block0.{name}"], other.arrays()[f"block0.{name}"])
    assert not np.array_equal(first.blocks[0].reference, first.blocks[1].reference)


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_a_restored_network_computes_the_same_and_learns_apart(precision: str) -> None:
    first, second = network(block(), precision=precision), network(block(), seed=2, precision=precision)
    generator = np.random.default_rng(0)
    inputs, responses = generator.standard_normal((8, 5)), generator.random((8, 4))
    built = first.blocks[0]
    built.encoder.fit(inputs)
    built.standardiser = built.standardiser.fitted(responses)
    second.restore(first.arrays())
    restored = second.blocks[0]
    assert np.array_equal(built.encoder.encode(inputs).drives, restored.encoder.encode(inputs).drives)
    z = built.features(inputs, responses, inputs)
    assert np.array_equal(z, restored.features(inputs, responses, inputs))
    assert np.array_equal(built.outputs(z), restored.outputs(z))
    built.weights += 1
    assert not np.array_equal(built.weights, restored.weights)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (network(block(units=6)), r"block 1: expected weights of shape \(5, 10\), found shape \(6, 10\)"),
        (network(block(), block()), r"block 2: expected weights of shape \(5, 10\), found nothing"),
    ],
)
def test_arrays_of_another_network_are_refused(other: Network, message: str) -> None:
    mine, saved = (other, network(block())) if len(other.blocks) == 2 else (network(block()), other)
    with pytest.raises(InputError, match=message):
        mine.restore(saved.arrays())


def test_a_block_that_does_not_fit_its_layer_is_named() -> None:
    with pytest.raises(InputError, match=r"^block 2 on layer 'attic': encoder direct sends 4 values, but the layer"):
        network(block(units=4), block(layer="attic", encoder="direct"))


def test_named_streams_are_reproducible_and_apart() -> None:
    draws = {
        names: tuple(named_generator(seed, *parts).integers(2**62, size=2).tolist())
        for names, (seed, parts) in {
            "a": (1, ("weights", 1)),
            "b": (1, ("weights", 2)),
            "c": (1, ("mixing", 1)),
            "d": (2, ("weights", 1)),
        }.items()
    }
    assert len(set(draws.values())) == 4
    assert tuple(named_generator(1, "weights", 1).integers(2**62, size=2).tolist()) == draws["a"]
