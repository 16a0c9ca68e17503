"""Grey pictures as PNG files (W3C recommendation, second edition), not compressed: they are read at once and go."""

import struct
import zlib

import numpy as np
from numpy.typing import NDArray


def as_png(picture: NDArray[np.uint8]) -> bytes:
    """Return `picture` (rows, columns) as a grey PNG of 8 bits a pixel."""
    rows, columns = picture.shape
    header = struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0)
    filtered = np.zeros((rows, columns + 1), np.uint8)  # every row begins with its filter, 0 for none
    filtered[:, 1:] = picture
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(filtered.data, level=0)), (b"IEND", b"")
    return b"".join([b"\x89PNG\r\n\x1a\n", *(part for kind, data in chunks for part in _chunk(kind, data))])


def _chunk(kind: bytes, data: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    return struct.pack(">I", len(data)), kind, data, struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))
