"""What the network servers share: a listening socket, a thread per connection, one handler called by one at a time."""

import socket
import struct
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from typing import Literal, Self

from labctl_simulators.instruments.servers.wire_faults import WireFaultSchedule

Handler = Callable[[bytes], bytes | None]
"""An instrument: takes a program message without its newline; returns its answer, terminator included, or None."""

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class TcpServer(ABC):
    """Serves an instrument between `start` and `stop`; started again, it is back at the same port.

    Port 0 lets the operating system choose. Works as a context manager.
    """

    def __init__(
        self, handler: Handler, *, host: str = "127.0.0.1", port: int = 0, faults: WireFaultSchedule | None = None
    ) -> None:
        self.faults = faults or WireFaultSchedule()
        self._handler = handler
        self._handling = threading.Lock()
        self._host = host
        self._port = port
        self._listener: socket.socket | None = None
        self._acceptor: threading.Thread | None = None
        self._connections: set[socket.socket] = set()
        self._changing = threading.Lock()
        self._stopped = threading.Event()

    @property
    def port(self) -> int:
        """Return the port; 0 before the first start if the operating system is to choose."""
        return self._port

    @property
    @abstractmethod
    def address(self) -> str:
        """Return the VISA address a client opens."""

    def start(self) -> None:
        """Listen. Raises `OSError` where the port is taken."""
        self._listener = socket.create_server((self._host, self._port))
        self._port = self._listener.getsockname()[1]
        self._stopped.clear()
        self._acceptor = threading.Thread(target=self._accept, args=(self._listener,), daemon=True)
        self._acceptor.start()

    def stop(self) -> None:
        """Stop listening and end every connection, as a power cut does. Idempotent."""
        self._stopped.set()
        if self._listener is not None:
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        if self._acceptor is not None:
            self._acceptor.join()
            self._acceptor = None
        self.disconnect()

    def disconnect(self) -> None:
        """End every connection and go on listening."""
        with self._changing:
            connections = list(self._connections)
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(self, *failure: object) -> None:
        """Stop."""
        self.stop()

    @abstractmethod
    def serve(self, connection: socket.socket) -> None:
        """Serve one connection until its end; `OSError` and `EOFError` are one."""

    def answered(self, message: bytes) -> bytes | None:
        """Hand a program message to the instrument."""
        with self._handling:
            return self._handler(message.rstrip(b"\r\n"))

    def pause(self, seconds: float) -> None:
        """Wait, but no longer than the server runs."""
        self._stopped.wait(seconds)

    def _accept(self, listener: socket.socket) -> None:
        while not self._stopped.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._changing:
                self._connections.add(connection)
            threading.Thread(target=self._serve_to_the_end, args=(connection,), daemon=True).start()

    def _serve_to_the_end(self, connection: socket.socket) -> None:
        try:
            with suppress(OSError, EOFError):
                self.serve(connection)
        finally:
            with self._changing:
                self._connections.discard(connection)
            with suppress(OSError):
                connection.shutdown(socket.SHUT_WR)
            connection.close()


def end_connection(connection: socket.socket, how: Literal["close", "reset"]) -> None:
    """End a connection in an orderly way or with a reset; what serves it then finds its end."""
    if how == "reset":
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        connection.close()
    else:
        connection.shutdown(socket.SHUT_RDWR)


def receive_exactly(connection: socket.socket, n_bytes: int) -> bytes:
    """Return the next `n_bytes`. Raises `EOFError` at the connection's end."""
    buffer = bytearray(n_bytes)
    view = memoryview(buffer)
    got = 0
    while got < n_bytes:
        step = connection.recv_into(view[got:])
        if step == 0:
            raise EOFError
        got += step
    return bytes(buffer)
