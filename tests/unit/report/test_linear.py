"""The affine map that stands in for the physics in a baseline."""

import numpy as np
import pytest

from labctl.report.linear import fit_affine


def explained(predicted: np.ndarray, true: np.ndarray) -> float:
    return 1.0 - float(((predicted - true) ** 2).sum() / ((true - true.mean(axis=0)) ** 2).sum())


@pytest.mark.parametrize("n_rows", [60, 2000])
def test_levels_of_a_modulator_are_not_learnt_by_heart(n_rows: int) -> None:
    """Few numbers, spread over many inputs and rounded to 256 levels: rounding makes every row unlike all others."""
    rng = np.random.default_rng(1)
    spread, medium = rng.normal(size=(5, 120)), rng.normal(size=(120, 30))
    drives = np.rint(256 * rng.normal(size=(n_rows + 200, 5)) @ spread) / 256
    responses = drives @ medium + 1.0
    noise = 0.05 * responses.std() * rng.normal(size=responses.shape)
    matrix, offset = fit_affine(drives[:n_rows], (responses + noise)[:n_rows])
    assert matrix.shape == (120, 30)
    assert offset.shape == (30,)
    assert explained(drives[n_rows:] @ matrix + offset, responses[n_rows:]) > 0.95


def test_with_many_rows_it_is_least_squares() -> None:
    rng = np.random.default_rng(2)
    drives, responses = rng.normal(size=(500, 6)), rng.normal(size=(500, 3))
    matrix, offset = fit_affine(drives, responses)
    residuals = responses - drives @ matrix - offset
    np.testing.assert_allclose(np.column_stack([drives, np.ones(500)]).T @ residuals, 0.0, atol=1e-9)
