"""Definite-length blocks of IEEE 488.2 (8.7.9): `#`, the number of digits, the length in bytes, the bytes."""

from typing import Literal

Terminator = Literal["required", "none", "maybe"]
"""Whether a newline follows the block; `\\r\\n` counts as one."""

MAX_HEADER = 11
"""Length of the longest header: `#9` and nine digits."""

NEWLINES = (b"\n", b"\r\n")

ALLOWED_TAILS: dict[Terminator, tuple[bytes, ...]] = {
    "required": NEWLINES,
    "none": (b"",),
    "maybe": (b"", *NEWLINES),
}
"""What may follow the payload."""


def payload_start(data: bytes | bytearray | memoryview, n_bytes: int) -> int | None:
    """Return where the payload begins in the block that `data` begins with, or None while the header is incomplete.

    Raises `ValueError` where `data` begins otherwise or states another length than `n_bytes`.
    """
    head = bytes(data[:MAX_HEADER])
    if head[:1] not in (b"", b"#"):
        raise ValueError(f"no block but {head!r}")
    if len(head) < 2:
        return None
    if not b"1" <= head[1:2] <= b"9":
        raise ValueError(f"the block's header is {head!r}")
    start = 2 + int(head[1:2])
    digits = head[2:start]
    if digits and not digits.isdigit():
        raise ValueError(f"the block's header is {head!r}")
    if len(head) < start:
        return None
    if int(digits) != n_bytes:
        raise ValueError(f"a block of {int(digits)} bytes where {n_bytes} were expected")
    return start


def block_payload(message: bytes | bytearray, n_bytes: int, terminator: Terminator) -> memoryview:
    """Return the payload of a complete message. Raises `ValueError` for anything but the one block of `n_bytes`."""
    start = payload_start(message, n_bytes)
    if start is None or len(message) < start + n_bytes:
        raise ValueError(f"the message ends after {len(message)} bytes, within its block of {n_bytes}")
    tail = bytes(message[start + n_bytes :])
    if tail not in ALLOWED_TAILS[terminator]:
        raise ValueError(f"the block is followed by {tail[:20]!r}")
    return memoryview(message)[start : start + n_bytes].toreadonly()
