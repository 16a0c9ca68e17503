"""A virtual Copper Mountain analyser: an ENA's language without options; blocks only where the link carries them."""

from labctl_simulators.instruments.scpi_tree import Call
from labctl_simulators.instruments.vna.engine import Engine
from labctl_simulators.instruments.vna.keysight_ena import VirtualKeysightEna
from labctl_simulators.instruments.vna.scpi_analyser import EDGE_PATIENCE_S


class VirtualCopperMountain(VirtualKeysightEna):
    """With `sends_blocks=False`, as over a raw socket, it stays with text whatever format is set."""

    identity = "CMT,S5048,VIRTUAL,23.1.2/1"
    options = None
    no_error = '0,"No error"'
    overload_trips_rf = False

    def __init__(self, engine: Engine, *, sends_blocks: bool = True, edge_patience_s: float = EDGE_PATIENCE_S) -> None:
        super().__init__(engine, edge_patience_s=edge_patience_s)
        self._can_send_blocks = sends_blocks

    def choose_format(self, call: Call) -> None:
        """Set the format, unless blocks cannot be sent."""
        super().choose_format(call)
        self._sends_blocks &= self._can_send_blocks
