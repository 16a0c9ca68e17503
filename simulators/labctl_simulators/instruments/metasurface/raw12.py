"""Virtual Arduinos with the two sketches of remi-blandin/metasurface_control: twelve registers, no frame, no check."""

import numpy as np

from labctl_simulators.instruments.metasurface.panel import Panel

N_REGISTERS = 12
MOST_PATTERNS = 128
ACK, NAK = b"\x06", b"\x15"


class VirtualUno:
    """Takes twelve bytes, writes them, and then acknowledges. It waits for ever for bytes that were lost."""

    def __init__(self, panel: Panel) -> None:
        self.panel = panel
        self._unread = b""

    def __call__(self, arrived: bytes) -> bytes:
        """Return an acknowledgement for each pattern that is now whole."""
        self._unread += arrived
        replies = b""
        while len(self._unread) >= N_REGISTERS:
            registers, self._unread = self._unread[:N_REGISTERS], self._unread[N_REGISTERS:]
            self.panel.latch(np.unpackbits(np.frombuffer(registers, dtype=np.uint8)))
            replies += ACK
        return replies


class VirtualLeonardo:
    """Takes `once or loop`, a count and as many patterns, acknowledges, and only then begins to write.

    A loop is replayed once here; its last pattern stays. More than 128 patterns are refused, and their bytes are read
    as what follows.
    """

    def __init__(self, panel: Panel) -> None:
        self.panel = panel
        self._unread = b""

    def __call__(self, arrived: bytes) -> bytes:
        """Return what is answered to the requests that are now whole."""
        self._unread += arrived
        replies = b""
        while len(self._unread) >= 2:
            count = self._unread[1]
            if count > MOST_PATTERNS:
                self._unread = self._unread[2:]
                replies += NAK
                continue
            end = 2 + count * N_REGISTERS
            if len(self._unread) < end:
                break
            registers, self._unread = self._unread[2:end], self._unread[end:]
            for begin in range(0, len(registers), N_REGISTERS):
                pattern = np.frombuffer(registers[begin : begin + N_REGISTERS], dtype=np.uint8)
                self.panel.begin(np.unpackbits(pattern))
            replies += ACK
        return replies
