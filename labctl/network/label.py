"""Label embedding: a candidate label becomes part of the vector that is sent through the network."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from labctl.config.network import Label as LabelSettings

Vectors = NDArray[np.floating]
"""Network inputs and hidden vectors, float32 or float64 as the experiment's precision says."""

NO_LABEL = -1


@dataclass
class LabelEmbedding:
    """How a label enters a vector.

    `one-hot` places `amplitude` at the class's place and `pad` zeros before the features; `field` adds the class's row
    of `fields` (n_classes, n_features), fixed random numbers of rms `amplitude`, to them; `none` leaves them alone.
    """

    kind: Literal["one-hot", "field", "none"]
    amplitude: float
    pad: int
    n_classes: int
    fields: Vectors

    @classmethod
    def from_settings(
        cls, settings: LabelSettings, n_classes: int, n_features: int, generator: np.random.Generator
    ) -> "LabelEmbedding":
        """Return the embedding an experiment describes, its fields drawn from `generator`."""
        fields = settings.amplitude * generator.standard_normal((n_classes, n_features))
        return cls(settings.kind, settings.amplitude, settings.pad, n_classes, fields)

    @property
    def candidates(self) -> NDArray[np.int64]:
        """Labels that can be embedded: every class, or `NO_LABEL` alone."""
        return np.array([NO_LABEL]) if self.kind == "none" else np.arange(self.n_classes)

    @property
    def label_width(self) -> int:
        """Number of values before the features."""
        return (self.n_classes if self.kind == "one-hot" else 0) + self.pad

    def embed(self, features: Vectors, labels: NDArray[np.int64]) -> Vectors:
        """Return (n, k, width) vectors for `features` (n, d) under each of `labels` (n, k)."""
        n, k = labels.shape
        label_width = self.label_width
        vectors = np.zeros((n, k, label_width + features.shape[1]), dtype=features.dtype)
        vectors[:, :, label_width:] = features[:, None, :]
        if self.kind == "one-hot":
            vectors.reshape(n * k, vectors.shape[2])[np.arange(n * k), labels.ravel()] = self.amplitude
        elif self.kind == "field":
            vectors[:, :, label_width:] += self.fields[labels].astype(features.dtype)
        return vectors

    def arrays(self) -> Mapping[str, Vectors]:
        """Return what must be saved to embed labels the same way again."""
        return {"fields": self.fields} if self.kind == "field" else {}

    def restore(self, arrays: Mapping[str, Vectors]) -> None:
        """Take over arrays saved by `arrays`."""
        self.fields = arrays.get("fields", self.fields)
