"""Gives errors found outside the configuration layer their place in the file."""

from collections.abc import Generator
from contextlib import contextmanager

from labctl.config.document import Document
from labctl.config.errors import ConfigError, Key
from labctl.contract.errors import InputError


@contextmanager
def errors_at(document: Document, *keys: Key) -> Generator[None]:
    """Raise an `InputError` of the body as a `ConfigError` at `keys`; one that has a place already keeps it."""
    try:
        yield
    except ConfigError:
        raise
    except InputError as error:
        raise document.error(keys, str(error)) from error
