"""OpenRIS tiles behind a Raspberry Pi: text frames of fixed length over TCP (jimrains/OpenRIS).

The server takes what arrives at once for a frame, says nothing to anything shorter, and closes the connection after a
frame that it cannot read: whatever goes wrong, the connection is made anew.
"""

from collections.abc import Iterator
from typing import Annotated

import numpy as np
from pydantic import Field, field_validator, model_validator

from labctl.contract.clock import Clock
from labctl.contract.driver import BuildContext, InstrumentDriver
from labctl.contract.errors import SettingError
from labctl.contract.microwave import Pattern
from labctl.contract.safety import SafeStep
from labctl_drivers.metasurface.base import PatternedSurface, Place
from labctl_drivers.metasurface.errors import ControllerRefusedError
from labctl_drivers.metasurface.settings import SurfaceRules
from labctl_drivers.transport.build import build_byte_log
from labctl_drivers.transport.link import ByteLink, LinkGarbledError, LinkTimeoutError
from labctl_drivers.transport.safe_plan import rest_step
from labctl_drivers.transport.settings import StreamSettings
from labctl_drivers.transport.stream_link import StreamLink

CELLS_PER_TILE = 512
DONE, REFUSED = b"a", b"b"


class TileTcpRules(SurfaceRules):
    """One or more tiles of 512 cells."""

    tiles: tuple[Annotated[int, Field(ge=0, le=99)], ...] = Field(
        default=(1,),
        min_length=1,
        description="numbers of the tiles that make up the surface; each has the next 512 cells",
    )

    @field_validator("tiles")
    @classmethod
    def _named_once(cls, tiles: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(tiles)) < len(tiles):
            raise ValueError("every tile may be named once")
        return tiles

    @model_validator(mode="after")
    def _tiles_hold_the_elements(self) -> "TileTcpRules":
        cells = CELLS_PER_TILE * len(self.tiles)
        if self.n_elements != cells:
            raise SettingError(
                ("rows",),
                f"{self.rows} rows of {self.columns} are {self.n_elements} elements; {len(self.tiles)} tiles of "
                f"{CELLS_PER_TILE} cells have {cells}",
            )
        return self


class TileTcpSurface(PatternedSurface):
    """A surface that acknowledges each tile and can neither say who it is nor what it holds."""

    def __init__(self, rules: TileTcpRules, link: ByteLink, clock: Clock, *, at: Place | None = None) -> None:
        super().__init__(rules, link, clock, at=at)
        self._tiles = rules.tiles

    def _identify(self) -> str:
        return ""

    def _latch(self, cells: Pattern) -> None:
        for tile, frame in self._frames(cells):
            self._send(tile, frame)

    def _steps_to_rest(self, at: Place, cells: Pattern) -> tuple[SafeStep, ...]:
        """A tile is a step, over a connection of its own: what was half sent ended with the one before."""
        return tuple(
            rest_step(at, f"{self.name}: tile {tile:02d} at rest", frame, expected=DONE)
            for tile, frame in self._frames(cells)
        )

    def _frames(self, cells: Pattern) -> Iterator[tuple[int, bytes]]:
        for tile, bits in zip(self._tiles, np.split(cells, len(self._tiles)), strict=True):
            yield tile, f"{tile:02d}{';'.join(map(str, bits.tolist()))}".encode("ascii")

    def _send(self, tile: int, frame: bytes) -> None:
        command = f"tile {tile:02d}"
        try:
            answer = self._link.exchange(frame, n_bytes=1)
        except LinkTimeoutError as error:
            cause = f"{error.cause}: it is silent to a frame that is cut or arrives in parts: try a direct cable"
            raise LinkTimeoutError(self.name, cause, command=command) from error
        if answer == REFUSED:
            raise ControllerRefusedError(self.name, "refuses ('b'): it did not read 512 bits", command=command)
        if answer != DONE:
            raise LinkGarbledError(self.name, f"answers {answer!r}, neither 'a' nor 'b'", command=command)

    def _resynchronise(self) -> str:
        self._link.close()
        self._link.open()
        return ""


class TileTcpSettings(StreamSettings, TileTcpRules):
    """OpenRIS tiles over TCP; the server's own address is TCPIP::192.168.4.1::13591::SOCKET."""


def _build(settings: TileTcpSettings, context: BuildContext) -> TileTcpSurface:
    link = StreamLink(settings, context.name, build_byte_log(settings.byte_log, context))
    return TileTcpSurface(settings, link, context.clock, at=settings)


DRIVER = InstrumentDriver(TileTcpSettings, _build)
