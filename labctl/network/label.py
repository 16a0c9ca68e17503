"""Label embedding: a candidate label becomes part of the vector that is sent through the network."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labctl.config.experiment import Label as LabelSettings

Vectors = NDArray[np.floating]
"""Network inputs and hidden vectors, float32 or float64 as the experiment's precision says."""

NO_LABEL = -1


@dataclass(frozen=True)
class LabelEmbedding:
    """Places a one-hot label of `amplitude` and `pad` zeros before the features, or nothing (`one_hot` false)."""

    one_hot: bool
    amplitude: float
    pad: int
    n_classes: int

    @classmethod
    def from_settings(cls, settings: LabelSettings, n_classes: int) -> "LabelEmbedding":
        """Return the embedding an experiment describes."""
        return cls(settings.kind == "one-hot", settings.amplitude, settings.pad, n_classes)

    @property
    def candidates(self) -> NDArray[np.int64]:
        """Labels that can be embedded: every class, or `NO_LABEL` alone."""
        return np.arange(self.n_classes) if self.one_hot else np.array([NO_LABEL])

    @property
    def label_width(self) -> int:
        """Number of values before the features."""
        return (self.n_classes if self.one_hot else 0) + self.pad

    def embed(self, features: Vectors, labels: NDArray[np.int64]) -> Vectors:
        """Return (n, k, width) vectors for `features` (n, d) under each of `labels` (n, k)."""
        n, k = labels.shape
        label_width = self.label_width
        vectors = np.zeros((n, k, label_width + features.shape[1]), dtype=features.dtype)
        if self.one_hot:
            vectors.reshape(n * k, vectors.shape[2])[np.arange(n * k), labels.ravel()] = self.amplitude
        vectors[:, :, label_width:] = features[:, None, :]
        return vectors
