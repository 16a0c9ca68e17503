"""Messages between processes: a head of JSON values and numeric arrays, nothing that runs code.

On the wire: the lengths of head and body (unsigned 32-bit and 64-bit, big-endian), the head as JSON, the arrays' bytes.
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

_LENGTHS = struct.Struct(">IQ")


@dataclass(frozen=True)
class Message:
    """What was sent: `head` holds `kind` and whatever that needs, `arrays` are the receiver's own."""

    head: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict[str, NDArray[Any]])

    @property
    def kind(self) -> str:
        """What the message is about."""
        return str(self.head["kind"])


def encode(head: Mapping[str, object], arrays: Mapping[str, NDArray[Any]] | None = None) -> bytes:
    """Return a message as bytes."""
    parts = {name: np.asarray(array, order="C") for name, array in (arrays or {}).items()}
    forms = [[name, part.dtype.str, list(part.shape)] for name, part in parts.items()]
    text = json.dumps({**head, "arrays": forms}).encode()
    n_bytes = sum(part.nbytes for part in parts.values())
    return b"".join([_LENGTHS.pack(len(text), n_bytes), text, *(part.data for part in parts.values())])


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
