"""The portable model bundle: a trained network's arrays and description, for any program that reads npz and JSON."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from labctl.contract.errors import InputError, RecordError
from labctl.record.json_text import to_json
from labctl.record.npz import from_npz, to_npz

SCHEMA = "labctl/model/1"
ARRAYS_NAME = "model.npz"
DESCRIPTION_NAME = "model.json"


def write_bundle(folder: Path, arrays: Mapping[str, NDArray[Any]], description: Mapping[str, object]) -> None:
    """Write `model.npz` and `model.json` to `folder`, which is made if need be; an older bundle is replaced.

    The description, written last, holds the checksum of the arrays: a replacement that is cut short is noticed by
    `read_bundle`. Raises `RecordError` when the files cannot be written, `TypeError` or `ValueError` when
    description or arrays have no portable form.
    """
    data = to_npz(arrays)
    header = to_json({"schema": SCHEMA, "sha256": hashlib.sha256(data).hexdigest(), "description": description})
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _replace(folder / ARRAYS_NAME, data)
        _replace(folder / DESCRIPTION_NAME, f"{header}\n".encode())
    except OSError as error:
        raise RecordError(f"the model cannot be written to {folder}: {error}") from error


def read_bundle(folder: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Return the arrays and the description of the bundle in `folder`.

    Raises `InputError` when there is none, `RecordError` when it is damaged or of an unknown version.
    """
    header = _read_header(folder / DESCRIPTION_NAME)
    path = folder / ARRAYS_NAME
    data = _read(path)
    if hashlib.sha256(data).hexdigest() != header["sha256"]:
        raise RecordError(f"{path} is damaged or belongs to another {DESCRIPTION_NAME}: its checksum differs")
    try:
        return from_npz(data), header["description"]
    except ValueError as error:
        raise RecordError(f"{path} cannot be used: {error}") from error


def copy_bundle(source: Path, target: Path) -> None:
    """Copy the bundle in `source`, checked, to the new folder `target`. Raises `InputError` when that exists."""
    if target.exists():
        raise InputError(f"{target} exists already; nothing was written")
    write_bundle(target, *read_bundle(source))


def _read_header(path: Path) -> dict[str, Any]:
    try:
        header: Any = json.loads(_read(path))
        schema, sha256, description = header["schema"], header.get("sha256"), header.get("description")
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise RecordError(f"{path} is damaged or no model description: {error}") from error
    if schema != SCHEMA:
        raise RecordError(f"{path} has schema {schema!r}, this labctl reads '{SCHEMA}'")
    if not isinstance(sha256, str) or not isinstance(description, dict):
        raise RecordError(f"{path} is damaged: it lacks 'sha256' or 'description'")
    return {"sha256": sha256, "description": description}


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"there is no model bundle in {path.parent}: {path.name} is missing") from error
    except OSError as error:
        raise RecordError(f"{path} cannot be read: {error}") from error


def _replace(path: Path, data: bytes) -> None:
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
