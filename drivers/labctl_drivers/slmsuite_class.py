"""Objects of slmsuite by the name of their class, and its failures as ours."""

import importlib
import warnings
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any

from pydantic import Field

from labctl.contract.errors import InstrumentError

ClassPath = Annotated[str, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$")]
Argument = bool | int | float | str | None


def instance_of(class_path: str, arguments: Mapping[str, Argument], name: str) -> Any:
    """Return an object of a class, which thereby connects. Raises `InstrumentError`."""
    module, _, kind = class_path.rpartition(".")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # it says that there is no graphics card to compute with
            found: Any = getattr(importlib.import_module(module), kind)
    except (ImportError, AttributeError) as error:
        hint = "is labctl[optics] installed, and the maker's software?"
        raise InstrumentError(name, f"{class_path} cannot be loaded ({error}): {hint}", command="open") from error
    with slmsuite_failing(name, "open"):
        return found(**arguments)


@contextmanager
def slmsuite_failing(name: str, command: str) -> Generator[None]:
    """Raise whatever slmsuite and the makers' libraries behind it raise as an `InstrumentError`."""
    try:
        yield
    except InstrumentError:
        raise
    except Exception as error:
        raise InstrumentError(name, f"{type(error).__name__}: {error}", command=command) from error
