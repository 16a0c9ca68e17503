"""Gives errors found outside the configuration layer their place in the file."""

from collections.abc import Generator
from contextlib import contextmanager

from labctl.config.document import Document
from labctl.config.errors import ConfigError, Key
from labctl.contract.errors import InputError, SettingError


@contextmanager
def errors_at(document: Document, *keys: Key) -> Generator[None]:
    """Raise an `InputError` of the body as a `ConfigError` at `keys`, a `SettingError` below them where it says.

    A `ConfigError` has a place already and keeps it.
    """
    try:
        yield
    except ConfigError:
        raise
    except InputError as error:
        below = error.at if isinstance(error, SettingError) else ()
        raise document.error((*keys, *below), str(error)) from error
