"""Which analysers are known, and how each differs from others of its dialect.

Limits that an analyser states itself are asked of it; here stands what it does not state. Where no source is named the
figure is a data sheet's. The byte order after a preset differs too (little-endian on Rohde & Schwarz, unless their GPIB
language is another): drivers set theirs, read it back, and compare the axis with its form as text.
"""

import re
from dataclasses import dataclass
from typing import Literal

from labctl.contract.errors import Fault, InstrumentError

BlockEnd = Literal["required", "none", "maybe"]


@dataclass(frozen=True)
class Model:
    """One family of analysers, recognised by `pattern` in the model field of `*IDN?`.

    `block_end` is what follows a binary block. `most_points` and `power_dbm` are None where the analyser states them.
    `averages_per_edge` says that one trigger makes all sweeps of an average.
    """

    pattern: str
    block_end: BlockEnd
    most_segments: int
    segments_may_overlap: bool
    averages_per_edge: bool
    most_points: int | None = None
    power_dbm: tuple[float, float] | None = None

    def fits(self, model: str) -> bool:
        """Return whether an analyser that names itself `model` is of this family."""
        return re.fullmatch(self.pattern, model) is not None


KEYSIGHT_PNA = (
    Model(r"N52\d\d[AB]|E836\d[ABC]", "required", 2_000, segments_may_overlap=True, averages_per_edge=False),
    Model(
        r"E5080[AB]|P50\d\d[AB]|M937\dA|M980\dA", "required", 2_000, segments_may_overlap=True, averages_per_edge=False
    ),
)
"""PNA, PNA-L, PNA-X; then the analysers that speak their dialect."""

KEYSIGHT_ENA = (
    Model("E5071[BC]", "required", 201, False, True, 20_001, (-55.0, 10.0)),
    Model("E5061[AB]", "required", 201, False, True, 1_601, (-45.0, 10.0)),
    Model("E5063A", "required", 201, False, True, 10_001, (-20.0, 0.0)),
)

ROHDE_SCHWARZ = (
    Model(r"ZNA\d.*", "maybe", 1_000, segments_may_overlap=True, averages_per_edge=False),
    Model(r"ZN(B|BT|C|D|L)\d.*", "maybe", 1_000, segments_may_overlap=True, averages_per_edge=False),
    Model(r"ZV[ABLT]\d.*", "maybe", 1_000, segments_may_overlap=True, averages_per_edge=False),
)
"""More than 5 000 segments time out (Terrabits/rohdeschwarz issue 3)."""

COPPER_MOUNTAIN = (
    Model(r"(S|C|M|SC)\d{4}.*", "maybe", 1_001, False, True, 200_001, (-60.0, 15.0)),
    Model(r"Planar.*|TR\d{4}.*|R\d+.*", "maybe", 501, False, True, 16_001, (-60.0, 10.0)),
)


def find_model(models: tuple[Model, ...], model: str, *, instrument: str, dialect: str) -> Model:
    """Return the family that `model` belongs to. Raises `InstrumentError` for a model this dialect does not know."""
    for known in models:
        if known.fits(model):
            return known
    raise InstrumentError(
        instrument,
        f"answers as '{model}', which is not known to speak the {dialect} dialect: name the driver that fits it",
        command="*IDN?",
        fault=Fault.REFUSED,
    )
