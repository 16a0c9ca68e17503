"""A virtual OpenRIS server: text frames of 1025 characters, `a` or `b` in return, and silence for other lengths."""

import numpy as np

from labctl_simulators.instruments.metasurface.panel import Panel

FRAME = 1025
CELLS_PER_TILE = 512


class VirtualTileServer:
    """Takes what arrives at once for a frame, as the real one does. Tile number n has the cells of place n - `first`.

    A tile's pattern is latched as soon as it is read.
    """

    def __init__(self, panel: Panel, *, first: int = 1) -> None:
        self.panel = panel
        self._first = first

    def __call__(self, arrived: bytes) -> bytes:
        """Return the answer to what has arrived."""
        if len(arrived) != FRAME:
            return b""
        bits = arrived[2:].split(b";")
        if len(bits) < CELLS_PER_TILE:
            return b"b"
        begin = CELLS_PER_TILE * (int(arrived[:2]) - self._first)
        cells = self.panel.cells
        cells[begin : begin + CELLS_PER_TILE] = np.array([int(bit) for bit in bits], dtype=np.uint8)
        self.panel.latch(cells)
        return b"a"
