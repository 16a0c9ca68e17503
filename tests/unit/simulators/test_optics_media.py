"""Transmission matrices against the limits that are known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labctl_simulators.physics.scattering import (
    BLOCK_ROWS,
    BlockPropagator,
    Complex,
    departure,
    gaussian_medium,
    intensity,
    unitary_medium,
)

SEEDS = range(10)


def random_fields(n_rows: int, n: int, seed: int) -> Complex:
    real, imaginary = np.random.default_rng(seed).standard_normal((2, n_rows, n))
    return real + 1j * imaginary


def parts(fields: Complex) -> np.ndarray:
    return np.concatenate([fields.real, fields.imag], axis=1).astype(np.float32)


def medium(seed: int, n_inputs: int = 200, n_outputs: int = 300) -> Complex:
    return gaussian_medium(n_inputs, n_outputs, np.random.default_rng(seed))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_gaussian_medium_gives_fully_developed_speckle_of_the_stated_mean(seed: int) -> None:
    """Contrast 1, moments n! of a negative exponential, exp(-k) of the pixels beyond k means."""
    inputs = random_fields(100, 200, seed + 100)
    speckle = np.abs(inputs @ medium(seed).T) ** 2
    speckle /= np.square(np.abs(inputs)).mean(axis=1, keepdims=True)
    assert speckle.mean() == pytest.approx(1.0, abs=0.02)
    assert speckle.std() / speckle.mean() == pytest.approx(1.0, abs=0.05)
    assert (speckle**3).mean() == pytest.approx(6.0, rel=0.15)
    for k in (1, 3):
        assert (speckle > k).mean() == pytest.approx(np.exp(-k), rel=0.08)


def test_different_seeds_are_uncorrelated_media() -> None:
    drawn = np.array([medium(seed).ravel() for seed in SEEDS])
    gram = np.abs(drawn.conj() @ drawn.T) / np.linalg.norm(drawn, axis=1) ** 2
    assert gram[np.triu_indices(10, 1)].max() < 0.02


def test_the_elements_are_circular() -> None:
    matrix = medium(1)
    assert abs((matrix**2).mean()) < 0.02 * (np.abs(matrix) ** 2).mean()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_unitary_medium_conserves_energy(seed: int) -> None:
    matrix = unitary_medium(60, np.random.default_rng(seed))
    inputs = random_fields(5, 60, seed)
    np.testing.assert_allclose(
        np.square(np.abs(inputs @ matrix.T)).sum(axis=1), np.square(np.abs(inputs)).sum(axis=1), rtol=1e-12
    )
    assert departure(matrix, "unitary") < 1e-12
    assert departure(matrix, "passive") < 1e-12


def test_unitary_media_are_drawn_evenly() -> None:
    """Haar matrices have <tr U> = 0 and <|tr U|²> = 1; without a correction of QR's phases they would not."""
    traces = np.array([np.trace(unitary_medium(8, np.random.default_rng(seed))) for seed in range(2000)])
    assert abs(traces.mean()) < 0.08
    assert np.square(np.abs(traces)).mean() == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_symmetric_medium_is_reciprocal_and_another_is_not(seed: int) -> None:
    """Source and detector change places: <a|T b> = <b|T a>, for fields and not their conjugates."""
    one_way = unitary_medium(40, np.random.default_rng(seed))
    there_and_back = one_way.T @ one_way
    a, b = random_fields(2, 40, seed)
    assert a @ there_and_back @ b == pytest.approx(b @ there_and_back @ a)
    assert departure(there_and_back, "reciprocal") < 1e-12
    assert departure(there_and_back, "unitary") < 1e-12
    assert departure(one_way, "reciprocal") > 1.0


def test_gain_is_not_passive_and_a_rectangle_is_neither_reciprocal_nor_unitary() -> None:
    rng = np.random.default_rng(0)
    assert departure(1.5 * unitary_medium(10, rng), "passive") == pytest.approx(0.5)
    assert departure(0.5 * unitary_medium(10, rng), "passive") == 0.0
    assert departure(0.5 * unitary_medium(10, rng), "unitary") == pytest.approx(0.75)
    assert departure(medium(0), "unitary") == departure(medium(0), "reciprocal") == np.inf


@pytest.mark.parametrize("seed", SEEDS)
def test_blocks_propagate_as_the_matrix_does_and_superpose(seed: int) -> None:
    matrix, inputs = medium(seed), random_fields(8, 200, seed)
    offset = random_fields(1, 300, seed + 50)[0]
    block = BlockPropagator(matrix, offset, complex_inputs=True)
    expected = inputs @ matrix.T + offset
    np.testing.assert_allclose(block.propagate(parts(inputs)), parts(expected), atol=2e-5)
    np.testing.assert_allclose(intensity(parts(expected)), np.square(np.abs(expected)), rtol=1e-5)
    linear = BlockPropagator(matrix, np.zeros(300, np.complex128), complex_inputs=True)
    both = linear.propagate(parts(inputs[:1] + 2 * inputs[1:2]))
    one, two = linear.propagate(parts(inputs[:2]))
    np.testing.assert_allclose(both[0], one + 2 * two, atol=5e-5)


@settings(max_examples=40, deadline=None)
@given(
    n_inputs=st.integers(1, 150), n_outputs=st.integers(1, 90), complex_inputs=st.booleans(), seed=st.integers(0, 99)
)
def test_the_bits_of_a_row_depend_neither_on_its_place_nor_on_its_company(
    n_inputs: int, n_outputs: int, complex_inputs: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    matrix = gaussian_medium(n_inputs, n_outputs, rng)
    block = BlockPropagator(matrix, np.ones(n_outputs, np.complex128), complex_inputs=complex_inputs)
    rows = rng.random((BLOCK_ROWS, n_inputs * (2 if complex_inputs else 1)), dtype=np.float32)
    together = block.propagate(rows)
    order = rng.permutation(BLOCK_ROWS)
    np.testing.assert_array_equal(block.propagate(rows[order]), together[order])
    for row in (0, 1, 37, BLOCK_ROWS - 1):
        np.testing.assert_array_equal(block.propagate(rows[row : row + 1])[0], together[row])


def test_every_place_in_a_block_gives_the_same_bits_at_full_size() -> None:
    matrix = medium(3, 676, 676)
    block = BlockPropagator(matrix, np.zeros(676, np.complex128), complex_inputs=False)
    rows = np.random.default_rng(1).random((BLOCK_ROWS, 676), dtype=np.float32)
    together = block.propagate(rows)
    for shift in range(1, BLOCK_ROWS):
        np.testing.assert_array_equal(np.roll(block.propagate(np.roll(rows, shift, axis=0)), -shift, axis=0), together)
