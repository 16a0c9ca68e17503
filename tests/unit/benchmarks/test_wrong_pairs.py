"""The benchmark of wrong pairs measures under faults, and counts the pairs of a bench that mixes up rows."""

from typing import Any

import numpy as np
import pytest

from benchmarks import wrong_pairs
from benchmarks.wrong_pairs import Signature


@pytest.fixture(autouse=True)
def _few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wrong_pairs, "REQUEST_ROWS", 150)
    monkeypatch.setattr(wrong_pairs, "RATE", 0.002)


def test_no_pair_is_wrong_under_faults() -> None:
    signature = Signature()
    with wrong_pairs._bench(signature) as (layer, schedules):
        assert wrong_pairs._wrong_pairs(layer, signature, 0) == 0
    assert all(schedule.struck for schedule in schedules)


def test_a_surface_that_is_late_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wrong_pairs, "RATE", 1e-12)
    signature = Signature()
    with wrong_pairs._bench(signature) as (layer, _):
        any_layer: Any = layer
        surface = any_layer._surface
        latch, before = surface.latch, [np.zeros(signature.n_elements, dtype=np.uint8)]

        def latch_the_one_before(pattern: Any) -> None:
            latch(before.pop())
            before.append(pattern)

        surface.latch = latch_the_one_before
        assert wrong_pairs._wrong_pairs(layer, signature, 0) >= 149


def test_the_signature_tells_every_element_at_every_frequency() -> None:
    signature = Signature()
    one_by_one = signature.of(np.eye(signature.n_elements))
    assert np.abs(one_by_one).min() > 1e3 * wrong_pairs.EQUAL
    assert len({complex(value) for value in one_by_one.ravel()}) == one_by_one.size
