"""Quantities as people write them: `5 GHz`, `150 ms`, `-12 dBFS`.

A field of a settings model is annotated with one of the types below; the model then holds a plain float in the unit
that the field's name states (`settle_s`, `tones_hz`), and a number without a unit is refused.
"""

import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

_NUMBER = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*([^\s\d].*?)\s*")


def parse_quantity(value: object, units: Mapping[str, float]) -> float:
    """Return `value`, text of a number and one of `units`, in the base unit.

    Raises `ValueError` naming what was expected: for text that is no quantity, a number without a unit, an unknown
    unit, or a number that is not finite.
    """
    example = _base_unit(units)
    known = ", ".join(units)
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(f"expected a number with a unit ({known})")
    if isinstance(value, (int, float)):
        raise ValueError(f"has no unit: write '{value!r} {example}' (or {known})")
    match = _NUMBER.fullmatch(value)
    if match is None:
        raise ValueError(f"'{value}' is not a number with a unit ({known}), as in '1.5 {example}'")
    number, unit = match.groups()
    if unit not in units:
        close = difflib.get_close_matches(unit, units, n=1)
        hint = f"; did you mean '{number} {close[0]}'?" if close else ""
        raise ValueError(f"'{unit}' is not a unit known here: {known}{hint}")
    quantity = _scaled(number, units[unit])
    if not math.isfinite(quantity):
        raise ValueError(f"'{value}' is not finite")
    return quantity


def _scaled(number: str, factor: float) -> float:
    """Return `number` times `factor` rounded once, so that `9 ms` is 0.009 to the last bit."""
    plain = float(number)
    if plain == 0 or math.isinf(plain):
        return plain
    return float(Decimal(number) * Decimal(repr(factor)))


def _base_unit(units: Mapping[str, float]) -> str:
    return next(unit for unit, factor in units.items() if factor == 1.0)


@dataclass(frozen=True, eq=False)
class Quantity:
    """Annotation of a float field: reads text with one of `units`, writes text in the base unit (factor 1)."""

    description: str
    units: Mapping[str, float]

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        base = _base_unit(self.units)
        return core_schema.no_info_before_validator_function(
            lambda value: parse_quantity(value, self.units),
            handler(source),
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda value: f"{value!r} {base}", when_used="json"
            ),
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, object]:
        units = "|".join(map(re.escape, self.units))
        return {
            "type": "string",
            "pattern": rf"^\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*({units})\s*$",
            "unit": _base_unit(self.units),
            "description": f"{self.description}: a number with one of {', '.join(self.units)}",
        }


_TIMES = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9, "min": 60.0, "h": 3600.0}
Seconds = Annotated[float, Quantity("time", _TIMES)]
Hertz = Annotated[float, Quantity("frequency", {"Hz": 1.0, "mHz": 1e-3, "kHz": 1e3, "MHz": 1e6, "GHz": 1e9})]
Metres = Annotated[float, Quantity("length", {"m": 1.0, "cm": 1e-2, "mm": 1e-3, "um": 1e-6, "µm": 1e-6})]
Celsius = Annotated[float, Quantity("temperature", {"°C": 1.0, "degC": 1.0})]
DecibelMilliwatt = Annotated[float, Quantity("power re 1 mW", {"dBm": 1.0})]
Decibel = Annotated[float, Quantity("level ratio", {"dB": 1.0})]
DecibelFullScale = Annotated[float, Quantity("level re digital full scale", {"dBFS": 1.0})]
Volts = Annotated[float, Quantity("voltage", {"V": 1.0, "mV": 1e-3})]
VoltsPerPascal = Annotated[float, Quantity("microphone sensitivity", {"V/Pa": 1.0, "mV/Pa": 1e-3})]
Bytes = Annotated[float, Quantity("amount of data", {"B": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12})]


def parse_seconds(value: object) -> float:
    """Return a time as people write it, in seconds. Raises `ValueError` as `parse_quantity` does."""
    return parse_quantity(value, _TIMES)
