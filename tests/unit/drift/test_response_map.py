"""What is left of a medium in another one is brought back, and no more is claimed than that."""

import numpy as np
import pytest

from labctl.drift.response_map import ResponseMap


def fields(rng: np.random.Generator, kind: str, n: int = 12) -> np.ndarray:
    matrix = rng.normal(size=(n, 60)) + (1j * rng.normal(size=(n, 60)) if kind != "real" else 0)
    return matrix / np.sqrt(np.mean(np.abs(matrix) ** 2))


def left_of(old: np.ndarray, rng: np.random.Generator, kind: str) -> np.ndarray:
    """Return a medium that shares 70 % of its power with another one."""
    return np.sqrt(0.7) * old + np.sqrt(0.3) * fields(rng, kind, len(old))


@pytest.mark.parametrize("kind", ["real", "complex"])
def test_fields_are_brought_back_by_a_matrix(kind: str) -> None:
    rng = np.random.default_rng(2)
    drives, old = rng.normal(size=(700, 12)), fields(rng, kind)
    then, now = drives @ old, drives @ left_of(old, rng, kind)
    found = ResponseMap.fitted(now[:400], then[:400])
    back = found.apply(now[400:])
    assert back.dtype == (np.float32 if kind == "real" else np.complex64)
    assert found.explained > 0.95
    assert (np.abs(back - then[400:]) ** 2).mean() < 0.05 * (np.abs(then[400:]) ** 2).mean()


def test_intensities_are_brought_back_better_with_products() -> None:
    """What is told of the map holds for frames it has not seen."""
    rng = np.random.default_rng(3)
    drives, old = 1 + 0.3 * rng.normal(size=(1400, 16)), fields(rng, "complex", 16)
    then, now = (np.abs(drives @ each) ** 2 for each in (old, left_of(old, rng, "complex")))
    found = ResponseMap.fitted(now[:1000], then[:1000])
    assert found.n_components == 20
    variance = then[1000:].var(axis=0).mean()
    left = ((found.apply(now[1000:]) - then[1000:]) ** 2).mean() / variance
    assert left == pytest.approx(1 - found.explained, rel=0.3)
    ones = np.ones((len(now), 1))
    plain = np.linalg.pinv(np.hstack([now, ones])[:1000]) @ then[:1000]
    by_matrix = ((np.hstack([now, ones])[1000:] @ plain - then[1000:]) ** 2).mean()
    assert left < 0.5 * by_matrix / variance


def test_nothing_is_claimed_of_an_unrelated_medium_or_of_silence() -> None:
    rng = np.random.default_rng(4)
    then = rng.normal(size=(400, 60))
    assert ResponseMap.fitted(rng.normal(size=(400, 60)), then).explained < 0.1
    silent = ResponseMap.fitted(np.zeros((400, 60)), then)
    assert silent.explained < 0.1
    assert np.isfinite(silent.apply(np.zeros((3, 60)))).all()
