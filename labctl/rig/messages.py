"""Messages between orchestrator and rig host: a head of JSON values and numeric arrays, nothing that runs code.

On the wire: the lengths of head and body (unsigned 32-bit and 64-bit, big-endian), the head as JSON, the arrays' bytes.
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from labctl.contract.errors import DriveError, InputError, InstrumentError, LabctlError, RecordError

_LENGTHS = struct.Struct(">IQ")

_KINDS: dict[str, type[LabctlError]] = {
    kind.__name__: kind for kind in (DriveError, InputError, RecordError, LabctlError)
}
"""Errors that are their message and nothing else, the most special first."""


@dataclass(frozen=True)
class Message:
    """What was sent: `head` holds `kind` and whatever that needs, `arrays` are the receiver's own."""

    head: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict[str, NDArray[Any]])

    @property
    def kind(self) -> str:
        """What the message is about."""
        return str(self.head["kind"])


class HostDefectError(RuntimeError):
    """Something in the host raised what no driver may raise; the text is its traceback."""


def encode(head: Mapping[str, object], arrays: Mapping[str, NDArray[Any]] | None = None) -> bytes:
    """Return a message as bytes."""
    parts = {name: np.ascontiguousarray(array) for name, array in (arrays or {}).items()}
    forms = [[name, part.dtype.str, list(part.shape)] for name, part in parts.items()]
    text = json.dumps({**head, "arrays": forms}).encode()
    body = b"".join(part.tobytes() for part in parts.values())
    return _LENGTHS.pack(len(text), len(body)) + text + body


def read_message(stream: BinaryIO) -> Message:
    """Return the next message. Raises `EOFError` where the stream ends, in the middle of a message too."""
    head_bytes, body_bytes = _LENGTHS.unpack(_read(stream, _LENGTHS.size))
    head = cast("dict[str, Any]", json.loads(_read(stream, head_bytes)))
    body = _read(stream, body_bytes)
    arrays: dict[str, NDArray[Any]] = {}
    begin = 0
    for name, dtype, shape in cast("list[tuple[str, str, list[int]]]", head.pop("arrays")):
        arrays[name] = np.ndarray(shape, dtype, body, begin)
        begin += arrays[name].nbytes
    return Message(head, arrays)


def _read(stream: BinaryIO, n_bytes: int) -> bytearray:
    """Return exactly `n_bytes`, writable, so that arrays over them are."""
    data = bytearray(n_bytes)
    view, received = memoryview(data), 0
    while received < n_bytes:
        n = cast("Any", stream).readinto(view[received:])
        if not n:
            raise EOFError
        received += n
    return data


def error_as_head(error: BaseException, traceback: str) -> dict[str, object]:
    """Return an error as JSON values; `traceback` is kept of errors that are defects."""
    notes = list(getattr(error, "__notes__", ()))
    if isinstance(error, InstrumentError):
        named = {"instrument": error.instrument, "cause": error.cause, "command": error.command}
        return {"kind": "error", "error": "InstrumentError", "notes": notes, **named}
    for name, kind in _KINDS.items():
        if isinstance(error, kind):
            return {"kind": "error", "error": name, "notes": notes, "text": str(error)}
    return {"kind": "error", "error": "defect", "notes": notes, "text": traceback}


def error_from_head(head: Mapping[str, Any]) -> Exception:
    """Return the error that `error_as_head` described."""
    error: Exception
    if head["error"] == "InstrumentError":
        error = InstrumentError(head["instrument"], head["cause"], command=head["command"])
    elif head["error"] in _KINDS:
        error = _KINDS[head["error"]](head["text"])
    else:
        error = HostDefectError(f"in the rig host:\n{head['text']}")
    for note in head["notes"]:
        error.add_note(note)
    return error
