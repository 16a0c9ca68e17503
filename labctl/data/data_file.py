"""Reads the bytes of a data file, and says where to get it when it is not there."""

import difflib
import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

from labctl.contract.errors import InputError
from labctl.data.known_files import known_file

_MAX_LISTED = 20

_log = logging.getLogger(__name__)


def read_data_file(path: Path) -> bytes:
    """Return the file's bytes, or raise `InputError`.

    A file that is known by name but has another checksum is only warned about: people do cut down or correct a
    public table under its old name, and the dataset's fingerprint records what was really used.
    """
    known = known_file(path)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        hint = f"; it is {known}" if known else _meant(path)
        raise InputError(f"{path}: no such data file{hint}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise InputError(f"{str(path)!r} is not a file name: {error}") from None
    if known and hashlib.sha256(content).hexdigest() != known.sha256:
        _log.warning("%s is not the file it is known as: %s", path, known)
    return content


def _meant(path: Path) -> str:
    beside = [file.name for file in path.parent.glob("*")]
    near = difflib.get_close_matches(path.name, beside, n=1)
    return f'; did you mean "{near[0]}"?' if near else ""


def absent(name: str, present: Sequence[str]) -> str:
    """Say that `name` is absent, what was probably meant, and what there is."""
    near = difflib.get_close_matches(name, present, n=1)
    meant = f' (did you mean "{near[0]}"?)' if near else ""
    return f'"{name}"{meant}; it has: {listed(present)}'


def listed(names: Sequence[str]) -> str:
    """Return the names as text, at most 20 of them in full."""
    more = f" and {len(names) - _MAX_LISTED} more" if len(names) > _MAX_LISTED else ""
    return (", ".join(names[:_MAX_LISTED]) or "nothing") + more
