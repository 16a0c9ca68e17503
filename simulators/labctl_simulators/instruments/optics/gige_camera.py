"""A GigE Vision camera on this computer's own network, with our pictures: Aravis' fake camera.

Aravis fills a buffer per exposure by a function that can be replaced. It answers on UDP port 3956 of its address, as
every GigE Vision camera does, so each camera needs an address of its own, and the network interface must have it:
127.0.0.1, and 127.0.0.2, ... where they were added.
"""

import ctypes
import ctypes.util
import socket
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labctl.contract.errors import InputError

SERIAL_NUMBER = b"labctl"
PORT = 3956
ATTEMPTS = 20

TRIGGER_SOURCE, TRIGGER_SOFTWARE = 0x304, 0x30C
LINE0, SOFTWARE = 0, 1
"""Registers of Aravis' fake camera, and values of the first, from its own description (arv-fake-camera.xml)."""

TAKEN_UP_S = 0.2
"""It looks for a trigger 25 times a second."""

_Pointer = ctypes.c_void_p
_Fill = ctypes.CFUNCTYPE(None, _Pointer, _Pointer, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_uint32)

Expose = Callable[[float], tuple[NDArray[np.uint8] | None, float]]


class GigeCamera:
    """Serves one camera between `start` and `stop`, at `address` if that is free."""

    def __init__(self, expose: Expose, address: str | None = None) -> None:
        self.address = address or ""
        self._expose = expose
        self._library = _library()
        self._camera: Any = None
        self._claim: socket.socket | None = None
        self._fill = _Fill(self._filled)

    def start(self) -> None:
        """Begin to serve. Raises `InputError` when there is no free address."""
        tried = [f"127.0.0.{last}" for last in range(1, 1 + ATTEMPTS)]
        for address in [self.address, *tried] if self.address else tried:
            claim = _claim(address)
            if claim is None:
                continue
            camera = self._library.arv_gv_fake_camera_new(address.encode(), SERIAL_NUMBER)
            if self._library.arv_gv_fake_camera_is_running(camera):
                self.address, self._camera, self._claim = address, camera, claim
                break
            self._library.g_object_unref(camera)
            claim.close()
        else:
            cause = f"{tried[0]} has one already, or something else on its UDP port {PORT}"
            more = f"stop that, or give this computer another address: ip address add {tried[1]}/8 dev lo"
            raise InputError(f"no virtual GigE Vision camera can be served: {cause}; {more}")
        fake = self._library.arv_gv_fake_camera_get_fake_camera(self._camera)
        self._library.arv_fake_camera_set_fill_pattern(fake, self._fill, None)

    def stop(self) -> None:
        """Stop serving. Idempotent."""
        camera, self._camera = self._camera, None
        claim, self._claim = self._claim, None
        if camera is not None:
            self._library.g_object_unref(camera)
        if claim is not None:
            claim.close()

    def pulse(self) -> None:
        """Let an edge arrive at the input `Line0`; nobody notices it unless that is the trigger's source.

        Aravis' fake camera has no such input: the edge is passed to it as a trigger by software, which is its source
        until the trigger has been taken up.
        """
        camera = self._camera
        if camera is None:
            return
        fake = self._library.arv_gv_fake_camera_get_fake_camera(camera)
        if self._register(fake, TRIGGER_SOURCE) != LINE0:
            return
        self._library.arv_fake_camera_write_register(fake, TRIGGER_SOURCE, SOFTWARE)
        self._library.arv_fake_camera_write_register(fake, TRIGGER_SOFTWARE, 1)
        given_up_s = time.monotonic() + TAKEN_UP_S
        while self._register(fake, TRIGGER_SOFTWARE) and time.monotonic() < given_up_s:
            time.sleep(0.001)
        self._library.arv_fake_camera_write_register(fake, TRIGGER_SOFTWARE, 0)
        self._library.arv_fake_camera_write_register(fake, TRIGGER_SOURCE, LINE0)

    def _register(self, fake: Any, address: int) -> int:
        value = ctypes.c_uint32()
        self._library.arv_fake_camera_read_register(fake, address, ctypes.byref(value))
        return value.value

    def _filled(self, buffer: int, _data: int, _exposure_us: int, _gain: int, _format: int) -> None:
        """Fill Aravis' buffer with a picture; it is called when an exposure ends."""
        library = self._library
        width, height = library.arv_buffer_get_image_width(buffer), library.arv_buffer_get_image_height(buffer)
        target = library.arv_buffer_get_data(buffer, ctypes.byref(ctypes.c_size_t()))
        picture, delay_s = self._expose(time.monotonic())
        time.sleep(delay_s)
        if picture is None:
            picture = np.zeros((height, width), np.uint8)
        rows, columns = min(height, picture.shape[0]), min(width, picture.shape[1])
        sent = np.zeros((height, width), np.uint8)
        sent[:rows, :columns] = picture[:rows, :columns]
        ctypes.memmove(target, sent.ctypes.data, sent.nbytes)


def _claim(address: str) -> socket.socket | None:
    """Return what keeps an address from other virtual cameras until closed, None where one is already served.

    Aravis shares its UDP port with whoever asks, so that two cameras would answer at one address; the TCP port of the
    same number is nobody's.
    """
    claim = socket.socket()
    try:
        claim.bind((address, PORT))
    except OSError:
        claim.close()
        return None
    return claim


def _library() -> Any:
    name = next(filter(None, map(ctypes.util.find_library, ("aravis-0.8", "aravis"))), None)
    if name is None:
        raise InputError("a virtual GigE Vision camera needs Aravis: install the package libaravis-0.8-0")
    library: Any = ctypes.CDLL(name)
    for function, result, arguments in (
        ("arv_gv_fake_camera_new", _Pointer, [ctypes.c_char_p, ctypes.c_char_p]),
        ("arv_gv_fake_camera_is_running", ctypes.c_int, [_Pointer]),
        ("arv_gv_fake_camera_get_fake_camera", _Pointer, [_Pointer]),
        ("arv_fake_camera_set_fill_pattern", None, [_Pointer, _Fill, _Pointer]),
        ("arv_fake_camera_read_register", ctypes.c_int, [_Pointer, ctypes.c_uint32, ctypes.POINTER(ctypes.c_uint32)]),
        ("arv_fake_camera_write_register", ctypes.c_int, [_Pointer, ctypes.c_uint32, ctypes.c_uint32]),
        ("arv_buffer_get_data", _Pointer, [_Pointer, ctypes.POINTER(ctypes.c_size_t)]),
        ("arv_buffer_get_image_width", ctypes.c_int, [_Pointer]),
        ("arv_buffer_get_image_height", ctypes.c_int, [_Pointer]),
        ("g_object_unref", None, [_Pointer]),
    ):
        getattr(library, function).restype = result
        getattr(library, function).argtypes = arguments
    return library
