"""The window on a modulator's display, in a process of its own, which nothing keeps from looking after its events.

A window whose events nobody takes freezes. The parent says over standard input where the window belongs, one line of
JSON, then planes; every answer goes to standard output. When the parent is gone, however it went, the window goes
blank and ends.
"""

import json
import os
import struct
import sys
from collections.abc import Iterator
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

HEADER = struct.Struct("<QI")
"""Number of a plane and its length in bytes, which follow; the answer is the number, on a line."""

PUMP_S = 0.005


class Place(NamedTuple):
    """Where a window belongs: `left` and `top` on the monitor, all in pixels."""

    monitor: int
    left: int
    top: int
    width: int
    height: int


class PlaceError(Exception):
    """The window cannot be where it belongs."""


class Window:
    """A borderless window of grey levels, black at first."""

    def __init__(self, place: Place) -> None:
        """Raise `PlaceError`."""
        # Without acceleration the library neither waits for a refresh nor lets a graphics card round.
        os.environ.update(SDL_FRAMEBUFFER_ACCELERATION="0", PYGAME_HIDE_SUPPORT_PROMPT="1", SDL_AUDIODRIVER="dummy")
        try:
            # The one library here that is imported where it is used: only this process needs it.
            import pygame
        except ImportError as error:
            raise PlaceError("pygame is not installed; install labctl[optics]") from error
        self._pygame: Any = pygame
        try:
            self._surface = self._opened(place)
        except pygame.error as error:
            raise PlaceError(f"{os.environ.get('DISPLAY', 'the desktop')}: {error}") from error
        self.show(np.zeros((place.height, place.width), np.uint8))

    def show(self, greys: NDArray[np.uint8]) -> None:
        """Show `greys` (rows, columns); return when the system has them."""
        pixels = self._pygame.surfarray.pixels2d(self._surface)
        np.multiply(greys, np.uint32(0x010101), out=pixels.T, casting="unsafe")
        del pixels  # it locks the surface
        self._pygame.display.flip()

    def pump(self) -> None:
        """Take the window's events; none of them means anything."""
        self._pygame.event.get()

    def _opened(self, place: Place) -> Any:
        display = self._pygame.display
        display.init()
        sizes: list[tuple[int, int]] = display.get_desktop_sizes()
        if place.monitor >= len(sizes):
            raise PlaceError(f"there is no monitor {place.monitor}; there are {_described(sizes)}")
        width, height = sizes[place.monitor]
        if place.left + place.width > width or place.top + place.height > height:
            raise PlaceError(
                f"a window of {place.width} x {place.height} at {place.left}, {place.top} does not fit on monitor "
                f"{place.monitor}; there are {_described(sizes)}"
            )
        surface = display.set_mode((place.width, place.height), self._pygame.NOFRAME, display=place.monitor)
        if surface.get_size() != (place.width, place.height) or surface.get_bytesize() != 4:
            raise PlaceError(f"the system gave a window of {surface.get_size()}, {surface.get_bitsize()} bits a pixel")
        self._move(place, sizes[place.monitor])
        self._pygame.mouse.set_visible(False)
        return surface

    def _move(self, place: Place, monitor: tuple[int, int]) -> None:
        """Move the window, which the library puts into the middle of its monitor."""
        from pygame._sdl2.video import Window as Handle  # the only way to a window's position

        handle: Any = Handle.from_display_module()
        left, top = handle.position
        origin = left - (monitor[0] - place.width) // 2, top - (monitor[1] - place.height) // 2
        wanted = origin[0] + place.left, origin[1] + place.top
        handle.position = wanted
        self.pump()
        if tuple(handle.position) != wanted:
            raise PlaceError(f"the system put the window at {tuple(handle.position)}, not at {wanted}")


def main() -> None:
    """Show what the parent of this process sends."""
    stdin, stdout = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not get between the answers
    first = stdin.readline()
    if not first:
        return
    place = Place(**json.loads(first))
    try:
        window = Window(place)
    except PlaceError as error:
        _say(stdout, {"error": str(error)})
        return
    _say(stdout, {"ready": os.getpid()})
    shape = place.height, place.width
    for number, plane in _planes(stdin, window):
        window.show(np.frombuffer(plane, np.uint8).reshape(shape))
        stdout.write(b"%d\n" % number)
        stdout.flush()
    window.show(np.zeros(shape, np.uint8))


def _say(stream: BinaryIO, head: dict[str, object]) -> None:
    stream.write(json.dumps(head).encode() + b"\n")
    stream.flush()


def _planes(stream: BinaryIO, window: Window) -> Iterator[tuple[int, bytes]]:
    """Yield planes until the parent is gone, taking the window's events meanwhile."""
    arrived: SimpleQueue[tuple[int, bytes] | None] = SimpleQueue()

    def read() -> None:
        while len(head := stream.read(HEADER.size)) == HEADER.size:
            number, length = HEADER.unpack(head)
            plane = stream.read(length)
            if len(plane) < length:
                break
            arrived.put((number, plane))
        arrived.put(None)

    Thread(target=read, name="parent", daemon=True).start()
    while True:
        try:
            message = arrived.get(timeout=PUMP_S)
        except Empty:
            window.pump()
            continue
        window.pump()
        if message is None:
            return
        yield message


def _described(sizes: list[tuple[int, int]]) -> str:
    return ", ".join(f"monitor {k} of {width} x {height}" for k, (width, height) in enumerate(sizes))


if __name__ == "__main__":
    main()
    sys.stdout.flush()
