"""The window on a modulator's display, in a process of its own, which nothing keeps from looking after its events.

A window whose events nobody takes freezes. The parent says over standard input where the window belongs, then sends
planes to `draw`, which nobody sees, or to `show`; one that was drawn is not sent again. Every message is answered on
standard output with the number of the plane. When the parent is gone, however it went, the window goes blank
and ends.
"""

import os
from collections.abc import Iterator
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from labctl.contract.children import outlive_signals, own_streams
from labctl.contract.messages import Message, encode, read_message

PUMP_S = 0.005


class Place(NamedTuple):
    """Where a window belongs: an X display, or None for the session's; `left` and `top` on the monitor, in pixels."""

    display: str | None
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
        if place.display is not None:
            # Unless its name is given, the library takes a screen that nobody sees where this display is not there.
            os.environ.update(DISPLAY=place.display, SDL_VIDEODRIVER="x11")
        try:
            # The one library here that is imported where it is used: only this process needs it.
            import pygame
        except ImportError as error:
            raise PlaceError("pygame is not installed; install labctl[optics]") from error
        self._pygame: Any = pygame
        try:
            self._surface = self._opened(place)
        except pygame.error as error:
            raise PlaceError(f"no window on {place.display or 'the desktop'}: {error}") from error
        self.blank()

    def draw(self, greys: NDArray[np.uint8]) -> None:
        """Draw `greys` (rows, columns), which are not yet shown."""
        pixels = self._pygame.surfarray.pixels2d(self._surface)
        np.multiply(greys, np.uint32(0x010101), out=pixels.T, casting="unsafe")
        del pixels  # it locks the surface

    def show(self) -> None:
        """Show what was drawn; return when the system has it."""
        self._pygame.display.flip()

    def blank(self) -> None:
        """Show black."""
        self._surface.fill(0)
        self.show()

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
    outlive_signals()
    stdin, stdout = own_streams()
    try:
        place = Place(**read_message(stdin).head["place"])
    except EOFError:
        return
    try:
        window = Window(place)
    except PlaceError as error:
        _answer(stdout, {"error": str(error)})
        return
    _answer(stdout, {"process": os.getpid()})
    drawn = 0
    for message in _messages(stdin, window):
        if "greys" in message.arrays:
            window.draw(message.arrays["greys"])
            drawn = message.head["number"]
        if message.kind == "show":
            window.show()
        _answer(stdout, {"kind": message.kind, "number": drawn})
    window.blank()


def _answer(stream: BinaryIO, head: dict[str, object]) -> None:
    stream.write(encode(head))
    stream.flush()


def _messages(stream: BinaryIO, window: Window) -> Iterator[Message]:
    """Yield what the parent says until it is gone, taking the window's events meanwhile."""
    arrived: SimpleQueue[Message | None] = SimpleQueue()

    def read() -> None:
        try:
            while True:
                arrived.put(read_message(stream))
        except EOFError:
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
