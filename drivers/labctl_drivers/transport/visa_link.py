"""HiSLIP, VXI-11, USB and GPIB through PyVISA: transports that carry whole messages.

Read in pyvisa-py 0.8.1 and worked round here: it takes the end of a TCP stream for silence (VXI-11 spins until the time
is up, a HiSLIP flush for ever), reports a call that ran out of time as an I/O error (VXI-11), and lets exceptions of
its protocol layers through.
"""

import functools
import importlib.util
import socket
import threading
import time
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

import pyvisa
from pyvisa.constants import StatusCode
from pyvisa.ctwrapper.highlevel import IVIVisaLibrary
from pyvisa.errors import VisaIOError
from pyvisa.resources import MessageBasedResource
from typing_extensions import override

from labctl_drivers.transport.block import Terminator, block_length, block_payload
from labctl_drivers.transport.byte_log import ByteLog
from labctl_drivers.transport.link import (
    LinkError,
    LinkGarbledError,
    LinkLostError,
    LinkRefusedError,
    LinkTimeoutError,
)
from labctl_drivers.transport.message_link import MessageLink
from labctl_drivers.transport.settings import LinkSettings

_DEFAULT_BACKEND = "@py"
_CHUNK = 1 << 20
_CLEAR_S = 1.0

_FAULTS: dict[int, type[LinkError]] = {
    StatusCode.error_timeout: LinkTimeoutError,
    StatusCode.error_connection_lost: LinkLostError,
    StatusCode.error_io: LinkLostError,
    StatusCode.error_no_listeners: LinkLostError,
    StatusCode.error_invalid_object: LinkLostError,
    StatusCode.error_system_error: LinkLostError,
    StatusCode.error_resource_not_found: LinkRefusedError,
    StatusCode.error_resource_busy: LinkRefusedError,
    StatusCode.error_resource_locked: LinkRefusedError,
}

_NEEDED: dict[str, tuple[tuple[str, ...], str]] = {
    "USB": (("usb",), "pip install pyusb libusb-package"),
    "GPIB": (("gpib", "gpib_ctypes"), "pip install gpib-ctypes, beside the driver of the GPIB adapter"),
}
"""What pyvisa-py needs for an interface: any of these modules, which come with what is to be done."""

_manager_lock = threading.Lock()


@functools.cache
def _cached_manager(backend: str) -> pyvisa.ResourceManager:
    return pyvisa.ResourceManager(backend)


def _resource_manager(backend: str) -> pyvisa.ResourceManager:
    """Return the process's one manager of a backend. It is never closed: that would close every instrument."""
    with _manager_lock:
        return _cached_manager(backend)


class VisaLink(MessageLink):
    """A link to any address that PyVISA opens as a message-based resource.

    A message ends where the transport says so, so that a short or long answer is seen at once and what the instrument
    puts behind a block is not needed to find its end. Time-outs are VISA's: they bound each step of a transfer.
    """

    def __init__(self, settings: LinkSettings, name: str, log: ByteLog | None = None) -> None:
        super().__init__(settings, name, log)
        self._resource: MessageBasedResource | None = None
        self._sockets: list[socket.socket] = []
        self._timeout_ms = 0
        self._ends_lines: bool | None = None
        # What to ask for beyond a block of the usual length. Of pyvisa-py, HiSLIP copies a message that is shorter than
        # what was asked for, and VXI-11 does not tell the end of one that is as long.
        self._spare = 0 if "::hislip" in settings.address.lower() else 64

    def _connect(self) -> None:
        backend = self.settings.backend or _DEFAULT_BACKEND
        address = self.settings.address
        try:
            resource = _resource_manager(backend).open_resource(
                address, open_timeout=round(self.settings.open_timeout_s * 1e3)
            )
        except Exception as error:  # a library that is missing, a link that is refused: each raises what it likes
            told = " ".join(str(error).split())
            cause = f"PyVISA ({backend}) cannot open {address}: {told}{_missing(backend, address)}"
            raise self._journal.fault(LinkRefusedError, cause) from error
        if not resource.session:
            # Not every backend raises where nothing is found; VISA's null session leads nowhere.
            raise self._journal.fault(LinkRefusedError, f"PyVISA ({backend}) finds nothing at {address}")
        if not isinstance(resource, MessageBasedResource):
            resource.close()
            raise self._journal.fault(LinkRefusedError, f"{address} is nothing that takes messages")
        self._resource = resource
        self._timeout_ms = 0
        self._sockets = _see_closed_peers(resource)

    def _hang_up(self, *, settle: bool) -> None:
        resource, self._resource = self._resource, None
        if resource is None:
            return
        if settle:
            # Stops what the instrument is doing; the session itself is beyond repair (HiSLIP: clearing does not help).
            with suppress(Exception):
                resource.timeout = min(self.settings.timeout_s, _CLEAR_S) * 1e3
                resource.clear()
        # Closing a VXI-11 link asks a peer that may be silent; with its connection ended it does not wait.
        self._cut()
        with suppress(Exception):
            resource.close()

    def _cut(self) -> None:
        for connection in self._sockets:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _send(self, message: bytes, deadline_s: float) -> None:
        with self._mapped(deadline_s) as resource:
            resource.write_raw(message)

    def _receive_line(self, deadline_s: float) -> bytes:
        message = self._receive_message(_CHUNK, deadline_s)
        if self._ends_lines is None:
            self._ends_lines = message.endswith(b"\n")
        elif self._ends_lines and not message.endswith(b"\n"):
            self._journal.note("discarded", message)
            raise self._journal.fault(LinkGarbledError, f"the answer is cut off: {message[-40:]!r}")
        return message.removesuffix(b"\n").removesuffix(b"\r")

    @override  # the transport ends the message
    def _receive_block(self, n_bytes: int, terminator: Terminator, deadline_s: float) -> memoryview:
        message = self._receive_message(block_length(n_bytes) + len(b"\n") + self._spare, deadline_s)
        try:
            payload = block_payload(message, n_bytes, "maybe")
        except ValueError as error:
            self._journal.note("discarded", message)
            raise self._journal.fault(LinkGarbledError, str(error)) from error
        self._journal.note("received", message)
        return payload

    def _receive_message(self, chunk: int, deadline_s: float) -> bytes:
        """Return one message, read `chunk` bytes at a time."""
        message = b""
        with self._mapped(deadline_s) as resource, _no_warnings(resource):
            while True:
                part, status = resource.visalib.read(resource.session, chunk)
                if status < StatusCode.success:
                    # A backend may return what went wrong where others raise it.
                    raise VisaIOError(status)
                message = message + part if message else part
                if status != StatusCode.success_max_count_read:
                    return message
                if time.monotonic() > deadline_s:
                    raise self._journal.fault(LinkTimeoutError, f"the answer goes on after {len(message)} bytes")

    @contextmanager
    def _mapped(self, deadline_s: float) -> Generator[MessageBasedResource]:
        """Yield the resource, its time-out set; turn whatever comes out of it into a `LinkError`."""
        if self._resource is None:
            raise self._journal.fault(LinkLostError, "not connected")
        try:
            self._set_timeout(self._resource, deadline_s - time.monotonic())
            yield self._resource
        except LinkError:
            raise
        except VisaIOError as error:
            late = error.error_code == StatusCode.error_io and time.monotonic() >= deadline_s
            kind = LinkTimeoutError if late else _FAULTS.get(error.error_code, LinkGarbledError)
            raise self._journal.fault(kind, error.description) from error
        except TimeoutError as error:
            raise self._journal.fault(LinkTimeoutError, "no answer, or not all of it, in time") from error
        except OSError as error:
            raise self._journal.fault(LinkLostError, f"the connection broke: {error.strerror or error}") from error
        except Exception as error:  # what pyvisa-py's protocol layers raise of their own
            raise self._journal.fault(LinkGarbledError, f"the transport's protocol is broken: {error}") from error

    def _set_timeout(self, resource: MessageBasedResource, remaining_s: float) -> None:
        """Set the time-out to the command's, to the millisecond; it seldom changes and setting it is not free."""
        timeout_ms = max(1, round(remaining_s * 1e3))
        if timeout_ms != self._timeout_ms:
            resource.timeout = timeout_ms
            self._timeout_ms = timeout_ms


def _missing(backend: str, address: str) -> str:
    """Return what has to be installed for this address, empty where nothing is known to be missing."""
    if backend == _DEFAULT_BACKEND:
        interface = address.upper().partition("::")[0].rstrip("0123456789")
        modules, remedy = _NEEDED.get(interface, ((), ""))
        found = not modules or any(importlib.util.find_spec(module) for module in modules)
        return "" if found else f"; do: {remedy}; or name with `backend: '@ivi'` the VISA library of the maker"
    if backend == "@ivi" and not IVIVisaLibrary.get_library_paths():
        return "; no VISA library is installed: get NI-VISA, Keysight IO Libraries or R&S VISA"
    return ""


def _no_warnings(resource: MessageBasedResource) -> AbstractContextManager[object]:
    """Return a context in which an answer longer than what was asked for is none of VISA's business."""
    library: Any = resource.visalib
    return library.ignore_warning(resource.session, StatusCode.success_max_count_read)


def _see_closed_peers(resource: MessageBasedResource) -> list[socket.socket]:
    """Put sockets that raise at the end of a stream into a pyvisa-py session; return them, none for other backends."""
    session: Any = getattr(resource.visalib, "sessions", {}).get(resource.session)
    interface = getattr(session, "interface", None)
    honest: list[socket.socket] = []
    for attribute in ("_sync", "_async", "sock"):
        plain = getattr(interface, attribute, None)
        if isinstance(plain, socket.socket):
            honest.append(_EndingSocket.of(plain))
            setattr(interface, attribute, honest[-1])
    return honest


class _EndingSocket(socket.socket):
    """A socket whose peer's closing is a `ConnectionResetError`."""

    @classmethod
    def of(cls, plain: socket.socket) -> "_EndingSocket":
        timeout_s = plain.gettimeout()
        ending = cls(plain.family, plain.type, plain.proto, fileno=plain.detach())
        ending.settimeout(timeout_s)
        return ending

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        data = super().recv(bufsize, flags)
        _refuse_end(len(data), bufsize)
        return data

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        got = super().recv_into(buffer, nbytes, flags)
        _refuse_end(got, nbytes or len(buffer))
        return got


def _refuse_end(got: int, wanted: int) -> None:
    if got == 0 and wanted > 0:
        raise ConnectionResetError("the instrument closed the connection")
