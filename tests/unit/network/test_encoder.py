"""Encoders: within the layer's range whatever comes, and otherwise exactly the formula."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import TypeAdapter

from labctl.config.network import Encoder as EncoderSettings
from labctl.contract.errors import InputError
from labctl.contract.layer import Channel, LayerInfo, find_misfit
from labctl.network.encoder import QUANTILE_POINTS, Encoder, check_levels, make_encoder
from labctl.network.randomness import named_generator

SETTINGS: TypeAdapter[EncoderSettings] = TypeAdapter(EncoderSettings)
BOUNDED = ("fitted-range", "quantile", "unit-energy", "two-bit")

Vectors = NDArray[np.float64]


def channels(n: int, low: float = 0.0, high: float = 1.0) -> tuple[Channel, ...]:
    return tuple(Channel(f"x{i}", "1", low, high) for i in range(n))


def encoder(settings: str | dict[str, Any], width: int, inputs: Sequence[Channel]) -> Encoder:
    return make_encoder(SETTINGS.validate_python(settings), width, inputs, named_generator(1, "mixing", 1))


ranges = st.tuples(st.floats(-1e3, 1e3), st.floats(1e-2, 1e3)).map(lambda pair: (pair[0], pair[0] + pair[1]))
seeds = st.integers(0, 2**32 - 1)


@given(st.sampled_from(BOUNDED), st.sampled_from(["none", "orthogonal"]), ranges, seeds, st.floats(1e-6, 1e6))
def test_drives_stay_within_every_channels_range(
    kind: str, mix: str, limits: tuple[float, float], seed: int, scale: float
) -> None:
    inputs = channels(8, *limits)
    made = encoder({"kind": kind, "mix": mix}, 4 if kind == "two-bit" else 8, inputs)
    vectors = scale * np.random.default_rng(seed).standard_normal((20, 4 if kind == "two-bit" else 8))
    made.fit(vectors[:10])
    drives = made.encode(vectors).drives
    assert drives.dtype == np.float32
    assert drives.shape == (20, 8)
    assert (drives >= np.float32(limits[0])).all()
    assert (drives <= np.float32(limits[1])).all()


def test_direct_sends_the_vector_and_leaves_refusing_to_the_layer() -> None:
    vectors = np.array([[0.25, -7.0, 1e6]])
    encoded = encoder("direct", 3, channels(3)).encode(vectors)
    assert encoded.drives.tolist() == vectors.tolist()
    assert encoded.clipped == 0


@given(seeds)
def test_fitted_range_keeps_order_within_the_fitted_bounds(seed: int) -> None:
    generator = np.random.default_rng(seed)
    made = encoder("fitted-range", 3, channels(3, -2.0, 5.0))
    made.fit(generator.standard_normal((50, 3)))
    values = generator.standard_normal(30)
    drives = made.encode(values.reshape(-1, 3)).drives.ravel()
    assert (np.diff(drives[np.argsort(values)]) >= 0).all()


def test_fitted_range_puts_the_training_quantiles_on_the_ends_of_the_range_and_counts_what_lies_beyond() -> None:
    train = np.arange(101.0).reshape(-1, 1)
    made = encoder({"kind": "fitted-range", "low_quantile": 0.1, "high_quantile": 0.9}, 1, channels(1, -1.0, 3.0))
    made.fit(train)
    encoded = made.encode(np.array([[10.0], [90.0], [50.0], [30.0], [9.0], [95.0], [-1e9]]))
    np.testing.assert_allclose(encoded.drives[:, 0], [-1, 3, 1, 0, -1, 3, -1], atol=1e-6)
    assert encoded.clipped == 3
    assert made.encode(train).clipped == 20


def test_fitted_range_is_one_map_for_all_values_so_that_it_keeps_their_proportions() -> None:
    made = encoder({"kind": "fitted-range", "low_quantile": 0, "high_quantile": 1}, 2, channels(2))
    made.fit(np.array([[-1.0, 0.0], [0.5, 3.0]]))
    drives = made.encode(np.array([[-1.0, -1.0], [3.0, 3.0], [1.0, 1.0]])).drives
    assert drives.tolist() == [[0, 0], [1, 1], [0.5, 0.5]]


def test_fitted_range_falls_back_on_the_extremes_when_the_quantiles_coincide() -> None:
    train = np.zeros((1000, 2))
    train[0, 0] = 8.0
    made = encoder("fitted-range", 2, channels(2))
    made.fit(train)
    assert made.encode(np.array([[0.0, 4.0]])).drives.tolist() == [[0, 0.5]]


def test_fitted_range_refuses_training_inputs_that_never_change() -> None:
    with pytest.raises(InputError, match=r"fitted-range: every training input is 2\.5; there is no range to fit"):
        encoder("fitted-range", 2, channels(2)).fit(np.full((10, 2), 2.5))


def quantile(cells: int, train: Vectors, low: float = 0.0, high: float = 1.0) -> Encoder:
    """Return an encoder fitted to training values (n, width)."""
    inputs = channels(cells * train.shape[1], low, high)
    made = encoder({"kind": "quantile", "cells": cells}, train.shape[1], inputs)
    made.fit(train)
    return made


def test_quantile_sends_ranks_place_by_place_and_counts_what_lies_beyond() -> None:
    train = np.column_stack([np.arange(QUANTILE_POINTS), -(np.arange(QUANTILE_POINTS) ** 3.0)])
    made = quantile(1, train, -1.0, 3.0)
    last = QUANTILE_POINTS - 1
    ranks = np.arange(QUANTILE_POINTS) / last
    np.testing.assert_allclose(made.encode(train).drives, -1 + 4 * np.column_stack([ranks, ranks[::-1]]), rtol=1e-6)
    assert made.encode(train).clipped == 0
    beyond = made.encode(np.array([[-0.1, -1e9], [last + 1, 1.0]]))
    assert beyond.drives.tolist() == [[-1, -1], [3, 3]]
    assert beyond.clipped == 4


@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 4))
def test_quantile_tells_a_label_that_is_there_from_one_that_is_not_however_often_it_is(
    n_off: int, n_on: int, cells: int
) -> None:
    train = np.repeat([0.0, 0.7], [n_off, n_on])[:, None]
    encoded = quantile(cells, train).encode(np.array([[0.0], [0.7]]))
    assert encoded.drives.tolist() == [[0] * cells, [1] * cells]
    assert encoded.clipped == 0


@pytest.mark.parametrize("cells", [1, 2])
def test_quantile_leaves_a_place_that_never_changes_at_rest(cells: int) -> None:
    encoded = quantile(cells, np.full((30, 1), 2.5)).encode(np.array([[2.5], [2.4], [2.6]]))
    assert encoded.drives.tolist() == [[0] * cells, [0] * cells, [1] * cells]
    assert encoded.clipped == 2


def test_quantile_cells_are_the_binary_code_of_bins_that_hold_equally_many_training_values() -> None:
    train = np.random.default_rng(3).exponential(size=(200, 1))
    codes = quantile(2, train, -1.0, 2.0).encode(np.sort(train, axis=0)).drives
    assert set(np.unique(codes)) == {-1.0, 2.0}
    numbers = ((codes > 0) @ [2, 1]).tolist()
    assert numbers == sorted(numbers)
    assert all(abs(numbers.count(number) - 50) <= 1 for number in range(4))


@given(seeds, st.integers(1, 5), st.integers(2, 600), st.booleans())
def test_quantile_keeps_the_order_of_values(seed: int, cells: int, n_train: int, repeated: bool) -> None:
    generator = np.random.default_rng(seed)
    train, values = generator.standard_normal((n_train, 1)), np.sort(generator.standard_normal((40, 1)) * 2, axis=0)
    if repeated:
        train, values = np.round(train), np.round(values * 2) / 2
    drives = quantile(cells, train).encode(values).drives
    assert (np.diff(drives @ 2.0 ** -np.arange(cells)) >= 0).all()


def test_quantile_keeps_a_fixed_number_of_training_values() -> None:
    made = quantile(1, np.random.default_rng(0).standard_normal((5000, 3)))
    assert {name: array.shape for name, array in made.arrays().items()} == {"points": (3, QUANTILE_POINTS)}


def test_unit_energy_is_the_published_formula() -> None:
    vectors = np.array([[3.0, -4.0], [0.0, 0.0], [1e-6, 0.0]])
    drives = encoder("unit-energy", 2, channels(2)).encode(vectors).drives
    np.testing.assert_allclose(drives, [[0.6, 0.8], [0, 0], [0.5, 0]], rtol=1e-6)
    wide = encoder("unit-energy", 2, channels(2, 1.0, 3.0)).encode(vectors).drives
    np.testing.assert_allclose(wide, 1 + 2 * drives, rtol=1e-6)


@pytest.mark.parametrize(
    ("value", "cells"),
    [
        (0.0, [0, 0]),
        (0.01, [0, 1]),
        (2.0, [0, 1]),
        (2.01, [1, 0]),
        (4.0, [1, 0]),
        (6.0, [1, 0]),
        (6.01, [1, 1]),
        (8.0, [1, 1]),
    ],
)
def test_two_bit_table(value: float, cells: list[int]) -> None:
    drives = encoder("two-bit", 3, channels(6, -1.0, 2.0)).encode(np.array([[0.0, value, 8.0]])).drives
    off_and_on = [-1.0 + 3.0 * cell for cell in cells]
    assert drives[0].tolist() == [-1, -1, *off_and_on, 2, 2]


def test_two_bit_of_a_row_without_any_contrast_switches_everything_off() -> None:
    assert not encoder("two-bit", 2, channels(4)).encode(np.full((1, 2), 7.0)).drives.any()


def test_two_bit_limits_are_the_rows_own() -> None:
    rows = np.array([[0.0, 1.0, 4.0], [0.0, 10.0, 40.0]])
    drives = encoder("two-bit", 3, channels(6)).encode(rows).drives
    assert drives[0].tolist() == drives[1].tolist()


@pytest.mark.parametrize(("width", "n_inputs"), [(5, 12), (12, 5), (7, 7)])
def test_orthogonal_mixing_is_orthonormal_along_its_shorter_side(width: int, n_inputs: int) -> None:
    mixing = encoder({"kind": "direct", "mix": "orthogonal"}, width, channels(n_inputs)).mixing
    assert mixing is not None
    assert mixing.shape == (n_inputs, width)
    gram = mixing.T @ mixing if width <= n_inputs else mixing @ mixing.T
    np.testing.assert_allclose(gram, np.eye(len(gram)), atol=1e-12)


def test_mixing_spreads_values_over_cells_and_follows_the_seed() -> None:
    settings = {"kind": "two-bit", "mix": "orthogonal"}
    made = [encoder(settings, 3, channels(10)).mixing for _ in range(2)]
    other = make_encoder(SETTINGS.validate_python(settings), 3, channels(10), named_generator(2, "mixing", 1)).mixing
    assert made[0] is not None
    assert made[1] is not None
    assert other is not None
    assert made[0].shape == (5, 3)
    assert np.array_equal(made[0], made[1])
    assert not np.array_equal(made[0], other)


@pytest.mark.parametrize(
    ("settings", "width", "n_inputs", "message"),
    [
        (
            "direct",
            3,
            5,
            "encoder direct sends 3 values, but the layer has 5 inputs: set `network.label.pad: 2` to leave inputs at "
            "rest, or write `encoder: {kind: direct, mix: orthogonal}` to spread the values over the inputs",
        ),
        (
            "unit-energy",
            9,
            5,
            "encoder unit-energy sends 9 values, but the layer has 5 inputs: write `encoder: {kind: unit-energy, "
            "mix: orthogonal}` to spread the values over the inputs",
        ),
        (
            "two-bit",
            3,
            8,
            "encoder two-bit sends 3 values x 2 cells, but the layer has 8 inputs: set `network.label.pad: 1` to leave "
            "inputs at rest, or write `encoder: {kind: two-bit, mix: orthogonal}` to spread the values over the inputs",
        ),
        (
            "two-bit",
            3,
            7,
            "encoder two-bit sends 3 values x 2 cells, but the layer has 7 inputs: write `encoder: {kind: two-bit, "
            "mix: orthogonal}` to spread the values over the inputs",
        ),
        (
            {"kind": "quantile", "cells": 3},
            3,
            8,
            "encoder quantile sends 3 values x 3 cells, but the layer has 8 inputs: write `encoder: {kind: quantile, "
            "cells: 3, mix: orthogonal}` to spread the values over the inputs",
        ),
    ],
)
def test_a_vector_that_does_not_fit_is_refused_with_what_to_write(
    settings: str | dict[str, Any], width: int, n_inputs: int, message: str
) -> None:
    with pytest.raises(InputError) as caught:
        encoder(settings, width, channels(n_inputs))
    assert str(caught.value) == message


@given(st.sampled_from(["direct", *BOUNDED]), seeds)
def test_an_encoder_restored_from_its_arrays_encodes_the_same(kind: str, seed: int) -> None:
    generator = np.random.default_rng(seed)
    settings = {"kind": kind, "mix": "orthogonal"}
    fitted = encoder(settings, 5, channels(8))
    fitted.fit(generator.standard_normal((30, 5)))
    other = make_encoder(SETTINGS.validate_python(settings), 5, channels(8), named_generator(2, "mixing", 1))
    other.restore(fitted.arrays())
    vectors = generator.standard_normal((10, 5))
    assert np.array_equal(fitted.encode(vectors).drives, other.encode(vectors).drives)


def test_an_amplitude_of_zero_is_rest_on_inputs_of_either_sign() -> None:
    drives = encoder("unit-energy", 2, channels(2, -1.0, 1.0)).encode(np.array([[0.0, -3.0]])).drives
    np.testing.assert_allclose(drives, [[0.0, 1.0]], atol=1e-6)


def stepped(n: int, levels: int, low: float = 0.0, high: float = 1.0) -> list[Channel]:
    return [Channel(f"x{k}", "state", low, high, levels) for k in range(n)]


ANY_VALUES = ["fitted-range", "unit-energy", {"kind": "quantile", "cells": 1}]


@pytest.mark.parametrize("settings", ["direct", *ANY_VALUES])
def test_any_values_do_not_go_onto_two_levels(settings: str | dict[str, Any]) -> None:
    onto = [*channels(1), *stepped(1, 2)]
    says = "sends any values, but input x0 takes the 2 levels 0, 1 alone: write `encoder: {kind: two-bit"
    with pytest.raises(InputError, match=says):
        check_levels("it", encoder(settings, 2, onto), onto)
    check_levels("it", encoder(settings, 1, channels(1)), channels(1))


@pytest.mark.parametrize("levels", [2, 3, 256])
@pytest.mark.parametrize("settings", ["two-bit", {"kind": "quantile", "cells": 2}])
def test_cells_go_onto_any_levels(settings: str | dict[str, Any], levels: int) -> None:
    onto = stepped(6, levels)
    made = encoder(settings, 3, onto)
    check_levels("it", made, onto)
    vectors = np.random.default_rng(1).standard_normal((50, 3))
    made.fit(vectors)
    assert np.unique(made.encode(vectors).drives).tolist() == [0.0, 1.0]


@pytest.mark.parametrize("settings", ANY_VALUES)
def test_any_values_go_onto_many_levels_and_direct_ones_do_not(settings: str | dict[str, Any]) -> None:
    onto = stepped(2, 3)
    check_levels("it", encoder(settings, 2, onto), onto)
    with pytest.raises(InputError, match=r"takes the 3 levels 0, 0\.5, 1 alone: write `encoder: fitted-range`"):
        check_levels("direct", encoder("direct", 2, onto), onto)


@given(st.sampled_from(BOUNDED), ranges, st.integers(2, 65536), seeds)
def test_drives_are_the_nearest_levels(kind: str, limits: tuple[float, float], levels: int, seed: int) -> None:
    width = 2 if kind == "two-bit" else 4
    inputs, free = [*stepped(3, levels, *limits), *channels(1, *limits)], channels(4, *limits)
    vectors = np.random.default_rng(seed).standard_normal((30, width))
    made, unrounded = encoder(kind, width, inputs), encoder(kind, width, free)
    for each in (made, unrounded):
        each.fit(vectors[:10])
    drives, wanted = made.encode(vectors).drives, unrounded.encode(vectors).drives
    info = LayerInfo("it", tuple(inputs), channels(1), 1.0, frozenset({"it"}), simulated=True)
    assert find_misfit(info, drives) is None
    assert (
        np.abs(drives - wanted)[:, :3] <= 0.5 * (limits[1] - limits[0]) / (levels - 1) + 1e-3 * abs(limits[1])
    ).all()
    np.testing.assert_array_equal(drives[:, 3], wanted[:, 3])


def test_what_is_sent_on_sixteen_levels_is_the_nearest_sixteenth_to_the_bit() -> None:
    made = encoder("fitted-range", 4, stepped(4, 16))
    values = np.random.default_rng(0).random((500, 4))
    made.fit(values)
    wanted = encoder("fitted-range", 4, channels(4))
    wanted.fit(values)
    numbers = np.rint(wanted.encode(values).drives * 15.0)
    np.testing.assert_array_equal(made.encode(values).drives, (numbers / 15).astype(np.float32))


@pytest.mark.parametrize("mix", ["none", "orthogonal"])
@pytest.mark.parametrize("kind", ["direct", "fitted-range", "unit-energy"])
def test_the_derivative_of_a_smooth_encoder_is_that_of_finite_differences(kind: str, mix: str) -> None:
    generator = np.random.default_rng(0)
    made = encoder({"kind": kind, "mix": mix}, 5, channels(5, -1.0, 2.0))
    assert made.smooth
    inputs, upstream, step = generator.uniform(-0.8, 0.8, (40, 5)), generator.normal(size=(40, 5)), 1e-3
    made.fit(inputs)
    expected = np.empty_like(inputs)
    kinked = np.zeros(40, np.bool_)
    for column, moved in enumerate(step * np.eye(5)):
        middle, rise, fall = (made.encode(inputs + way * moved).drives.astype(float) for way in (0, 1, -1))
        expected[:, column] = ((rise - fall) / (2 * step) * upstream).sum(axis=1)
        # Where clipping begins or a value changes its sign there are two slopes.
        kinked |= np.abs(rise + fall - 2 * middle).max(axis=1) > 5e-6
    assert kinked.sum() < 10
    gradient = made.pull_back(inputs, upstream)
    np.testing.assert_allclose(gradient[~kinked], expected[~kinked], atol=2e-3)


@pytest.mark.parametrize(("kind", "width"), [("two-bit", 2), ("quantile", 4)])
def test_an_encoder_of_steps_has_no_derivative(kind: str, width: int) -> None:
    made = encoder(kind, width, channels(4))
    assert not made.smooth
    with pytest.raises(TypeError, match="has no derivative"):
        made.pull_back(np.zeros((1, width)), np.zeros((1, 4)))
