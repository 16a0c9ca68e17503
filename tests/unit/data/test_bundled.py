"""Digits and wine, read where scikit-learn keeps them, are what scikit-learn itself reads."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits, load_wine

from labctl.contract.errors import InputError
from labctl.data.bundled import BundledName, load_bundled


@pytest.mark.parametrize(("name", "read"), [("digits", load_digits), ("wine", load_wine)])
def test_they_are_scikit_learns(name: BundledName, read: Any):
    ours, theirs = load_bundled(name), read()
    np.testing.assert_array_equal(ours.features, theirs.data)
    np.testing.assert_array_equal(ours.labels, theirs.target)
    assert list(ours.class_names) == [str(target) for target in theirs.target_names]
    assert list(ours.feature_names) == list(theirs.feature_names)
    assert ours.features.dtype == theirs.data.dtype
    assert ours.labels.dtype == theirs.target.dtype


def test_an_installation_without_them_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr("importlib.metadata.PathDistribution.locate_file", lambda _self, path: tmp_path / path)
    with pytest.raises(InputError, match=r"without sklearn/datasets/data/wine_data.csv: install it again"):
        load_bundled("wine")
