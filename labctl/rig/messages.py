"""What messages of a rig host cannot say by themselves: errors as JSON values, and raw signals as bytes."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labctl.contract.errors import DriveError, Fault, InputError, InstrumentError, LabctlError, RecordError
from labctl.contract.layer import RawSignal

_KINDS: dict[str, type[LabctlError]] = {
    kind.__name__: kind for kind in (DriveError, InputError, RecordError, LabctlError)
}
"""Errors that are their message and nothing else, the most special first."""


class HostDefectError(RuntimeError):
    """Something in the host raised what no driver may raise; the text is its traceback."""


def error_as_head(error: BaseException, traceback: str) -> dict[str, object]:
    """Return an error as JSON values; `traceback` is kept of errors that are defects."""
    notes = list(getattr(error, "__notes__", ()))
    if isinstance(error, InstrumentError):
        named = {"instrument": error.instrument, "cause": error.cause, "command": error.command, "fault": error.fault}
        return {"kind": "error", "error": "InstrumentError", "notes": notes, **named}
    for name, kind in _KINDS.items():
        if isinstance(error, kind):
            return {"kind": "error", "error": name, "notes": notes, "text": str(error)}
    return {"kind": "error", "error": "defect", "notes": notes, "text": traceback}


def error_from_head(head: Mapping[str, Any]) -> Exception:
    """Return the error that `error_as_head` described."""
    error: Exception
    if head["error"] == "InstrumentError":
        error = InstrumentError(head["instrument"], head["cause"], command=head["command"], fault=Fault(head["fault"]))
    elif head["error"] in _KINDS:
        error = _KINDS[head["error"]](head["text"])
    else:
        error = HostDefectError(f"in the rig host:\n{head['text']}")
    for note in head["notes"]:
        error.add_note(note)
    return error


def as_bytes(raw: RawSignal) -> NDArray[np.uint8]:
    """Return raw signals (n,) as (n, bytes of one): messages know no named fields."""
    return np.ascontiguousarray(raw).view(np.uint8).reshape(len(raw), raw.dtype.itemsize)


def from_bytes(data: NDArray[np.uint8], dtype: np.dtype[Any]) -> RawSignal:
    """Return the raw signals (n,) of a `dtype` that `as_bytes` was given."""
    return data.view(dtype).reshape(len(data))
