"""Copper Mountain S2VNA, S4VNA, TRVNA, RVNA: the software on a PC that drives the instrument.

Commands: the S2VNA programming manual, a relative of the ENA's. It promises blocks over HiSLIP, not over a raw
socket, where some versions send them nevertheless. What has not been tried of the ENA has not been tried here either.
"""

from labctl.contract.errors import InstrumentError
from labctl_drivers.vna.base import Real
from labctl_drivers.vna.keysight_ena import KeysightEna
from labctl_drivers.vna.models import COPPER_MOUNTAIN


class CopperMountain(KeysightEna):
    """A Copper Mountain analyser: an ENA without options, whose data come as text where blocks do not come through."""

    dialect = "Copper Mountain"
    models = COPPER_MOUNTAIN
    options_query = None
    bandwidth = ":SENS1:BWID"

    def _connect(self) -> None:
        super()._connect()
        self._sends_blocks = True

    def _agree_on_blocks(self, axis_hz: Real) -> Real:
        if not self._sends_blocks:
            return axis_hz
        try:
            return super()._agree_on_blocks(axis_hz)
        except InstrumentError:
            # Tried once for each opening: a block that does not come takes a time-out.
            self._sends_blocks = False
        self._talk.tell("*CLS")
        self._send(self.text_format)
        self._check_word(self.format_query, "ASC")
        return axis_hz
