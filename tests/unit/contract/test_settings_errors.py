"""A setting that cannot work is blamed by its keys, from wherever the fault was found."""

import pytest
from pydantic import ValidationError, model_validator

from labctl.contract.driver import Settings
from labctl.contract.errors import InputError, SettingError, blaming


def test_a_value_error_becomes_one_of_a_setting() -> None:
    with pytest.raises(SettingError, match=r"^too large$") as caught, blaming("box", "posts"):
        raise ValueError("too large")
    assert caught.value.at == ("box", "posts")
    assert isinstance(caught.value, InputError)


def test_a_part_of_a_setting_is_blamed_below_it() -> None:
    with pytest.raises(SettingError) as caught, blaming("medium"):
        raise SettingError(("declared", 0), "not so")
    assert caught.value.at == ("medium", "declared", 0)


def test_any_other_error_goes_through() -> None:
    with pytest.raises(KeyError), blaming("box"):
        raise KeyError("x")


def test_a_validator_may_raise_it() -> None:
    class Odd(Settings):
        a: int

        @model_validator(mode="after")
        def _refuse(self) -> "Odd":
            raise SettingError(("a",), "no")

    with pytest.raises(ValidationError) as caught:
        Odd(a=1)
    (error,) = caught.value.errors()
    assert error["ctx"]["error"].at == ("a",)  # pyright: ignore[reportTypedDictNotRequiredAccess]
