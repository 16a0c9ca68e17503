"""What a rig file says of a metasurface, whatever its controller."""

from collections.abc import Sequence
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from labctl.contract.driver import Settings
from labctl.contract.errors import SettingError
from labctl.contract.microwave import Pattern
from labctl.contract.units import Hertz, Seconds

Level = Annotated[int, Field(ge=0, le=255)]


class SurfaceRules(Settings):
    """A metasurface of `rows` x `columns` elements, counted row by row from the top left as the waves see it."""

    cells: ClassVar[int | None] = None
    """Number of cells that every controller of this kind has; None where it differs."""

    rows: int = Field(ge=1, le=1024, description="of elements, which are counted row by row from the top left")
    columns: int = Field(ge=1, le=1024, description="of elements")
    element_map: tuple[Annotated[int, Field(ge=0)], ...] | None = Field(
        alias="map",
        default=None,
        description="the controller's cell of each element, cells counted from 0; without it element k is cell k",
    )
    rest: Level | tuple[Level, ...] = Field(
        default=0, description="what it shows when nothing is measured: a level for all elements, or one for each"
    )
    settle_s: Annotated[Seconds, Field(ge=0, le=60)] = Field(
        alias="settle", description="from a pattern's acknowledgement until the field is steady; measure it"
    )
    max_rate_hz: Annotated[Hertz, Field(gt=0)] | None = Field(
        alias="max_rate", default=None, description="patterns a second that are never exceeded"
    )
    simulated: bool = Field(
        default=False,
        description="a simulator answers; one that says so itself where this does not is refused",
    )

    @property
    def n_elements(self) -> int:
        """Number of elements."""
        return self.rows * self.columns

    @model_validator(mode="after")
    def _elements_and_cells_fit(self) -> "SurfaceRules":
        if self.cells is not None and self.n_elements != self.cells:
            raise SettingError(
                ("rows",),
                f"{self.rows} rows of {self.columns} are {self.n_elements} elements; this controller has {self.cells}",
            )
        if self.element_map is not None and (fault := _not_a_permutation(self.element_map, self.n_elements)):
            raise SettingError(("map",), f"map: {fault}")
        return self


def cells_of_elements(rules: SurfaceRules) -> NDArray[np.int64]:
    """Return the cell of every element (n_elements,)."""
    return np.array(range(rules.n_elements) if rules.element_map is None else rules.element_map, dtype=np.int64)


def rest_pattern(rules: SurfaceRules, levels: int) -> Pattern:
    """Return the level of every element at rest. Raises `SettingError` for levels that there are not."""
    rest = (rules.rest,) * rules.n_elements if isinstance(rules.rest, int) else rules.rest
    if len(rest) != rules.n_elements:
        raise SettingError(("rest",), f"rest: {len(rest)} levels for {rules.n_elements} elements; give one for each")
    if max(rest) >= levels:
        raise SettingError(("rest",), f"rest: there is no level {max(rest)}; an element has 0 to {levels - 1}")
    return np.array(rest, dtype=np.uint8)


def _not_a_permutation(cells: Sequence[int], n_elements: int) -> str | None:
    """Say what keeps `cells` from naming every cell once, if anything does."""
    if len(cells) != n_elements:
        return f"{len(cells)} cells for {n_elements} elements; name the cell of each element"
    missing = sorted(set(range(n_elements)) - set(cells))
    if not missing:
        return None
    beyond = next((cell for cell in cells if cell >= n_elements), None)
    if beyond is not None:
        wrong = f"element {cells.index(beyond)} has cell {beyond}, beyond the last, {n_elements - 1}"
    else:
        twice = next(cell for place, cell in enumerate(cells) if cell in cells[:place])
        first = cells.index(twice)
        wrong = f"elements {first} and {cells.index(twice, first + 1)} both have cell {twice}"
    return f"{wrong}, and no element has cell {missing[0]}; name every cell from 0 to {n_elements - 1} once"
