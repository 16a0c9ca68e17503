"""Quantities: what people write and what the program then holds."""

import contextlib
import math
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from labctl.contract.driver import Settings
from labctl.contract.units import Celsius, Decibel, DecibelFullScale, Hertz, Metres, Seconds, parse_quantity

TIME = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9, "min": 60.0, "h": 3600.0}
DECIMAL = {"s": "", "ms": "e-3", "us": "e-6", "µs": "e-6", "ns": "e-9"}


class Window(Settings):
    settle: Seconds
    tone: Hertz = 1.0


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Seconds, "150 ms", 0.15),
        (Seconds, "9 ms", 0.009),
        (Seconds, "1.5min", 90.0),
        (Seconds, "  2  h ", 7200.0),
        (Seconds, "-3 µs", -3e-6),
        (Hertz, "5 GHz", 5e9),
        (Hertz, "5e-3 MHz", 5e3),
        (Hertz, ".5 kHz", 500.0),
        (Hertz, "5. Hz", 5.0),
        (Metres, "12 mm", 0.012),
        (Celsius, "20 °C", 20.0),
        (Celsius, "-3 degC", -3.0),
        (Decibel, "-12 dB", -12.0),
        (DecibelFullScale, "-12.5 dBFS", -12.5),
        (Seconds, "0e9999999999999999999 s", 0.0),
        (Seconds, "1e-9999999999999999999 s", 0.0),
    ],
)
def test_text_becomes_the_base_unit(kind: Any, text: str, value: float) -> None:
    assert TypeAdapter(kind).validate_python(text) == value


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (150, "has no unit: write '150 s' (or s, ms, us, µs, ns, min, h)"),
        (0.5, "has no unit: write '0.5 s' (or s, ms, us, µs, ns, min, h)"),
        (10**400, f"has no unit: write '{10**400} s' (or s, ms, us, µs, ns, min, h)"),
        ("150", "'150' is not a number with a unit (s, ms, us, µs, ns, min, h), as in '1.5 s'"),
        ("ms", "'ms' is not a number with a unit (s, ms, us, µs, ns, min, h), as in '1.5 s'"),
        ("", "'' is not a number with a unit (s, ms, us, µs, ns, min, h), as in '1.5 s'"),
        ("1 2 s", "'1 2 s' is not a number with a unit (s, ms, us, µs, ns, min, h), as in '1.5 s'"),
        ("5 GHz", "'GHz' is not a unit known here: s, ms, us, µs, ns, min, h"),
        ("5 MS", "'MS' is not a unit known here: s, ms, us, µs, ns, min, h"),
        ("inf s", "'inf s' is not a number with a unit (s, ms, us, µs, ns, min, h), as in '1.5 s'"),
        ("1e309 s", "'1e309 s' is not finite"),
        ("1e308 h", "'1e308 h' is not finite"),
        (True, "expected a number with a unit (s, ms, us, µs, ns, min, h)"),
        (None, "expected a number with a unit (s, ms, us, µs, ns, min, h)"),
        ([1], "expected a number with a unit (s, ms, us, µs, ns, min, h)"),
    ],
)
def test_what_is_no_quantity_is_refused_with_what_was_expected(value: object, said: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        parse_quantity(value, TIME)


@settings(deadline=None)
@given(st.decimals(-(10**9), 10**9, places=6), st.sampled_from(sorted(DECIMAL)))
def test_a_quantity_is_rounded_once(number: Any, unit: str) -> None:
    assert parse_quantity(f"{number} {unit}", TIME) == float(f"{number}{DECIMAL[unit]}")


@settings(deadline=None)
@given(st.text())
def test_text_raises_nothing_but_value_error(text: str) -> None:
    value = 0.0
    with contextlib.suppress(ValueError):
        value = parse_quantity(text, TIME)
    assert math.isfinite(value)


@settings(deadline=None)
@given(st.floats(-1e300, 1e300), st.floats(-1e300, 1e300))
def test_settings_survive_being_written_as_json(settle: float, tone: float) -> None:
    window = Window.model_validate({"settle": f"{settle!r} s", "tone": f"{tone!r} Hz"})
    assert Window.model_validate_json(window.model_dump_json()) == window
    assert (window.settle, window.tone) == (settle, tone)


def test_a_model_says_which_field_is_wrong() -> None:
    with pytest.raises(ValidationError, match="has no unit") as caught:
        Window.model_validate({"settle": 3})
    assert caught.value.errors()[0]["loc"] == ("settle",)


@pytest.mark.parametrize(("text", "fits"), [("150 ms", True), ("-.5e3s", True), ("150", False), ("150 Hz", False)])
def test_the_json_schema_agrees(text: str, fits: bool) -> None:
    node = Window.model_json_schema()["properties"]["settle"]
    assert bool(re.search(node["pattern"], text)) == fits
    assert node["unit"] == "s"
