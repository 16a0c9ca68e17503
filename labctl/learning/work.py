"""Digital work: multiply-accumulates of matrix products, counted where they are done.

A product (n, d) x (d, m) is n d m of them. Elementwise work (activations, goodness, Adam) is not counted, nor are here
the mixing matrices of encoders, which follow from the passes.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass
class Work:
    """Multiply-accumulates so far: `forward` and `update` of training, those of `twin` models, and of `scoring`.

    Scoring is no part of the state that is saved: training samples may be scored again only to be watched.
    """

    forward: int = 0
    update: int = 0
    twin: int = 0
    scoring: int = 0

    def spent(self, scoring_before: int) -> dict[str, int]:
        """Return the counts by name, scoring since it stood at `scoring_before`."""
        return {**asdict(self), "scoring": self.scoring - scoring_before}

    def arrays(self) -> dict[str, NDArray[np.floating]]:
        """Return what training has taken."""
        return {name: np.array([float(count)]) for name, count in asdict(self).items() if name != "scoring"}

    def restore(self, arrays: Mapping[str, NDArray[np.floating]]) -> None:
        """Take over counts saved by `arrays`; runs of earlier versions have none."""
        for name in self.arrays():
            setattr(self, name, int(arrays[name][0]) if name in arrays else 0)
