"""The label embedding: a candidate label as part of the vector that is sent."""

import numpy as np
import pytest

from labctl.config.network import Label
from labctl.network.label import NO_LABEL, LabelEmbedding


def embedding(kind: str, n_classes: int = 3, **settings: float) -> LabelEmbedding:
    return LabelEmbedding.from_settings(
        Label.model_validate({"kind": kind, **settings}), n_classes, 6, np.random.default_rng(1)
    )


def test_one_hot_label_then_padding_then_features() -> None:
    label = embedding("one-hot", amplitude=0.5, pad=2)
    vectors = label.embed(np.array([[7.0, 8.0]]), np.array([[0, 2]]))
    assert vectors.tolist() == [[[0.5, 0, 0, 0, 0, 7, 8], [0, 0, 0.5, 0, 0, 7, 8]]]
    assert label.label_width == 5
    assert label.candidates.tolist() == [0, 1, 2]


def test_no_label_leaves_padding_and_features() -> None:
    label = embedding("none", pad=1)
    assert label.candidates.tolist() == [NO_LABEL]
    assert label.embed(np.array([[7.0]]), np.array([[NO_LABEL]])).tolist() == [[[0, 7]]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ["one-hot", "none"])
def test_shape_and_precision_are_those_of_samples_and_candidates(kind: str, dtype: type[np.floating]) -> None:
    label = embedding(kind, n_classes=4, pad=3)
    features = np.random.default_rng(0).random((5, 6)).astype(dtype)
    k = len(label.candidates)
    vectors = label.embed(features, np.broadcast_to(label.candidates, (5, k)))
    assert vectors.shape == (5, k, label.label_width + 6)
    assert vectors.dtype == dtype
    assert (vectors[:, :, label.label_width :] == features[:, None]).all()


def test_a_field_is_added_to_the_features_and_is_the_same_for_every_sample() -> None:
    label = embedding("field", n_classes=4, amplitude=0.5)
    features = np.random.default_rng(0).random((2, 6))
    added = label.embed(features, np.array([[0, 3], [3, 0]])) - features[:, None]
    assert label.label_width == 0
    assert label.candidates.tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(added[0, 0], added[1, 1])
    np.testing.assert_allclose(added[0, 1], added[1, 0])
    assert not np.allclose(added[0, 0], added[0, 1])


def test_fields_have_the_stated_rms_and_survive_saving() -> None:
    settings = Label(kind="field", amplitude=0.5)
    label = LabelEmbedding.from_settings(settings, 10, 1000, np.random.default_rng(1))
    other = LabelEmbedding.from_settings(settings, 10, 1000, np.random.default_rng(2))
    assert np.sqrt((label.fields**2).mean()) == pytest.approx(0.5, rel=0.02)
    other.restore(label.arrays())
    assert np.array_equal(other.fields, label.fields)
